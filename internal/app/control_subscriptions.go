package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/internal/store"
)

const (
	subscriptionPrefix = "sub_"
	// maxPatterns is how many patterns one subscription may have.
	maxPatterns = 100
)

// foundSubscription is a subscription: a declared one, or one that the API made.
type foundSubscription struct {
	declared *config.Subscription
	paused   bool // a declared one
	record   store.SubscriptionRecord
}

func (f *foundSubscription) id() string {
	if f.declared != nil {
		return declaredID(f.declared)
	}
	return f.record.ID
}

func declaredID(s *config.Subscription) string { return s.Endpoint + "/" + s.Name }

func (f *foundSubscription) isPaused() bool { return f.paused || f.record.Paused }

// definition is what its ranges say of it, without a place.
func (f *foundSubscription) definition() deliver.Range {
	if d := f.declared; d != nil {
		return deliver.Range{Endpoint: d.Endpoint, Subscription: d.Name, Types: d.Types, Subject: d.Subject}
	}
	return definitionOf(&f.record)
}

func definitionOf(r *store.SubscriptionRecord) deliver.Range {
	return deliver.Range{Endpoint: r.Endpoint, Subscription: r.ID, Types: r.Types, Subject: r.Subject}
}

// CreateSubscription lets the engines take it in first, which gives it its places, and stores it with them. What a crash leaves of it
// in between nobody was promised, and it is gone after the next start.
func (c *control) CreateSubscription(ctx context.Context, who api.Caller, n api.NewSubscription) (api.Subscription, error) {
	if err := c.checkPatterns(ctx, who, n.Types); err != nil {
		return api.Subscription{}, err
	}
	unlock, err := c.locks.lock(ctx, n.Endpoint)
	if err != nil {
		return api.Subscription{}, err
	}
	defer unlock()
	if _, err := c.made(ctx, who, n.Endpoint); err != nil {
		return api.Subscription{}, err
	}
	starts, err := c.starts(ctx, n.From, "body.from")
	if err != nil {
		return api.Subscription{}, err
	}
	ctx, cancel := toTheEnd(ctx)
	defer cancel()
	r := store.SubscriptionRecord{
		ID: subscriptionPrefix + store.RandomText(idRandom), Endpoint: n.Endpoint, Description: n.Description, Types: n.Types, Subject: n.Subject,
	}
	def := definitionOf(&r)
	ranges, err := c.place(ctx, def, func(s *source) uint64 { return starts[s.name] })
	if err == nil {
		err = c.app.store.CreateSubscription(ctx, &r, ranges)
	}
	if err != nil {
		if _, undo := c.end(ctx, def); undo != nil {
			c.app.log.Error("a subscription that could not be stored is in force until the next start", "subscription", r.ID, "err", undo)
		}
		return api.Subscription{}, answered(err, "endpoint")
	}
	return c.viewSubscription(ctx, foundSubscription{record: r})
}

// checkPatterns holds the API to what the configuration is held to: each pattern matches a type.
func (c *control) checkPatterns(ctx context.Context, who api.Caller, patterns []string) error {
	if len(patterns) == 0 || len(patterns) > maxPatterns {
		return invalid("body.types", "has %d patterns, not 1 to %d", len(patterns), maxPatterns)
	}
	types, err := c.EventTypes(ctx, who)
	if err != nil {
		return err
	}
	var wrong []api.FieldProblem
	for i, p := range patterns {
		if !slices.ContainsFunc(types, func(t api.EventType) bool { return event.MatchType(p, t.Name) }) {
			wrong = append(wrong, api.FieldProblem{Location: fmt.Sprintf("body.types[%d]", i), Message: "matches no event type"})
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	p := invalidFields(wrong...)
	p.Hint = "GET /v1/types lists the event types"
	return p
}

// place lets the engines begin the next version of a subscription, and returns its ranges and those that it has ended. After an error
// the ranges returned are those in effect nevertheless.
func (c *control) place(ctx context.Context, def deliver.Range, from func(*source) uint64) ([]deliver.Range, error) {
	var out []deliver.Range
	for _, s := range c.app.sources {
		ranges, err := placeIn(ctx, s, def, from(s))
		out = append(out, ranges...)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

func placeIn(ctx context.Context, s *source, def deliver.Range, from uint64) ([]deliver.Range, error) {
	def.Source, def.From = s.name, from
	placed, ended, err := s.engine.Subscribe(ctx, def)
	var out []deliver.Range
	if ended != nil {
		out = append(out, *ended)
	}
	if placed.Source != "" {
		out = append(out, placed)
	}
	if err != nil {
		return out, fmt.Errorf("source %s: %w", s.name, err)
	}
	return out, nil
}

// end lets the engines end a subscription, and returns the ranges that it ended, also after an error.
func (c *control) end(ctx context.Context, def deliver.Range) ([]deliver.Range, error) {
	var out []deliver.Range
	for _, s := range c.app.sources {
		ended, ok, err := s.engine.EndSubscription(ctx, def.Endpoint, def.Subscription)
		if ok {
			out = append(out, ended)
		}
		if err != nil {
			return out, fmt.Errorf("source %s: %w", s.name, err)
		}
	}
	return out, nil
}

// restore lets the engines go on with a definition that the store still has, after a change of it could not be stored: from where
// the change ended it, or from now on in place of what the change began.
func (c *control) restore(ctx context.Context, def deliver.Range, changed []deliver.Range) {
	places := map[string]uint64{}
	for _, r := range changed {
		places[r.Source] = deliver.FromNow
		if r.To != 0 {
			places[r.Source] = r.To
		}
	}
	for _, s := range c.app.sources {
		from, ok := places[s.name]
		if !ok {
			continue
		}
		if _, err := placeIn(ctx, s, def, from); err != nil {
			c.app.log.Error("a subscription could not be put back after a failed change; the next start does it",
				"subscription", def.Subscription, "endpoint", def.Endpoint, "err", err)
		}
	}
}

// findSubscription returns a subscription that the caller may see.
func (c *control) findSubscription(ctx context.Context, who api.Caller, id string) (foundSubscription, error) {
	f, err := c.lookUpSubscription(ctx, id)
	if err != nil {
		return foundSubscription{}, err
	}
	def := f.definition()
	if _, err := c.find(ctx, who, def.Endpoint); isNotFound(err) {
		return foundSubscription{}, notFound("subscription")
	} else if err != nil {
		return foundSubscription{}, err
	}
	return f, nil
}

func (c *control) lookUpSubscription(ctx context.Context, id string) (foundSubscription, error) {
	if !strings.Contains(id, "/") {
		r, err := c.app.store.APISubscription(ctx, id)
		return foundSubscription{record: r}, answered(err, "subscription")
	}
	all, err := c.declaredSubscriptions(ctx, func(s *config.Subscription) bool { return declaredID(s) == id })
	if err == nil && len(all) == 0 {
		err = notFound("subscription")
	}
	if err != nil {
		return foundSubscription{}, err
	}
	return all[0], nil
}

// declaredSubscriptions returns those of the configuration that keep says yes to.
func (c *control) declaredSubscriptions(ctx context.Context, keep func(*config.Subscription) bool) ([]foundSubscription, error) {
	paused, err := c.app.store.Paused(ctx)
	if err != nil {
		return nil, err
	}
	c.app.control.Lock()
	declared := c.app.cfg.Subscriptions
	c.app.control.Unlock()
	var out []foundSubscription
	for i := range declared {
		if s := &declared[i]; keep(s) {
			out = append(out, foundSubscription{declared: s, paused: slices.Contains(paused, store.DeclaredSubscription{Endpoint: s.Endpoint, Name: s.Name})})
		}
	}
	return out, nil
}

// Subscription returns one subscription.
func (c *control) Subscription(ctx context.Context, who api.Caller, id string) (api.Subscription, error) {
	f, err := c.findSubscription(ctx, who, id)
	if err != nil {
		return api.Subscription{}, err
	}
	return c.viewSubscription(ctx, f)
}

// ListSubscriptions merges those of the configuration with those of the store. The cursor is the last id.
func (c *control) ListSubscriptions(ctx context.Context, who api.Caller, endpoint string, p api.Page) ([]api.Subscription, string, error) {
	limit := pageSize(p)
	records, err := c.app.store.APISubscriptions(ctx, endpoint, who.Tenant, p.After, limit+1)
	if err != nil {
		return nil, "", err
	}
	tenants := map[string]string{}
	for _, e := range c.app.declaredEndpoints() {
		tenants[e.Name] = e.Tenant
	}
	all, err := c.declaredSubscriptions(ctx, func(s *config.Subscription) bool {
		return declaredID(s) > p.After && (endpoint == "" || s.Endpoint == endpoint) && maySee(who, tenants[s.Endpoint])
	})
	if err != nil {
		return nil, "", err
	}
	for _, r := range records {
		all = append(all, foundSubscription{record: r})
	}
	slices.SortFunc(all, func(a, b foundSubscription) int { return cmp.Compare(a.id(), b.id()) })
	next := ""
	if len(all) > limit {
		all = all[:limit]
		next = all[limit-1].id()
	}
	out := make([]api.Subscription, len(all))
	for i := range all {
		if out[i], err = c.viewSubscription(ctx, all[i]); err != nil {
			return nil, "", err
		}
	}
	return out, next, nil
}

func (c *control) viewSubscription(ctx context.Context, f foundSubscription) (api.Subscription, error) {
	def := f.definition()
	out := api.Subscription{
		ID: f.id(), Declared: f.declared != nil, Endpoint: def.Endpoint, Description: f.record.Description, Types: def.Types, Subject: def.Subject,
		Paused: f.isPaused(), Starts: []api.Start{}, Version: f.record.Version, CreatedAt: f.record.CreatedAt, UpdatedAt: f.record.UpdatedAt,
	}
	for _, s := range c.app.sources {
		rs, err := c.app.store.RangesOf(ctx, s.name, def.Endpoint, def.Subscription)
		if err != nil {
			return api.Subscription{}, err
		}
		if len(rs) > 0 {
			r := rs[len(rs)-1]
			out.Starts = append(out.Starts, api.Start{Source: s.name, Seq: r.From, Backfilling: !r.Backfilled})
		}
	}
	return out, nil
}
