package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/internal/eventlog"
	"github.com/rowhook/rowhook/internal/translate"
)

// tailBeat is how long a tail says nothing at most, well within the 15 s that it promises.
const tailBeat = 10 * time.Second

// Tail reads the logs for one caller. Each source has a reader that holds one block and waits for the caller to take its events.
func (c *control) Tail(ctx context.Context, who api.Caller, filter api.TailFilter, f func(*api.TailEvent) error) error {
	if who.Tenant != "" {
		if filter.Tenant != "" && filter.Tenant != who.Tenant {
			return notFound("tenant")
		}
		filter.Tenant = who.Tenant
	}
	sources := c.app.sources
	if filter.Source != "" {
		s, err := c.app.source(filter.Source)
		if err != nil {
			return err
		}
		sources = []*source{s}
	}
	starts, err := c.starts(ctx, filter.From, "query.from")
	if err != nil {
		return err
	}
	select {
	case c.tails <- struct{}{}:
		defer func() { <-c.tails }()
	default:
		return &api.Problem{
			Status: http.StatusTooManyRequests, Code: "too_many_tails", Detail: fmt.Sprintf("%d tails are open already", maxTails),
			Hint: "close one, or make a subscription: it remembers how far it has come",
		}
	}
	t := &tail{control: c, filter: filter, events: make(chan *api.TailEvent)}
	return t.run(ctx, sources, starts, f)
}

// tail is one call of Tail.
type tail struct {
	control *control
	filter  api.TailFilter
	events  chan *api.TailEvent
}

// run hands over what the readers of the sources find. It returns nil when ctx ends.
func (t *tail) run(ctx context.Context, sources []*source, starts map[string]uint64, f func(*api.TailEvent) error) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, s := range sources {
		from := starts[s.name]
		if from == deliver.FromNow {
			next, _, _ := s.log.Tail()
			from = max(next, 1) - 1
		}
		g.Go(func() error { return t.read(gctx, s, from) })
	}
	g.Go(func() error { return t.deliver(gctx, f) })
	err := g.Wait()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

func (t *tail) deliver(ctx context.Context, f func(*api.TailEvent) error) error {
	beat := time.NewTimer(tailBeat)
	defer beat.Stop()
	for {
		var ev *api.TailEvent
		select {
		case <-ctx.Done():
			return ctx.Err()
		case ev = <-t.events:
		case <-beat.C:
		}
		if err := f(ev); err != nil {
			return err
		}
		beat.Reset(tailBeat)
	}
}

// read walks the log of a source after a seq.
func (t *tail) read(ctx context.Context, s *source, from uint64) error {
	r := s.log.NewReader(from + 1)
	for {
		e, err := r.Next(ctx)
		if x, ok := errors.AsType[*eventlog.ExpiredError](err); ok {
			return &api.Problem{
				Status: http.StatusGone, Code: "expired", Detail: fmt.Sprintf("the log of source %s begins at seq %d", s.name, x.First),
				Hint: "begin at earliest; a tail that is slower than retention loses its place",
			}
		}
		if err != nil {
			return err
		}
		blk, err := change.Parse(e.Block)
		if err != nil {
			return fmt.Errorf("read source %s: %w", s.name, err)
		}
		err = t.control.eachEvent(ctx, s, blk, func(ch *change.Change) bool { return ch.Seq > from }, func(ev *event.Event) error {
			return t.offer(ctx, s, ev)
		})
		if err != nil {
			return err
		}
	}
}

func (t *tail) offer(ctx context.Context, s *source, ev *event.Event) error {
	if !t.wants(ev) {
		return nil
	}
	body, err := translate.AppendJSON(nil, ev)
	if err != nil {
		return nil //nolint:nilerr // JSON cannot hold it; endpoints that want it have it parked, with the reason
	}
	select {
	case t.events <- &api.TailEvent{ID: ev.ID, Type: ev.Type, Source: s.name, Seq: ev.Seq, Payload: body}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wants applies the filter. Of a row that moves to another tenant, a tenant sees its own side and the operator the update.
func (t *tail) wants(ev *event.Event) bool {
	if ev.Err != nil || !sees(t.filter.Tenant, ev) {
		return false
	}
	if len(t.filter.Types) > 0 && !slices.ContainsFunc(t.filter.Types, func(p string) bool { return event.MatchType(p, ev.Type) }) {
		return false
	}
	return t.filter.Subject == "" || change.Glob(t.filter.Subject, ev.Subject)
}

// sees is the rule of tenants for events.
func sees(tenant string, ev *event.Event) bool {
	if tenant == "" {
		return ev.Move == event.MoveNone || ev.Move == event.MoveUpdate
	}
	return ev.Tenant == tenant && ev.Move != event.MoveUpdate
}

// starts returns the seq after which to begin in each source, FromNow for its end. location names the field for problems.
func (c *control) starts(ctx context.Context, from api.From, location string) (map[string]uint64, error) {
	given := 0
	for _, set := range []bool{from.Time != nil, from.Earliest, len(from.Seqs) > 0} {
		if set {
			given++
		}
	}
	if given > 1 {
		return nil, invalid(location, "is more than one of a time, earliest and seqs")
	}
	for name := range from.Seqs {
		if _, err := c.app.source(name); err != nil {
			return nil, invalid(location+"."+name, "is not the name of a source")
		}
	}
	out := map[string]uint64{}
	for _, s := range c.app.sources {
		var err error
		if out[s.name], err = c.start(ctx, s, from, location); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c *control) start(ctx context.Context, s *source, from api.From, location string) (uint64, error) {
	switch {
	case from.Time != nil:
		return seqAt(ctx, s, *from.Time)
	case from.Earliest:
		first, err := s.log.First(ctx)
		return max(first, 1) - 1, err
	}
	seq, ok := from.Seqs[s.name]
	if !ok {
		return deliver.FromNow, nil
	}
	first, err := s.log.First(ctx)
	if err != nil {
		return 0, err
	}
	next, _, _ := s.log.Tail()
	if least, most := max(first, 1)-1, max(next, 1)-1; seq < least || seq > most {
		p := invalid(location+"."+s.name, "is not between %d and %d, which the log has", least, most)
		p.Hint = "earliest is the oldest change that the log still has, now is its end"
		return 0, p
	}
	return seq, nil
}

// seqAt returns the seq after which the changes are that committed at a time or later.
func seqAt(ctx context.Context, s *source, at time.Time) (uint64, error) {
	next, _, _ := s.log.Tail()
	if next <= 1 {
		return 0, nil
	}
	seq, err := s.log.SeqAt(ctx, at)
	if err != nil {
		return 0, fmt.Errorf("find %s in the log of source %s: %w", at.UTC().Format(time.RFC3339), s.name, err)
	}
	return seq, nil
}
