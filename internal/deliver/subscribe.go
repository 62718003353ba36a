package deliver

import (
	"context"
	"fmt"
	"slices"
)

// Subscribe lets an endpoint's lanes serve a range from its From on; FromNow is the end of the log. Version 0 takes the subscription's
// next one; another must be higher than all before. An open range of the same subscription ends where the endpoint's own lane begins
// with the new one, and is returned. What the endpoint has passed already comes as a backfill, but for what its earlier ranges cover:
// an endpoint gets an event once.
//
// The range is in effect at once and in the store when Subscribe returns; after an error of ctx the store follows later. A caller that
// cannot keep the subscription ends it with EndSubscription.
func (e *Engine) Subscribe(ctx context.Context, r Range) (placed Range, replaced *Range, err error) {
	if err := e.await(ctx); err != nil {
		return Range{}, nil, err
	}
	if placed, replaced, err = e.subscribe(r); err != nil {
		return Range{}, nil, fmt.Errorf("subscribe endpoint %s to %s: %w", r.Endpoint, r.Subscription, err)
	}
	e.wakeCatchup()
	if err := e.save(ctx); err != nil {
		return placed, replaced, fmt.Errorf("subscribe endpoint %s to %s: %w", r.Endpoint, r.Subscription, err)
	}
	return placed, replaced, nil
}

func (e *Engine) subscribe(r Range) (Range, *Range, error) {
	e.offering.Lock()
	defer e.offering.Unlock()
	e.catching.Lock()
	defer e.catching.Unlock()
	s, err := e.locked(r.Endpoint)
	if err != nil {
		return Range{}, nil, err
	}
	defer s.mu.Unlock()
	if r.Source != "" && r.Source != e.opts.Source {
		return Range{}, nil, fmt.Errorf("the range is of source %s, not %s", r.Source, e.opts.Source)
	}
	open, highest := s.versions(r.Subscription)
	if r.Version == 0 {
		r.Version = highest + 1
	}
	if r.Version <= highest {
		return Range{}, nil, fmt.Errorf("version %d has been, the next is %d", r.Version, highest+1)
	}
	r.Source, r.Types, r.To = e.opts.Source, slices.Clone(r.Types), 0
	s.position(&r, open >= 0)
	var replaced *Range
	if open >= 0 {
		old := *s.ranges[open]
		old.To = r.LiveFrom
		s.set(open, &old)
		replaced = &old
	}
	s.ranges = append(s.ranges, &r)
	s.main.changes.ranges = append(s.main.changes.ranges, r)
	s.main.markDirty()
	if r.backfilling() {
		if l := s.addBackfill(&r); !s.halted() {
			l.begin()
		}
	}
	s.reroute()
	return r, replaced, nil
}

// position finds where the endpoint's own lane begins with a range. A range that was made later never begins there before the end of
// an earlier one's backfill, so that what both cover is always the earlier one's.
func (s *sender) position(r *Range, replaces bool) {
	place := s.main.passedUpTo()
	for _, o := range s.ranges {
		if o.From < o.LiveFrom {
			place = max(place, o.LiveFrom)
		}
	}
	if replaces {
		place = max(place, 1) // the end of the one before: 0 would be none
	}
	if r.From == FromNow {
		r.From = max(s.engine.end(), place)
	}
	r.LiveFrom = max(r.From, place)
	r.Backfilled = r.From == r.LiveFrom
}

// end returns the seq of the log's last change.
func (e *Engine) end() uint64 { return max(e.deps.Log.NextSeq(), 1) - 1 }

// versions returns where the subscription's open range stands, -1 if there is none, and its highest version.
func (s *sender) versions(subscription string) (open int, highest uint64) {
	open = -1
	for i, r := range s.ranges {
		if r.Subscription != subscription {
			continue
		}
		highest = max(highest, r.Version)
		if r.To == 0 {
			open = i
		}
	}
	return open, highest
}

// set replaces a range, in memory and with the next checkpoint in the store.
func (s *sender) set(i int, r *Range) {
	s.ranges[i] = r
	s.main.changes.ranges = append(s.main.changes.ranges, *r)
	s.main.markDirty()
}

// EndSubscription ends a subscription's open range with the last change of the log, or before its beginning if that is still to come,
// and returns it; false if none is open. On an empty log the first change is still within it, because an end of 0 would be none. What
// lies before the end is delivered still. Subscribe with the range's To as From goes on without a gap.
func (e *Engine) EndSubscription(ctx context.Context, endpoint, subscription string) (Range, bool, error) {
	if err := e.await(ctx); err != nil {
		return Range{}, false, err
	}
	r, ok, err := e.endSubscription(endpoint, subscription)
	if err == nil && ok {
		err = e.save(ctx)
	}
	if err != nil {
		return r, ok, fmt.Errorf("end subscription %s of endpoint %s: %w", subscription, endpoint, err)
	}
	return r, ok, nil
}

func (e *Engine) endSubscription(endpoint, subscription string) (Range, bool, error) {
	e.offering.Lock()
	defer e.offering.Unlock()
	e.catching.Lock()
	defer e.catching.Unlock()
	s, err := e.locked(endpoint)
	if err != nil {
		return Range{}, false, err
	}
	defer s.mu.Unlock()
	i, _ := s.versions(subscription)
	if i < 0 {
		return Range{}, false, nil
	}
	r := *s.ranges[i]
	// What the lane was offered it may have been sent already, also if the log's end is not told yet.
	r.To = max(e.end(), s.main.passedUpTo(), r.LiveFrom, 1)
	s.set(i, &r)
	s.reroute()
	return r, true, nil
}
