package deliver

import (
	"context"
	"errors"
	"fmt"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/event"
)

// runLive offers each new block to the lanes that are in step. It never waits for a lane.
func (e *Engine) runLive(ctx context.Context) error {
	r := e.deps.Log.Reader(e.liveSeq.Load() + 1)
	m := newMatchers(e.opts.Types)
	var b body
	for {
		raw, err := r.Next(ctx)
		if expired, ok := errors.AsType[*ExpiredError](err); ok && expired.First > e.liveSeq.Load()+1 {
			e.skipTo(expired.First)
			r = e.deps.Log.Reader(expired.First)
			continue
		}
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if err := e.pressure(ctx); err != nil {
			return err
		}
		if err := e.offerLive(ctx, raw, m, &b); err != nil {
			return err
		}
	}
}

// skipTo goes on at the oldest change there still is. The catch-up reader tells each lane what it lost.
func (e *Engine) skipTo(first uint64) {
	e.offering.Lock()
	defer e.offering.Unlock()
	for _, s := range e.senders.all() {
		s.mu.Lock()
		if s.main.state == live {
			s.main.lag(s.main.offered())
		}
		s.mu.Unlock()
	}
	e.liveSeq.Store(first - 1)
	e.stats.LiveSeq.Store(first - 1)
	e.wakeCatchup()
}

func (e *Engine) offerLive(ctx context.Context, raw []byte, ms *matchers, b *body) error {
	blk, err := change.Parse(raw)
	if err != nil {
		return err
	}
	m, err := ms.of(ctx, blk)
	if err != nil {
		return err
	}
	e.offering.Lock()
	defer e.offering.Unlock()
	// The first block may hold changes that every lane has passed already.
	done := e.liveSeq.Load()
	err = blk.Each(func(c *change.Change) error {
		if c.Seq <= done {
			return nil
		}
		return m.Each(e.opts.Source, e.opts.Generation, c, func(ev *event.Event) error {
			b.reset()
			e.routes.each(ev, func(l *lane) { l.offerLive(ev, b) })
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("match block at seq %d: %w", blk.FirstSeq, err)
	}
	if last := blk.LastSeq(); last > done {
		e.liveSeq.Store(last)
		e.stats.LiveSeq.Store(last)
	}
	return nil
}
