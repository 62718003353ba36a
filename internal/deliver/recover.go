package deliver

import (
	"context"
	"fmt"
	"time"
)

// recover builds the lanes as the last checkpoint left them. Every lane begins behind and is brought up by the catch-up reader;
// the live reader begins at the end of the log.
func (e *Engine) recover(ctx context.Context) error {
	e.liveSeq.Store(max(e.deps.Log.NextSeq(), 1) - 1)
	e.takeClaims()
	for _, ep := range e.opts.Endpoints {
		e.senders.add(newSender(e, ep))
	}
	if err := e.recoverRanges(); err != nil {
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
	for _, s := range e.senders.all() {
		s.start()
	}
	return nil
}

// recoverRanges gives the endpoints their ranges, and each backfill that is not done its lane.
func (e *Engine) recoverRanges() error {
	for _, r := range e.opts.Ranges {
		s := e.senders.get(r.Endpoint)
		if s == nil {
			return fmt.Errorf("subscription %s: no endpoint %s", r.Subscription, r.Endpoint)
		}
		s.ranges = append(s.ranges, &r)
		if r.backfilling() {
			s.addBackfill(&r)
		}
	}
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
	read := map[int]uint64{}
	for _, p := range slots {
		read[p.Slot] = p.ReadSeq
	}
	lanes := map[string]*lane{}
	for _, s := range e.senders.all() {
		s.main.cursor = min(max(read[s.slot], s.begins()), e.liveSeq.Load())
		for _, l := range s.lanes {
			lanes[l.name] = l
		}
	}
	for _, p := range stored {
		if l, ok := lanes[p.Endpoint]; ok {
			l.cursor, l.before, l.stored = p.Progress.Floor, newDoneBefore(p.Progress), true
		}
	}
	return nil
}

// begins returns the seq that none of the endpoint's ranges begins before.
func (s *sender) begins() uint64 {
	first := s.engine.liveSeq.Load()
	for _, r := range s.ranges {
		first = min(first, r.LiveFrom)
	}
	return first
}

func (e *Engine) recoverStates(ctx context.Context) error {
	states, err := e.deps.Loader.EndpointStates(ctx)
	if err != nil {
		return fmt.Errorf("load endpoint states: %w", err)
	}
	for _, st := range states {
		s := e.senders.get(st.Endpoint)
		if s == nil {
			continue
		}
		s.disabled, s.paused, s.reason, s.since = st.Disabled, st.Paused, st.Reason, st.At
		if s.disabled {
			e.opts.Log.Warn("endpoint is disabled", "endpoint", s.name, "reason", s.reason, "since", s.since)
		}
	}
	return nil
}

// recoverExceptions puts waiting events and those behind them back into their places. Parked ones hold no key and stay in the store.
func (e *Engine) recoverExceptions(ctx context.Context) error {
	items := map[*lane][]*item{}
	err := e.deps.Loader.LoadExceptions(ctx, e.opts.Source, func(x Exception) error {
		s := e.senders.get(x.Endpoint)
		if s == nil || x.State == Parked {
			return nil
		}
		it := &item{
			ref: EventRef{x.Seq, x.Type}, id: x.EventID, subject: x.Subject, tenant: x.Tenant, commitMS: x.CommitTimeMS,
			attempts: x.Attempts, keys: [2]uint64{x.Key, x.OtherKey}, done: true, exception: true, stored: len(x.Payload) > 0,
		}
		// What nobody sends needs no body in memory.
		if !s.halted() {
			it.body = x.Payload
		}
		if x.State == Waiting {
			it.due = time.UnixMilli(x.NextAttemptMS)
		}
		l := s.owner(it.ref, it.subject)
		items[l] = append(items[l], it)
		return nil
	})
	if err != nil {
		return fmt.Errorf("load exceptions: %w", err)
	}
	for l, its := range items {
		l.place(its)
	}
	return nil
}

// start lets the lanes be fed and the routes lead to them.
func (s *sender) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reroute()
	for _, l := range s.lanes {
		if !s.halted() {
			l.begin()
		}
		l.markDirty()
	}
	s.schedule()
}
