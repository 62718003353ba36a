package deliver

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// recover builds the lanes as the last checkpoint left them. Every lane begins behind and is brought up by the catch-up reader;
// the live reader begins at the end of the log.
func (e *Engine) recover(ctx context.Context) error {
	e.liveSeq.Store(max(e.deps.Log.NextSeq(), 1) - 1)
	e.takeClaims()
	for _, ep := range e.opts.Endpoints {
		l := newLane(e, ep)
		e.lanes[ep.Name] = l
		e.order = append(e.order, l)
	}
	var err error
	if e.routes, err = newRoutes(e.opts.Subscriptions, e.lanes); err != nil {
		return err
	}
	if err := e.recoverProgress(ctx); err != nil {
		return err
	}
	if err := e.recoverStates(ctx); err != nil {
		return err
	}
	if err := e.recoverExceptions(ctx); err != nil {
		return err
	}
	e.stats.Lagging.Add(int64(len(e.order)))
	return nil
}

func (e *Engine) takeClaims() {
	until := time.Time{}
	for _, c := range e.opts.Claims {
		e.epochs[c.Slot].Store(c.Epoch)
		if until.IsZero() || c.Until.Before(until) {
			until = c.Until
		}
	}
	e.lease.Store(&until)
}

func (e *Engine) recoverProgress(ctx context.Context) error {
	slots, err := e.deps.Loader.LoadSlots(ctx, e.opts.Source)
	if err != nil {
		return fmt.Errorf("load slots: %w", err)
	}
	stored, err := e.deps.Loader.LoadProgress(ctx, e.opts.Source)
	if err != nil {
		return fmt.Errorf("load progress: %w", err)
	}
	from := map[string]uint64{}
	for _, s := range e.opts.Subscriptions {
		if f, ok := from[s.Endpoint]; !ok || s.From < f {
			from[s.Endpoint] = s.From
		}
	}
	for _, l := range e.order {
		l.cursor = from[l.ep.Name]
		for _, s := range slots {
			if s.Slot == l.slot {
				l.cursor = max(l.cursor, s.ReadSeq)
			}
		}
		l.markDirty()
	}
	for _, p := range stored {
		if l, ok := e.lanes[p.Endpoint]; ok {
			l.cursor, l.before, l.stored = p.Progress.Floor, newDoneBefore(p.Progress), true
		}
	}
	return nil
}

func (e *Engine) recoverStates(ctx context.Context) error {
	states, err := e.deps.Loader.EndpointStates(ctx)
	if err != nil {
		return fmt.Errorf("load endpoint states: %w", err)
	}
	for _, s := range states {
		if l, ok := e.lanes[s.Endpoint]; ok && s.Disabled {
			l.state = disabled
			e.stats.Lagging.Add(-1)
			e.opts.Log.Warn("endpoint is disabled", "endpoint", s.Endpoint, "reason", s.Reason, "since", s.At)
		}
	}
	return nil
}

// recoverExceptions puts waiting events and those behind them back into their places. Parked ones hold no key and stay in the store.
func (e *Engine) recoverExceptions(ctx context.Context) error {
	items := map[*lane][]*item{}
	err := e.deps.Loader.LoadExceptions(ctx, e.opts.Source, func(x Exception) error {
		l, ok := e.lanes[x.Endpoint]
		if !ok || x.State == Parked || l.state == disabled {
			return nil
		}
		it := &item{
			ref: EventRef{x.Seq, x.Type}, id: x.EventID, subject: x.Subject, tenant: x.Tenant, commitMS: x.CommitTimeMS,
			body: x.Payload, attempts: x.Attempts, keys: [2]uint64{x.Key, x.OtherKey}, done: true, exception: true,
		}
		if x.State == Waiting {
			it.due = time.UnixMilli(x.NextAttemptMS)
		}
		items[l] = append(items[l], it)
		return nil
	})
	if err != nil {
		return fmt.Errorf("load exceptions: %w", err)
	}
	for l, its := range items {
		l.restore(its)
	}
	return nil
}

func (l *lane) restore(items []*item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.SortFunc(items, func(a, b *item) int {
		return cmp.Or(cmp.Compare(a.ref.Seq, b.ref.Seq), cmp.Compare(a.ref.Type, b.ref.Type))
	})
	for _, it := range items {
		l.account(it)
		first := l.order.add(it)
		switch {
		case !it.due.IsZero():
			l.waiting.push(it)
		case first:
			l.ready.push(it)
		}
	}
	l.startProbing()
	l.schedule()
	l.arm()
}
