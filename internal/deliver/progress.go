package deliver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	// quietWrite is how often a slot's place is written although none of its lanes had anything: what is read again after a
	// crash, not what is sent again.
	quietWrite = 5 * time.Second
	// maxUnwritten bounds the results that wait for a checkpoint; reading stops beyond it.
	maxUnwritten = 50_000
	// commitTimeout bounds one write to the store.
	commitTimeout = 30 * time.Second
	// slowCommit is when a write that takes long is treated like one that fails: sending stops until it is through.
	slowCommit = time.Second
)

// runCheckpoints writes progress every ProgressInterval while there is any.
func (e *Engine) runCheckpoints(ctx context.Context) error {
	t := time.NewTicker(e.opts.ProgressInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		case <-e.hurry:
		}
		if err := e.checkpoint(ctx, false); err != nil {
			return err
		}
	}
}

// checkpoint writes what has changed since the last one. While the store does not take it, nothing is sent: what is sent
// without being written is what a crash would repeat.
func (e *Engine) checkpoint(ctx context.Context, all bool) error {
	b, results := e.collect(all)
	if len(b.Slots) == 0 {
		e.written(results)
		return nil
	}
	e.unsaved = &unsaved{b, results}
	return e.write(ctx)
}

// unsaved is what was taken from the lanes: they do not have it any more, so it must be written before anything later is.
type unsaved struct {
	batch   Batch
	results results
}

// write writes the batch that was collected last, if it has not been.
func (e *Engine) write(ctx context.Context) error {
	if e.unsaved == nil {
		return nil
	}
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 50*time.Millisecond, 5*time.Second
	for {
		err := e.commit(ctx, e.unsaved.batch)
		if err == nil {
			e.gate.set(true)
			e.written(e.unsaved.results)
			e.unsaved = nil
			return nil
		}
		if errors.Is(err, ErrStale) {
			e.unsaved = nil // what was not refused is written
			return fmt.Errorf("write progress: %w", err)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("write progress: %w", errors.Join(ctx.Err(), err))
		}
		e.gate.set(false)
		e.opts.Log.Error("progress not written, sending stops until it is", "source", e.opts.Source, "err", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("write progress: %w", errors.Join(ctx.Err(), err))
		case <-time.After(wait.NextBackOff()):
		}
	}
}

func (e *Engine) commit(ctx context.Context, b Batch) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	closed := make(chan struct{})
	slow := time.AfterFunc(slowCommit, func() {
		defer close(closed)
		e.gate.set(false)
	})
	err := e.deps.Store.Commit(ctx, b)
	if !slow.Stop() {
		<-closed
	}
	return err
}

// collect gathers a batch and counts the results in it. The live reader's place is read first: every lane that accepted an event
// up to there has been marked by then, so the batch holds its floor, and a slot's place never runs ahead of a lane's.
func (e *Engine) collect(all bool) (Batch, results) {
	read := e.liveSeq.Load()
	e.dirtyMu.Lock()
	dirty := e.dirty
	e.dirty = nil
	e.collected++
	res := results{number: e.collected, settled: map[uint64]int{}}
	e.dirtyMu.Unlock()

	slots := map[int]*SlotWrite{}
	for _, l := range dirty {
		l.collect(read, e.slotWrite(slots, l.slot, read), &res)
	}
	now := time.Now()
	for slot, n := range e.senders.used() {
		if _, ok := slots[slot]; !ok && n > 0 && (all || now.Sub(e.wrote[slot]) >= quietWrite) {
			e.slotWrite(slots, slot, read)
		}
	}
	b := Batch{Source: e.opts.Source}
	for slot, w := range slots {
		e.wrote[slot] = now
		b.Slots = append(b.Slots, *w)
	}
	return b, res
}

// results are what a batch lets go of once it is written.
type results struct {
	number  uint64 // of the checkpoint
	n       int
	settled map[uint64]int // sends by journal mark
}

func (e *Engine) slotWrite(slots map[int]*SlotWrite, slot int, read uint64) *SlotWrite {
	w, ok := slots[slot]
	if !ok {
		w = &SlotWrite{Slot: slot, Epoch: e.epoch(slot), ReadSeq: read}
		slots[slot] = w
	}
	return w
}

// collect moves the lane's changes into w.
func (l *lane) collect(read uint64, w *SlotWrite, res *results) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dirty = false
	switch {
	case l.forgotten:
		if l == l.main {
			w.Forget = append(w.Forget, l.sender.name)
		}
		l.changes.forget(res)
	case l.dropped:
	case l.backfill != nil:
		l.collectBackfill(w)
	default:
		l.collectPlace(read, w)
	}
	l.changes.moveTo(w, l, res)
}

// collectPlace notes where the endpoint's own lane is, unless the slot's place says it.
func (l *lane) collectPlace(read uint64, w *SlotWrite) {
	p := l.progress()
	place := EndpointProgress{Source: l.engine.opts.Source, Endpoint: l.name, Progress: p}
	// An event accepted above the slot's place may be done: the slot's place does not say so, and it would come again.
	inStep := p.Floor >= read && l.acceptedSeq <= read && len(p.Done) == 0 && len(p.DoneEvents) == 0 && l.state != halted
	switch {
	case !inStep:
		w.Progress = append(w.Progress, place)
		l.stored = true
	case l.stored:
		place.Clear = true
		w.Progress = append(w.Progress, place)
		l.stored = false
	}
	// Without a record of its own the lane counts as being where the slot is, so the next write must look at it again. A record
	// that nothing outstanding needs must go: retention would pass its floor.
	idle := l.tracker.len() == 0 && l.state == live
	if l.stored == idle {
		l.markDirty()
	}
}

// collectBackfill notes where a backfill is. With the write that says that it is done its record goes: a later subscription may have
// its name.
func (l *lane) collectBackfill(w *SlotWrite) {
	place := EndpointProgress{Source: l.engine.opts.Source, Endpoint: l.name}
	if l.finished() {
		place.Clear, l.dropped = true, true
		w.Ranges = append(w.Ranges, l.dropBackfill(l))
	} else {
		place.Progress = l.progress()
	}
	w.Progress = append(w.Progress, place)
}

// forget lets go of all but the attempts.
func (c *laneChanges) forget(res *results) {
	res.n += len(c.exceptions)
	*c = laneChanges{attempts: c.attempts, settled: c.settled}
}

func (c *laneChanges) moveTo(w *SlotWrite, l *lane, res *results) {
	res.n += len(c.attempts) + len(c.exceptions)
	for mark, n := range c.settled {
		res.settled[mark] += n
	}
	w.Attempts = append(w.Attempts, c.attempts...)
	w.Expired = append(w.Expired, c.expired...)
	w.Ranges = append(w.Ranges, c.ranges...)
	if c.state != nil {
		w.States = append(w.States, *c.state)
	}
	for ref, x := range c.exceptions {
		if x != nil {
			w.Put = append(w.Put, *x)
		} else {
			w.Delete = append(w.Delete, ExceptionKey{Source: l.engine.opts.Source, Endpoint: l.sender.name, Seq: ref.Seq, Type: ref.Type})
		}
	}
	*c = laneChanges{}
}

// progress returns the lane's floor and what is done above it. The caller holds the mutex.
func (l *lane) progress() Progress {
	offered := l.offered()
	p := l.tracker.progress(offered)
	// The newest seq may have been offered in part: the types of it that are done must not come again.
	if l.acceptedSeq == offered+1 {
		for _, t := range l.accepted {
			if ref := (EventRef{l.acceptedSeq, t}); !l.tracker.holds(ref) {
				p.DoneEvents = append(p.DoneEvents, ref)
			}
		}
	}
	l.before.merge(&p)
	p.normalize()
	return p
}

// offered returns the seq up to which the lane was offered every event, also in the middle of a block.
func (l *lane) offered() uint64 {
	seq := max(l.cursor, max(l.acceptedSeq, 1)-1)
	if l.state == live {
		seq = max(seq, l.engine.liveSeq.Load())
	}
	return seq
}

// holds reports whether the event is outstanding.
func (t *tracker) holds(ref EventRef) bool {
	return slices.ContainsFunc(t.items[t.head:], func(it *item) bool { return !it.done && it.ref == ref })
}

// normalize sorts the ranges and joins those that touch.
func (p *Progress) normalize() {
	slices.SortFunc(p.Done, func(a, b SeqRange) int { return cmp.Compare(a.First, b.First) })
	out := p.Done[:0]
	for _, r := range p.Done {
		if n := len(out); n > 0 && r.First <= out[n-1].Last+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	p.Done = out
	slices.SortFunc(p.DoneEvents, compareRefs)
	p.DoneEvents = slices.Compact(p.DoneEvents)
}

func (e *Engine) markDirty(l *lane) {
	e.dirtyMu.Lock()
	defer e.dirtyMu.Unlock()
	e.dirty = append(e.dirty, l)
}

// pressure waits while too many results are unwritten.
func (e *Engine) pressure(ctx context.Context) error {
	for e.unwritten.Load() > maxUnwritten {
		e.dirtyMu.Lock()
		flushed := e.flushed
		e.dirtyMu.Unlock()
		if e.unwritten.Load() <= maxUnwritten {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-flushed:
		}
	}
	return nil
}

func (e *Engine) written(res results) {
	for mark, n := range res.settled {
		if err := e.deps.Journal.Settle(mark, n); err != nil {
			e.opts.Log.Warn("send journal not trimmed", "source", e.opts.Source, "err", err)
		}
	}
	e.dirtyMu.Lock()
	defer e.dirtyMu.Unlock()
	e.unwritten.Add(-int64(res.n))
	e.saved = res.number
	close(e.flushed)
	e.flushed = make(chan struct{})
}

// save waits until everything that was changed before the call is written.
func (e *Engine) save(ctx context.Context) error {
	e.dirtyMu.Lock()
	want := e.collected + 1
	e.dirtyMu.Unlock()
	select {
	case e.hurry <- struct{}{}:
	default:
	}
	for {
		e.dirtyMu.Lock()
		done, flushed := e.saved >= want, e.flushed
		e.dirtyMu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("write progress: %w", ctx.Err())
		case <-e.ended:
			return ErrEnded
		case <-flushed:
		}
	}
}
