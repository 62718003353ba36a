package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/internal/store"
)

// TypesError holds everything that is wrong in the files of event types.
type TypesError struct{ Err error }

func (e *TypesError) Error() string { return e.Err.Error() }

// Unwrap returns the problems.
func (e *TypesError) Unwrap() error { return e.Err }

// CompileTypes reads the event types that a configuration names, and checks its subscriptions against them.
func CompileTypes(cfg *config.Config) (*event.Set, error) {
	var defs []event.Definition
	var errs []error
	for _, f := range cfg.Types {
		d, err := event.Parse(f.Path, f.Content)
		defs, errs = append(defs, d...), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &TypesError{err}
	}
	set, err := event.Compile(defs)
	if err != nil {
		return nil, &TypesError{err}
	}
	if err := cfg.CheckTypes(set.Names(), change.Glob); err != nil {
		return nil, err
	}
	return set, nil
}

func newEndpoints(cfg *config.Config, egress *deliver.Egress, version string) ([]*deliver.Endpoint, error) {
	var out []*deliver.Endpoint
	for _, e := range cfg.Endpoints {
		ep, err := deliver.NewEndpoint(deliver.EndpointConfig{
			Name: e.Name, URL: e.URL, Tenant: e.Tenant, Secrets: e.Secrets, Concurrency: e.Concurrency, Timeout: e.Timeout,
			QueueBytes: e.QueueBytes, Ordered: e.Order == config.OrderKey, UserAgent: "Rowhook/" + version,
		}, egress)
		if err != nil {
			return nil, err
		}
		out = append(out, ep)
	}
	return out, nil
}

// LateSubscriptionError says that a subscription wants what its endpoint has passed already.
type LateSubscriptionError struct{ Endpoint, Name string }

func (e *LateSubscriptionError) Error() string {
	return fmt.Sprintf("subscription %s of endpoint %s is new and wants the log from its start, but the endpoint has gone on without it", e.Name, e.Endpoint)
}

// subscribe gives every declared subscription the seq after which it begins. That of a known one is kept; a new one begins where
// its `from` says, and a new endpoint with it.
func (a *App) subscribe(ctx context.Context, s *source, endpoints []*deliver.Endpoint) ([]deliver.Subscription, error) {
	known, err := a.store.Subscriptions(ctx, s.name)
	if err != nil {
		return nil, err
	}
	starts, err := a.starts(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, ep := range endpoints {
		if err := a.introduce(ctx, s, ep, known, starts); err != nil {
			return nil, err
		}
	}
	var subs []deliver.Subscription
	for _, c := range a.cfg.Subscriptions {
		if c.From == config.FromEarliest && !has(known, c.Endpoint, c.Name) && has(known, c.Endpoint, "") {
			return nil, &LateSubscriptionError{c.Endpoint, c.Name}
		}
		from, _, err := a.store.EnsureSubscription(ctx, s.name, c.Endpoint, c.Name, declared, starts[c.From])
		if err != nil {
			return nil, err
		}
		subs = append(subs, deliver.Subscription{Name: c.Name, Endpoint: c.Endpoint, Types: a.matching(c.Types), Subject: c.Subject, From: from})
	}
	gone, err := a.store.ForgetSubscriptions(ctx, s.name, func(k store.Subscription) bool {
		return slices.ContainsFunc(a.cfg.Subscriptions, func(c config.Subscription) bool { return c.Endpoint == k.Endpoint && c.Name == k.Name })
	})
	for _, g := range gone {
		a.log.Info("subscription removed", "source", s.name, "endpoint", g.Endpoint, "subscription", g.Name)
	}
	return subs, err
}

// starts returns the seq that each `from` stands for at this moment.
func (a *App) starts(ctx context.Context, s *source) (map[config.From]uint64, error) {
	next, _, _ := s.log.Tail()
	first := uint64(1)
	if next > 0 {
		var err error
		if first, err = s.log.First(ctx); err != nil {
			return nil, fmt.Errorf("find the start of the log of source %s: %w", s.name, err)
		}
	}
	return map[config.From]uint64{config.FromNow: max(next, 1) - 1, config.FromEarliest: max(first, 1) - 1}, nil
}

// introduce writes down where a new endpoint begins before its subscriptions are known, so that a crash in between makes it new
// again instead of letting it begin too late.
func (a *App) introduce(ctx context.Context, s *source, ep *deliver.Endpoint, known []store.Subscription, starts map[config.From]uint64) error {
	if has(known, ep.Name, "") {
		return nil
	}
	floor, wanted := starts[config.FromNow], false
	for _, c := range a.cfg.Subscriptions {
		if c.Endpoint == ep.Name {
			floor, wanted = min(floor, starts[c.From]), true
		}
	}
	if !wanted {
		return nil
	}
	slot := deliver.SlotOf(ep.Name)
	return a.store.Commit(ctx, deliver.Batch{Source: s.name, Slots: []deliver.SlotWrite{{
		Slot: slot, Epoch: a.claims[slot].Epoch,
		Progress: []deliver.EndpointProgress{{Source: s.name, Endpoint: ep.Name, Progress: deliver.Progress{Floor: floor}}},
	}}})
}

// has reports whether the endpoint has a subscription of that name, or any if name is empty.
func has(known []store.Subscription, endpoint, name string) bool {
	return slices.ContainsFunc(known, func(k store.Subscription) bool {
		return k.Endpoint == endpoint && (name == "" || k.Name == name)
	})
}

func (a *App) matching(patterns []string) []string {
	var out []string
	for _, name := range a.types.Names() {
		if slices.ContainsFunc(patterns, func(p string) bool { return change.Glob(p, name) }) {
			out = append(out, name)
		}
	}
	return out
}

// declared stands for the definition of every declared subscription. An edit of the file keeps the place: what is not delivered
// yet is matched by the new definition, and no event between the two is skipped.
const declared = "declared"
