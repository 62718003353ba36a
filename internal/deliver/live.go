package deliver

import (
	"context"
	"fmt"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/event"
)

// runLive offers each new block to the lanes that are in step. It never waits for a lane.
func (e *Engine) runLive(ctx context.Context) error {
	r := e.deps.Log.Reader(e.liveSeq.Load() + 1)
	m := e.opts.Types.NewMatcher()
	var b body
	for {
		raw, err := r.Next(ctx)
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if err := e.pressure(ctx); err != nil {
			return err
		}
		if err := e.offerLive(raw, m, &b); err != nil {
			return err
		}
	}
}

func (e *Engine) offerLive(raw []byte, m *event.Matcher, b *body) error {
	blk, err := change.Parse(raw)
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
