package app

import (
	"context"
	"slices"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/store"
)

// heldSubscription is a subscription whose endpoint's lock is held.
func (c *control) heldSubscription(ctx context.Context, who api.Caller, id string) (foundSubscription, func(), error) {
	f, err := c.findSubscription(ctx, who, id)
	if err != nil {
		return foundSubscription{}, nil, err
	}
	def := f.definition()
	unlock, err := c.locks.lock(ctx, def.Endpoint)
	if err != nil {
		return foundSubscription{}, nil, err
	}
	// As it is now that nobody else changes it.
	if f, err = c.findSubscription(ctx, who, id); err != nil {
		unlock()
		return foundSubscription{}, nil, err
	}
	return f, unlock, nil
}

// UpdateSubscription ends one version and begins the next at the same place in each source.
func (c *control) UpdateSubscription(ctx context.Context, who api.Caller, id string, ifMatch uint64, ch api.SubscriptionChange) (api.Subscription, error) {
	f, unlock, err := c.heldSubscription(ctx, who, id)
	if err != nil {
		return api.Subscription{}, err
	}
	defer unlock()
	if f.declared != nil {
		return api.Subscription{}, isDeclared("subscription")
	}
	if ifMatch != 0 && ifMatch != f.record.Version {
		return api.Subscription{}, stale()
	}
	r, err := c.changed(ctx, who, f.record, ch)
	if err != nil {
		return api.Subscription{}, err
	}
	ctx, cancel := toTheEnd(ctx)
	defer cancel()
	before, after := definitionOf(&f.record), definitionOf(&r)
	var ranges []deliver.Range
	if !sameDefinition(&before, &after) && !r.Paused {
		ranges, err = c.place(ctx, after, func(*source) uint64 { return deliver.FromNow })
	}
	if err == nil {
		err = c.app.store.UpdateSubscription(ctx, &r, ranges)
	}
	if err != nil {
		c.restore(ctx, before, ranges)
		return api.Subscription{}, answered(err, "subscription")
	}
	return c.viewSubscription(ctx, foundSubscription{record: r})
}

// changed returns the record with what is not nil changed.
func (c *control) changed(ctx context.Context, who api.Caller, r store.SubscriptionRecord, ch api.SubscriptionChange) (store.SubscriptionRecord, error) {
	if ch.Types != nil {
		if err := c.checkPatterns(ctx, who, *ch.Types); err != nil {
			return r, err
		}
		r.Types = *ch.Types
	}
	if ch.Subject != nil {
		r.Subject = *ch.Subject
	}
	if ch.Description != nil {
		r.Description = *ch.Description
	}
	return r, nil
}

func sameDefinition(a, b *deliver.Range) bool {
	return a.Subject == b.Subject && slices.Equal(a.Types, b.Types)
}

// DeleteSubscription ends it. What committed before is delivered still.
func (c *control) DeleteSubscription(ctx context.Context, who api.Caller, id string, ifMatch uint64) error {
	f, unlock, err := c.heldSubscription(ctx, who, id)
	if err != nil {
		return err
	}
	defer unlock()
	if f.declared != nil {
		return isDeclared("subscription")
	}
	if ifMatch != 0 && ifMatch != f.record.Version {
		return stale()
	}
	ctx, cancel := toTheEnd(ctx)
	defer cancel()
	def := f.definition()
	ended, err := c.end(ctx, def)
	if err == nil {
		err = c.app.store.DeleteSubscription(ctx, id, ifMatch, ended)
	}
	if err != nil {
		c.restore(ctx, def, ended)
		return answered(err, "subscription")
	}
	return nil
}

// PauseSubscription ends its ranges; ResumeSubscription begins the next ones where these end.
func (c *control) PauseSubscription(ctx context.Context, who api.Caller, id string) (api.Subscription, error) {
	return c.switchSubscription(ctx, who, id, true)
}

// ResumeSubscription sends what was held back after all.
func (c *control) ResumeSubscription(ctx context.Context, who api.Caller, id string) (api.Subscription, error) {
	return c.switchSubscription(ctx, who, id, false)
}

func (c *control) switchSubscription(ctx context.Context, who api.Caller, id string, pause bool) (api.Subscription, error) {
	f, unlock, err := c.heldSubscription(ctx, who, id)
	if err != nil {
		return api.Subscription{}, err
	}
	defer unlock()
	if f.isPaused() == pause {
		return c.viewSubscription(ctx, f)
	}
	ctx, cancel := toTheEnd(ctx)
	defer cancel()
	if err := c.pauseOrResume(ctx, &f, pause); err != nil {
		return api.Subscription{}, answered(err, "subscription")
	}
	return c.viewSubscription(ctx, f)
}

// pauseOrResume does it in the engines and then in the store. Reloads, which change what is declared, wait.
func (c *control) pauseOrResume(ctx context.Context, f *foundSubscription, pause bool) error {
	if f.declared != nil {
		c.app.control.Lock()
		defer c.app.control.Unlock()
		id := f.id()
		i := slices.IndexFunc(c.app.cfg.Subscriptions, func(s config.Subscription) bool { return declaredID(&s) == id })
		if i < 0 {
			return notFound("subscription")
		}
		f.declared = &c.app.cfg.Subscriptions[i]
	}
	def := f.definition()
	var ranges []deliver.Range
	var err error
	if pause {
		ranges, err = c.end(ctx, def)
	} else {
		ranges, err = c.goOn(ctx, f)
	}
	if err == nil {
		err = c.storeSwitch(ctx, f, pause, ranges)
	}
	switch {
	case err == nil:
	case pause:
		c.restore(ctx, def, ranges)
	default:
		if _, undo := c.end(ctx, def); undo != nil {
			c.app.log.Error("a subscription whose resumption could not be stored goes on until the next start", "subscription", f.id(), "err", undo)
		}
	}
	return err
}

func (c *control) storeSwitch(ctx context.Context, f *foundSubscription, pause bool, ranges []deliver.Range) error {
	if f.declared != nil {
		f.paused = pause
		return c.app.store.SetPaused(ctx, store.DeclaredSubscription{Endpoint: f.declared.Endpoint, Name: f.declared.Name}, pause, ranges)
	}
	f.record.Paused = pause
	return c.app.store.UpdateSubscription(ctx, &f.record, ranges)
}

// goOn begins a new version in those sources where the newest one has ended, has another definition, or does not exist: the source
// was not there yet. Each begins where the one before it ends.
func (c *control) goOn(ctx context.Context, f *foundSubscription) ([]deliver.Range, error) {
	def := f.definition()
	var out []deliver.Range
	for _, s := range c.app.sources {
		from, needed, err := c.continuation(ctx, f, s, &def)
		if err != nil {
			return out, err
		}
		if !needed {
			continue
		}
		ranges, err := placeIn(ctx, s, def, from)
		out = append(out, ranges...)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// continuation returns where a subscription goes on in a source; false if it is going on already.
func (c *control) continuation(ctx context.Context, f *foundSubscription, s *source, def *deliver.Range) (uint64, bool, error) {
	rs, err := c.app.store.RangesOf(ctx, s.name, def.Endpoint, def.Subscription)
	if err != nil {
		return 0, false, err
	}
	if len(rs) == 0 {
		if f.record.CreatedAt.IsZero() {
			return deliver.FromNow, true, nil
		}
		from, err := seqAt(ctx, s, f.record.CreatedAt)
		return from, true, err
	}
	last := &rs[len(rs)-1]
	switch {
	case last.To != 0:
		return last.To, true, nil
	case !sameDefinition(last, def):
		return deliver.FromNow, true, nil
	default:
		return 0, false, nil
	}
}

// reconcileSubscription brings the engines in line with the record of a subscription.
func (c *control) reconcileSubscription(ctx context.Context, id string) error {
	f, unlock, err := c.heldSubscription(ctx, api.Caller{}, id)
	if isNotFound(err) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	defer unlock()
	var ranges []deliver.Range
	if f.isPaused() {
		ranges, err = c.end(ctx, f.definition())
	} else {
		ranges, err = c.goOn(ctx, &f)
	}
	if err == nil && len(ranges) > 0 {
		c.app.log.Info("subscription brought in line with its record", "subscription", id, "ranges", len(ranges))
	}
	return err
}
