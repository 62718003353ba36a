package app

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/internal/eventlog"
	"github.com/rowhook/rowhook/internal/translate"
)

const (
	// searchTime and searchBlocks bound how long and how far an event is looked for in the log when nothing was sent of it: about a
	// GiB of changes.
	searchTime   = 10 * time.Second
	searchBlocks = 1024
	// searchAfter is how much later than the event the changes may be at which the search ends. Commit times of one log may go back a
	// little where the server's clock was set.
	searchAfter = 2 * time.Second
	// maxSearches bounds the searches at once; others wait for their turn.
	maxSearches = 2
	// historyPage is how many attempts of an event are returned with it.
	historyPage = 200
)

// known is what there is about an event.
type known struct {
	api.Event
	who api.Caller
	// read is set when the event was made from the log again, and mine then says whether it is one that the caller's tenant sees.
	read, mine bool
}

// Event finds an event by what was sent of it, or by the commit time in its id.
func (c *control) Event(ctx context.Context, who api.Caller, id string) (api.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	k, err := c.event(ctx, who, id)
	if err != nil {
		return api.Event{}, err
	}
	return k.Event, nil
}

func (c *control) event(ctx context.Context, who api.Caller, id string) (known, error) {
	ms, ordinal, err := event.ParseID(id)
	if err != nil {
		return known{}, notFound("event")
	}
	k := known{Event: api.Event{ID: id}, who: who}
	sent, err := c.history(ctx, who, &k)
	if err != nil {
		return known{}, err
	}
	switch {
	case k.Source != "" && k.Seq == 0: // a test, of which nothing is in the log
	case k.Source != "":
		err = c.readEvent(ctx, &k)
	default:
		err = c.searchEvent(ctx, &k, ms, ordinal)
	}
	if err != nil {
		return known{}, err
	}
	// What the log does not tell any more, or what cannot be made, is theirs who have an endpoint that it was for.
	visible := who.Tenant == "" || k.read && k.mine || !k.read && sent
	if k.Source == "" || !visible {
		return known{}, notFound("event")
	}
	return k, nil
}

// history adds what was sent of an event to endpoints that the caller may see, and where it stands if anything was sent to anybody.
// sent says that there is such an endpoint.
func (c *control) history(ctx context.Context, who api.Caller, k *known) (sent bool, err error) {
	attempts, _, err := c.app.store.EventAttempts(ctx, k.ID, 0, historyPage)
	if err != nil {
		return false, err
	}
	exceptions, err := c.app.store.ExceptionsOfEvent(ctx, k.ID)
	if err != nil {
		return false, err
	}
	v := c.visible(who)
	k.Attempts, k.Exceptions = []api.Attempt{}, []api.Exception{}
	for i := range attempts {
		a := &attempts[i]
		k.Source, k.Seq, k.Type = a.Source, a.Seq, a.Type
		ok, err := v.endpoint(ctx, a.Endpoint)
		if err != nil {
			return false, err
		}
		if ok {
			k.Attempts = append(k.Attempts, attemptView(a))
		}
	}
	for i := range exceptions {
		x := &exceptions[i]
		k.Source, k.Seq, k.Type, k.Tenant, k.Subject = x.Source, x.Seq, x.Type, x.Tenant, x.Subject
		ok, err := v.endpoint(ctx, x.Endpoint)
		if err != nil {
			return false, err
		}
		if ok {
			k.Exceptions = append(k.Exceptions, exceptionView(x))
		}
	}
	return len(k.Attempts)+len(k.Exceptions) > 0, nil
}

// visible remembers which endpoints a caller may see.
type visible struct {
	control *control
	who     api.Caller
	known   map[string]bool
}

func (c *control) visible(who api.Caller) *visible {
	return &visible{control: c, who: who, known: map[string]bool{}}
}

// endpoint reports whether the caller may see it. Of one that is gone only the operator may.
func (v *visible) endpoint(ctx context.Context, id string) (bool, error) {
	if v.who.Tenant == "" {
		return true, nil
	}
	if ok, found := v.known[id]; found {
		return ok, nil
	}
	_, err := v.control.find(ctx, v.who, id)
	if err != nil && !isNotFound(err) {
		return false, err
	}
	v.known[id] = err == nil
	return err == nil, nil
}

// readEvent makes the event from the log again, or takes what waits of it.
func (c *control) readEvent(ctx context.Context, k *known) error {
	s, err := c.app.source(k.Source)
	if isNotFound(err) {
		k.Expired = true // its source is not followed any more
		return nil
	}
	if err != nil {
		return err
	}
	err = c.scan(ctx, s, k.Seq, func(blk *change.Block) (bool, error) {
		return blk.NextSeq() > k.Seq, c.eachEvent(ctx, s, blk, func(ch *change.Change) bool { return ch.Seq == k.Seq }, k.take)
	})
	if _, ok := errors.AsType[*eventlog.ExpiredError](err); ok {
		k.Expired = true
		return c.storedPayload(ctx, k)
	}
	return err
}

// storedPayload takes the body that the store keeps for a retry.
func (c *control) storedPayload(ctx context.Context, k *known) error {
	for _, x := range k.Exceptions {
		e, ok, err := c.app.store.Exception(ctx, deliver.ExceptionKey{Source: x.Source, Endpoint: x.Endpoint, Seq: x.Seq, Type: x.Type})
		if err != nil {
			return err
		}
		if ok && len(e.Payload) > 0 {
			k.Payload = api.RawJSON(e.Payload)
			return nil
		}
	}
	return nil
}

// take keeps the event if it is the one that is looked for.
func (k *known) take(ev *event.Event) error {
	if ev.ID != k.ID {
		return nil
	}
	k.Source, k.Seq, k.Type, k.Subject, k.Tenant = ev.Source.Name, ev.Seq, ev.Type, ev.Subject, ev.Tenant
	k.read = ev.Err == nil
	k.mine = k.read && sees(k.who.Tenant, ev)
	if !k.read {
		return nil // it cannot be made; its exceptions say why
	}
	body, err := translate.AppendJSON(nil, ev)
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	k.Payload = body
	return nil
}

// searchEvent looks for an event of which nothing was sent, around its commit time.
func (c *control) searchEvent(ctx context.Context, k *known, ms int64, ordinal uint32) error {
	select {
	case c.searches <- struct{}{}:
		defer func() { <-c.searches }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, s := range c.app.sources {
		from, err := seqAt(ctx, s, time.UnixMilli(ms))
		if err != nil {
			return err
		}
		blocks := 0
		err = c.scan(ctx, s, from+1, func(blk *change.Block) (bool, error) {
			blocks++
			late := false
			err := c.eachEvent(ctx, s, blk, func(ch *change.Change) bool {
				late = late || ch.Tx.CommitTime > (ms+searchAfter.Milliseconds())*1000
				return ch.Tx.CommitTime/1000 == ms && uint32(ch.TableOrdinal) == ordinal
			}, k.take)
			return k.Source != "" || late || blocks >= searchBlocks, err
		})
		if _, ok := errors.AsType[*eventlog.ExpiredError](err); ok {
			continue // then this source does not have it any more
		}
		if err != nil || k.Source != "" {
			return err
		}
	}
	return nil
}

// scan calls f with the blocks of a source from a seq on, until f says that it is enough or the log ends. It does not wait for what
// is not there yet.
func (c *control) scan(ctx context.Context, s *source, from uint64, f func(*change.Block) (bool, error)) error {
	next, _, _ := s.log.Tail()
	r := s.log.NewReader(max(from, 1))
	for at := max(from, 1); at < next; {
		e, err := r.Next(ctx)
		if err != nil {
			return err
		}
		blk, err := change.Parse(e.Block)
		if err != nil {
			return fmt.Errorf("read source %s at seq %d: %w", s.name, at, err)
		}
		if enough, err := f(blk); err != nil || enough {
			return err
		}
		at = blk.NextSeq()
	}
	return nil
}

// eachEvent calls f with the events of a block's changes that want says yes to, as the types made them that the block names.
func (c *control) eachEvent(ctx context.Context, s *source, blk *change.Block, want func(*change.Change) bool, f func(*event.Event) error) error {
	var m *event.Matcher
	return blk.Each(func(ch *change.Change) error {
		if !want(ch) {
			return nil
		}
		if m == nil {
			set, err := c.app.types.Types(ctx, blk.TypesVersion)
			if err != nil {
				return fmt.Errorf("find version %d of the event types: %w", blk.TypesVersion, err)
			}
			m = set.NewMatcher()
		}
		return m.Each(s.name, uint64(s.cfg.Generation), ch, f)
	})
}

// EventAttempts is a page of what was sent of an event to endpoints that the caller may see. A page may have fewer items than asked
// for, because others are left out of it.
func (c *control) EventAttempts(ctx context.Context, who api.Caller, id string, p api.Page) ([]api.Attempt, string, error) {
	after, err := attemptCursor(p.After)
	if err != nil {
		return nil, "", err
	}
	if _, err := c.Event(ctx, who, id); err != nil {
		return nil, "", err
	}
	page, next, err := c.app.store.EventAttempts(ctx, id, after, pageSize(p))
	if err != nil {
		return nil, "", err
	}
	v := c.visible(who)
	out := []api.Attempt{}
	for i := range page {
		ok, err := v.endpoint(ctx, page[i].Endpoint)
		if err != nil {
			return nil, "", err
		}
		if ok {
			out = append(out, attemptView(&page[i]))
		}
	}
	return out, cursorText(next), nil
}

// EndpointAttempts is a page of what was sent to an endpoint.
func (c *control) EndpointAttempts(ctx context.Context, who api.Caller, id string, p api.Page) ([]api.Attempt, string, error) {
	before, err := attemptCursor(p.After)
	if err != nil {
		return nil, "", err
	}
	if _, err := c.find(ctx, who, id); err != nil {
		return nil, "", err
	}
	page, next, err := c.app.store.EndpointAttempts(ctx, id, before, pageSize(p))
	if err != nil {
		return nil, "", err
	}
	out := make([]api.Attempt, len(page))
	for i := range page {
		out[i] = attemptView(&page[i])
	}
	return out, cursorText(next), nil
}

// EndpointExceptions is a page of what waits for an endpoint or is parked.
func (c *control) EndpointExceptions(ctx context.Context, who api.Caller, id, state string, p api.Page) ([]api.Exception, string, error) {
	after, err := exceptionCursor(p.After)
	if err != nil {
		return nil, "", err
	}
	var only deliver.ExceptionState
	if state != "" {
		if only = exceptionState(state); only == 0 {
			return nil, "", invalid("query.state", "is none of waiting, behind and parked")
		}
	}
	if _, err := c.find(ctx, who, id); err != nil {
		return nil, "", err
	}
	limit := pageSize(p)
	page, err := c.app.store.EndpointExceptions(ctx, id, only, after, limit+1)
	if err != nil {
		return nil, "", err
	}
	next := ""
	if len(page) > limit {
		page = page[:limit]
		last := &page[limit-1]
		next = last.Source + "/" + strconv.FormatUint(last.Seq, 10) + "/" + last.Type
	}
	out := make([]api.Exception, len(page))
	for i := range page {
		out[i] = exceptionView(&page[i])
	}
	return out, next, nil
}

func exceptionState(word string) deliver.ExceptionState {
	for _, s := range []deliver.ExceptionState{deliver.Waiting, deliver.Behind, deliver.Parked} {
		if s.String() == word {
			return s
		}
	}
	return 0
}

func attemptCursor(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, badCursor()
	}
	return n, nil
}

func cursorText(next int64) string {
	if next == 0 {
		return ""
	}
	return strconv.FormatInt(next, 10)
}

func exceptionCursor(text string) (deliver.ExceptionKey, error) {
	if text == "" {
		return deliver.ExceptionKey{}, nil
	}
	parts := bytes.SplitN([]byte(text), []byte("/"), 3)
	if len(parts) != 3 {
		return deliver.ExceptionKey{}, badCursor()
	}
	seq, err := strconv.ParseUint(string(parts[1]), 10, 63)
	if err != nil {
		return deliver.ExceptionKey{}, badCursor()
	}
	return deliver.ExceptionKey{Source: string(parts[0]), Seq: seq, Type: string(parts[2])}, nil
}

func badCursor() *api.Problem {
	p := invalid("query.cursor", "is not a cursor of this list")
	p.Hint = "leave it out for the first page, or take next_cursor of the page before"
	return p
}

func attemptView(a *deliver.Attempt) api.Attempt {
	out := api.Attempt{
		EventID: a.EventID, Endpoint: a.Endpoint, Source: a.Source, Seq: a.Seq, Type: a.Type, Attempt: a.Attempt, Epoch: a.Epoch,
		StartedAt: time.UnixMicro(a.StartedUS).UTC(), DurationMS: float64(a.DurationUS) / 1000,
		Status: a.Status, Outcome: a.Outcome, Cause: a.Cause, Error: a.Error,
	}
	if a.BodySHA256 != [32]byte{} {
		out.BodySHA256 = hex.EncodeToString(a.BodySHA256[:])
	}
	return out
}

func exceptionView(e *deliver.Exception) api.Exception {
	out := api.Exception{
		EventID: e.EventID, Endpoint: e.Endpoint, Source: e.Source, Seq: e.Seq, Type: e.Type, State: e.State.String(),
		Attempts: e.Attempts, CommittedAt: time.UnixMilli(e.CommitTimeMS).UTC(), Reason: e.Reason,
	}
	if e.NextAttemptMS > 0 {
		at := time.UnixMilli(e.NextAttemptMS).UTC()
		out.NextAttempt = &at
	}
	return out
}
