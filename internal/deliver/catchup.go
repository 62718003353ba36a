package deliver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/event"
)

// sliceBlocks is how many blocks one slice of catching up reads, 8 MiB at most: then it is another lane's turn, so that one that
// is far behind does not hold up one that is nearly there.
const sliceBlocks = 32

// nearSeqs is how far apart the cursors of lanes may be that share a slice: about what a slice reads.
const nearSeqs = 16 << 10

// runCatchup feeds the lanes that lag, in turns, until each is back in step.
func (e *Engine) runCatchup(ctx context.Context) error {
	c := &catchup{engine: e, matchers: newMatchers(e.opts.Types)}
	e.wakeCatchup()
	for {
		group := c.next()
		if group == nil {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-e.catchup:
				continue
			}
		}
		if err := e.pressure(ctx); err != nil {
			return err
		}
		if err := c.slice(ctx, group); err != nil {
			return fmt.Errorf("catch up: %w", err)
		}
	}
}

func (e *Engine) wakeCatchup() {
	select {
	case e.catchup <- struct{}{}:
	default:
	}
}

type catchup struct {
	engine   *Engine
	matchers *matchers
	body     body
	clock    uint64
	lanes    []*lane // reused
}

type lagger struct {
	lane   *lane
	cursor uint64
}

// next chooses the lane that has waited longest and those near it.
func (c *catchup) next() []*lane {
	var all []lagger
	c.lanes = c.engine.laggards.all(c.lanes[:0])
	for _, l := range c.lanes {
		l.mu.Lock()
		if l.hasRoom() {
			all = append(all, lagger{l, l.cursor})
		}
		l.mu.Unlock()
	}
	if len(all) == 0 {
		return nil
	}
	first := slices.MinFunc(all, func(a, b lagger) int {
		return cmp.Or(cmp.Compare(a.lane.turn, b.lane.turn), cmp.Compare(a.cursor, b.cursor))
	})
	c.clock++
	var group []*lane
	for _, g := range all {
		if g.cursor >= first.cursor && g.cursor-first.cursor <= nearSeqs {
			g.lane.turn = c.clock
			group = append(group, g.lane)
		}
	}
	return group
}

// slice reads on from the group's lowest cursor.
func (c *catchup) slice(ctx context.Context, group []*lane) error {
	if group = c.join(group); len(group) == 0 {
		return nil
	}
	from := lowest(group)
	r := c.engine.deps.Log.Reader(from + 1)
	for range sliceBlocks {
		var err error
		if c.engine.liveSeq.Load() <= lowest(group)+joinSeqs {
			group, err = c.finish(ctx, r, group)
		} else {
			group, err = c.read(ctx, r, group)
		}
		if err != nil || len(group) == 0 {
			return err
		}
	}
	return nil
}

// joinSeqs is how near to the live reader the rest is read while it stands still, a few milliseconds: otherwise a lane could run
// after a busy log for ever, always one block behind.
const joinSeqs = 2048

// finish reads the group up to where the live reader stands and joins it.
func (c *catchup) finish(ctx context.Context, r BlockReader, group []*lane) ([]*lane, error) {
	c.engine.offering.Lock()
	defer c.engine.offering.Unlock()
	for {
		if group = c.joinStanding(group); len(group) == 0 {
			return nil, nil
		}
		var err error
		if group, err = c.read(ctx, r, group); err != nil || len(group) == 0 {
			return nil, err
		}
	}
}

// read offers the next block to the group and returns the lanes that took all of it.
func (c *catchup) read(ctx context.Context, r BlockReader, group []*lane) ([]*lane, error) {
	raw, err := r.Next(ctx)
	if expired, ok := errors.AsType[*ExpiredError](err); ok {
		c.expire(group, expired.First)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return c.offer(ctx, raw, group)
}

func lowest(group []*lane) uint64 {
	low := ^uint64(0)
	for _, l := range group {
		l.mu.Lock()
		low = min(low, l.cursor)
		l.mu.Unlock()
	}
	return low
}

// offer hands a block to the lanes and returns those that took all of it.
func (c *catchup) offer(ctx context.Context, raw []byte, group []*lane) ([]*lane, error) {
	blk, err := change.Parse(raw)
	if err != nil {
		return nil, err
	}
	m, err := c.matchers.of(ctx, blk)
	if err != nil {
		return nil, err
	}
	in := map[*lane]bool{}
	for _, l := range group {
		in[l] = true
	}
	e := c.engine
	e.catching.Lock()
	defer e.catching.Unlock()
	err = blk.Each(func(ch *change.Change) error {
		return m.Each(e.opts.Source, e.opts.Generation, ch, func(ev *event.Event) error {
			c.body.reset()
			e.routes.each(ev, func(l *lane) {
				if in[l] && !l.offerLagging(ev, &c.body) {
					delete(in, l)
				}
			})
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("match block at seq %d: %w", blk.FirstSeq, err)
	}
	// A lane that was halted meanwhile must leave as well: its cursor stands still, and the others would wait at the log's end.
	return slices.DeleteFunc(group, func(l *lane) bool { return !in[l] || !l.passed(blk.LastSeq()) }), nil
}

// offerLagging is offer for the catch-up reader. A lane that cannot take the event keeps its place before it.
func (l *lane) offerLagging(ev *event.Event, b *body) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != lagging || ev.Seq <= l.cursor {
		return l.state == lagging
	}
	if l.accept(ev, b) {
		return true
	}
	l.cursor = max(l.cursor, ev.Seq-1)
	return false
}

// passed moves the lane's cursor and reports whether it lags still.
func (l *lane) passed(seq uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == lagging && seq > l.cursor {
		l.cursor = seq
		l.markDirty()
		l.end()
	}
	return l.state == lagging
}

// end takes a backfill that was offered all there is from the catch-up reader.
func (l *lane) end() {
	if l.backfill == nil || l.cursor < l.backfill.backfillEnd() {
		return
	}
	l.cursor = l.backfill.backfillEnd()
	l.setState(ended)
}

// join makes live those lanes that have come to where the live reader is, and returns the others.
func (c *catchup) join(group []*lane) []*lane {
	c.engine.offering.Lock()
	defer c.engine.offering.Unlock()
	return c.joinStanding(group)
}

// joinStanding is join while the live reader stands still.
func (c *catchup) joinStanding(group []*lane) []*lane {
	at := c.engine.liveSeq.Load()
	return slices.DeleteFunc(group, func(l *lane) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.state == lagging && l.cursor >= at && l.backfill == nil {
			l.setState(live)
			l.markDirty()
		}
		return l.state != lagging
	})
}

// expire records what retention removed before the lanes had got it.
func (c *catchup) expire(group []*lane, first uint64) {
	for _, l := range group {
		l.mu.Lock()
		if l.state == lagging && l.cursor+1 < first {
			l.expire(first - 1)
		}
		l.mu.Unlock()
	}
}

func (l *lane) expire(last uint64) {
	if l.backfill != nil {
		last = min(last, l.backfill.backfillEnd())
	}
	lost := SeqRange{l.cursor + 1, last}
	source := l.engine.opts.Source
	l.changes.expired = append(l.changes.expired, ExpiredRange{Source: source, Endpoint: l.sender.name, SeqRange: lost})
	l.engine.opts.Log.Error("events expired before they were delivered", "source", source, "endpoint", l.sender.name, "first", lost.First, "last", lost.Last)
	l.cursor = last
	l.markDirty()
	l.end()
}

// laggards are the lanes that lag. It is safe for concurrent use, also under a sender's mutex.
type laggards struct {
	mu    sync.Mutex
	lanes map[*lane]struct{}
}

// note is told when a lane begins or ends to lag.
func (s *laggards) note(l *lane, was, is bool) {
	if was == is {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if is {
		s.lanes[l] = struct{}{}
	} else {
		delete(s.lanes, l)
	}
}

// all appends them to list.
func (s *laggards) all(list []*lane) []*lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.lanes {
		list = append(list, l)
	}
	return list
}
