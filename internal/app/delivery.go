package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/event"
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

// subscribe returns what the versions of all subscriptions cover of a source. A known subscription keeps its place; a new one begins
// where its `from` says, and a new endpoint with it. What the endpoint has passed already comes as a backfill.
func (a *App) subscribe(ctx context.Context, s *source, endpoints []*deliver.Endpoint) ([]deliver.Range, error) {
	known, err := a.store.Ranges(ctx, s.name)
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
	var put []deliver.Range
	for _, c := range a.cfg.Subscriptions {
		put = append(put, declaredRange(s.name, c, known, starts))
	}
	if err := a.store.PutRanges(ctx, put...); err != nil {
		return nil, err
	}
	gone, err := a.store.ForgetRanges(ctx, func(k deliver.Range) bool {
		return k.Source != s.name || slices.ContainsFunc(a.cfg.Subscriptions, func(c config.Subscription) bool { return isOf(&k, c) })
	})
	if err != nil {
		return nil, err
	}
	for _, g := range gone {
		a.log.Info("subscription removed", "source", s.name, "endpoint", g.Endpoint, "subscription", g.Subscription)
	}
	return a.store.Ranges(ctx, s.name)
}

// declaredRange is what a declared subscription covers from now on. An edit of the file keeps the place: what is not delivered yet is
// matched by the new definition, and no event between the two is skipped.
func declaredRange(source string, c config.Subscription, known []deliver.Range, starts map[config.From]uint64) deliver.Range {
	r := deliver.Range{Source: source, Endpoint: c.Endpoint, Subscription: c.Name, Version: 1, From: starts[c.From], LiveFrom: starts[c.From]}
	for _, k := range known {
		switch {
		case isOf(&k, c) && k.To == 0:
			k.Types, k.Subject = c.Types, c.Subject
			return k
		case isOf(&k, c):
			r.Version = k.Version + 1
		}
	}
	if slices.ContainsFunc(known, func(k deliver.Range) bool { return k.Endpoint == c.Endpoint }) {
		// Wherever in the log the endpoint is, it is not behind its end.
		r.LiveFrom = max(r.From, starts[config.FromNow])
	}
	r.Types, r.Subject, r.Backfilled = c.Types, c.Subject, r.From == r.LiveFrom
	return r
}

func isOf(r *deliver.Range, c config.Subscription) bool {
	return r.Endpoint == c.Endpoint && r.Subscription == c.Name
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
	starts := map[config.From]uint64{config.FromNow: max(next, 1) - 1, config.FromEarliest: max(first, 1) - 1}
	for _, c := range a.cfg.Subscriptions {
		at, isTime := c.From.Time()
		if _, known := starts[c.From]; !isTime || known {
			continue
		}
		seq, err := s.committedBefore(ctx, at, first, starts[config.FromNow])
		if err != nil {
			return nil, fmt.Errorf("find %s in the log of source %s: %w", c.From, s.name, err)
		}
		starts[c.From] = seq
	}
	return starts, nil
}

// committedBefore returns the seq before the first change that committed at a time or later, of those from first to last.
func (s *source) committedBefore(ctx context.Context, at time.Time, first, last uint64) (uint64, error) {
	r := s.log.NewReader(first)
	for next := first; next <= last; {
		e, err := r.Next(ctx)
		if err != nil {
			return 0, err
		}
		blk, err := change.Parse(e.Block)
		if err != nil {
			return 0, err
		}
		found := uint64(0)
		err = blk.Each(func(c *change.Change) error {
			if found == 0 && c.Tx.CommitTime >= at.UnixMicro() {
				found = c.Seq
			}
			return nil
		})
		if err != nil || found > 0 {
			return max(found, 1) - 1, err
		}
		next = blk.NextSeq()
	}
	return last, nil
}

// introduce writes down where a new endpoint begins before its subscriptions are known, so that a crash in between makes it new
// again instead of letting it begin too late.
func (a *App) introduce(ctx context.Context, s *source, ep *deliver.Endpoint, known []deliver.Range, starts map[config.From]uint64) error {
	if slices.ContainsFunc(known, func(k deliver.Range) bool { return k.Endpoint == ep.Name }) {
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
