package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// retryShare is the part of an endpoint's requests in flight that retries may take; the rest is kept for first attempts.
func retryShare(concurrency int) int { return max(1, concurrency/4) }

// take returns the lane's next event to send, or nil. The caller holds the mutex.
func (l *lane) take() *item {
	it := l.pop()
	if it != nil {
		l.inflight++
	}
	return it
}

func (l *lane) pop() *item {
	if !l.retries.empty() && l.activeRetries < retryShare(l.ep.Concurrency) {
		it := l.retries.pop()
		it.retry = true
		l.activeRetries++
		l.retrying++
		return it
	}
	if l.ready.empty() {
		return nil
	}
	return l.ready.pop()
}

// finish records what came of an attempt and returns what this worker sends next.
func (l *lane) finish(it *item, res result) (*lane, *item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wasRetry := it.retry
	if it.retry {
		it.retry = false
		l.activeRetries--
		l.retrying--
	}
	l.inflight--
	l.markDirty()
	l.record(res)
	switch res.verdict {
	case delivered:
		l.succeed(it)
		l.answers()
	case dropped:
		l.succeed(it)
	case failed:
		l.fail(it, res)
	case gone:
		l.fail(it, res)
		l.disable("gone")
	case poisoned:
		l.park(it, res.reason)
	case aborted:
		// The process ends, and the event is sent again after the next start with the same id; or nothing may be sent for now.
		if wasRetry {
			l.retries.push(it)
		} else {
			l.ready.push(it)
		}
	}
	nextLane, next := l.next()
	l.feed()
	return nextLane, next
}

// record keeps an attempt for the next checkpoint.
func (l *lane) record(res result) {
	if res.attempt == nil {
		return
	}
	l.changes.attempts = append(l.changes.attempts, *res.attempt)
	l.engine.unwritten.Add(1)
	if res.mark == 0 {
		return
	}
	if l.changes.settled == nil {
		l.changes.settled = map[uint64]int{}
	}
	l.changes.settled[res.mark]++
}

// feed asks the catch-up reader for more, once there is room again.
func (l *lane) feed() {
	if l.hasRoom() {
		l.engine.wakeCatchup()
	}
}

// succeed lets go of an event, and of the next one of its key.
func (l *lane) succeed(it *item) {
	l.release(it)
	if it.exception {
		l.set(it.ref, nil)
	}
}

// answers notes a 2xx: an endpoint that answers again is asked for all that waits, instead of at the end of each event's schedule.
func (s *sender) answers() {
	for _, l := range s.lanes {
		if l.probeEvery > 0 {
			l.probeEvery, l.probeAt = 0, time.Time{}
			l.wakeWaiting()
		}
	}
}

// release takes an event that is delivered or parked out of its keys' way.
func (l *lane) release(it *item) {
	l.refund(it)
	if it.exception {
		l.excepted--
	}
	it.done, it.body = true, nil
	next := it.next
	for _, n := range l.order.remove(it) {
		l.ready.push(n)
	}
	for _, n := range next {
		l.settle(n)
	}
	l.tracker.trim()
}

// settle makes an event that stands behind nothing but exceptions one of them, and those behind it that it held up last.
func (l *lane) settle(it *item) {
	for todo := []*item{it}; len(todo) > 0; {
		it, todo = todo[len(todo)-1], todo[:len(todo)-1]
		if it == nil || it.exception || !it.stuck() {
			continue
		}
		l.behind(it)
		todo = append(todo, it.next[:]...)
	}
}

// fail keeps an event for another try, or parks it at the end of the schedule.
func (l *lane) fail(it *item, res result) {
	if !res.spare {
		if !it.probe {
			it.attempts++
		}
		it.probe = false
	}
	if !res.spare && int(it.attempts) > len(l.engine.opts.Schedule) {
		l.park(it, res.reason)
		return
	}
	it.due = time.Now().Add(max(l.engine.delay(it.attempts), res.retryAfter))
	if res.spare {
		it.due = time.Now().Add(spareDelay)
	}
	if until := time.Now().Add(res.retryAfter); res.retryAfter > 0 && until.After(l.restUntil) {
		l.restUntil = until
	}
	l.except(it)
	l.account(it)
	// A body that is in the store alone must not be written over with nothing.
	if it.body != nil || !it.stored {
		l.change(l.exception(it, Waiting, res.reason))
	}
	l.waiting.push(it)
	l.startProbing()
	l.arm()
}

// spareDelay is the pause after a failure that was not the endpoint's: the log or the store did not answer.
const spareDelay = time.Second

// except turns an event that was outstanding into an exception, and those behind its keys with it, so that the floor can go on.
func (l *lane) except(it *item) {
	if it.exception {
		return
	}
	it.exception, it.done = true, true
	l.excepted++
	for _, n := range it.next {
		l.settle(n)
	}
	l.tracker.trim()
}

// park gives an event up until somebody releases it, and frees its key.
func (l *lane) park(it *item, reason string) {
	x := l.exception(it, Parked, reason)
	l.release(it)
	l.change(x)
	l.engine.stats.Parked.Add(1)
}

// arm sets the timer for the next thing that waits. The caller holds the mutex.
func (l *lane) arm() {
	if l.closed || l.state == halted {
		return
	}
	due, ok := l.nextDue()
	if !ok {
		return
	}
	wait := max(0, time.Until(due))
	if l.timer == nil {
		l.timer = time.AfterFunc(wait, l.fire)
		return
	}
	l.timer.Reset(wait)
}

func (l *lane) disarm() {
	if l.timer != nil {
		l.timer.Stop()
	}
}

func (l *lane) nextDue() (time.Time, bool) {
	var due time.Time
	if len(l.waiting) > 0 {
		due = l.waiting[0].due
		if !l.probeAt.IsZero() && l.probeAt.Before(due) {
			due = l.probeAt
		}
	}
	// Nothing is sent before a rest ends, and what is ready by then waits for nothing else.
	if !l.restUntil.IsZero() && (due.Before(l.restUntil) || !l.ready.empty() || !l.retries.empty()) {
		due = l.restUntil
	}
	return due, !due.IsZero()
}

// fire moves what is due to the workers.
func (l *lane) fire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.state == halted {
		return
	}
	now := time.Now()
	if !l.probeAt.IsZero() && !l.probeAt.After(now) && len(l.waiting) > 0 {
		it := l.waiting.pop()
		it.probe = it.due.After(now)
		l.retries.push(it)
		l.probeEvery = min(2*l.probeEvery, lastProbe)
		l.probeAt = now.Add(l.probeEvery)
	}
	for len(l.waiting) > 0 && !l.waiting[0].due.After(now) {
		l.retries.push(l.waiting.pop())
	}
	l.schedule()
	l.arm()
}

// Probing: a lane that is not fed any more because too much of it waits tries its next event again at these intervals, however
// far off the schedule is; otherwise an endpoint that is back would go unnoticed for hours.
const (
	firstProbe = 5 * time.Second
	lastProbe  = time.Minute
)

// startProbing begins probing once the lane is not fed any more; it ends with the first answer of 2xx.
func (l *lane) startProbing() {
	if l.probeEvery == 0 && (len(l.waiting) >= l.engine.bounds.waiting || l.excBytes >= l.engine.bounds.exceptionBytes) {
		l.probeEvery = firstProbe
		l.probeAt = time.Now().Add(firstProbe)
	}
}

// wakeWaiting makes everything that waits due within a second.
func (l *lane) wakeWaiting() {
	now := time.Now()
	for _, it := range l.waiting {
		if d := now.Add(l.engine.jitter(time.Second)); d.Before(it.due) {
			it.due = d
		}
	}
	l.waiting.init()
	l.arm()
}

// waitHeap orders waiting events by when they are due.
type waitHeap []*item

func (h *waitHeap) push(it *item) {
	*h = append(*h, it)
	h.up(len(*h) - 1)
}

func (h *waitHeap) pop() *item {
	old := *h
	it := old[0]
	n := len(old) - 1
	old[0], old[n] = old[n], nil
	*h = old[:n]
	h.down(0)
	return it
}

func (h waitHeap) init() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

func (h waitHeap) up(i int) {
	for i > 0 {
		p := (i - 1) / 2
		if !h[i].due.Before(h[p].due) {
			return
		}
		h[i], h[p] = h[p], h[i]
		i = p
	}
}

func (h waitHeap) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c+1].due.Before(h[c].due) {
			c++
		}
		if !h[c].due.Before(h[i].due) {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}

// load makes the body of an event that waited without one: behind another, or while nothing was sent. It is in the store, or else made
// from the log again.
func (e *Engine) load(ctx context.Context, l *lane, it *item) (result, bool) {
	err := e.stored(ctx, l, it)
	if err == nil && it.body == nil {
		err = e.render(ctx, it)
	}
	switch {
	case err == nil:
		return result{}, true
	case errors.Is(err, errNoEvent):
		return result{verdict: dropped, attempt: l.attemptRecord(it, time.Now(), outcome{code: "type_changed"}, 0)}, false
	case isExpired(err):
		l.mu.Lock()
		l.changes.expired = append(l.changes.expired, ExpiredRange{Source: e.opts.Source, Endpoint: l.sender.name, SeqRange: SeqRange{it.ref.Seq, it.ref.Seq}})
		l.mu.Unlock()
		return result{verdict: dropped, attempt: l.attemptRecord(it, time.Now(), outcome{code: "expired"}, 0)}, false
	case errors.Is(err, errPoison):
		return result{verdict: poisoned, reason: poisonReason(err)}, false
	case e.sendCtx.Err() != nil:
		return result{verdict: aborted}, false
	default:
		e.opts.Log.Warn("event not read back", "source", e.opts.Source, "endpoint", l.sender.name, "seq", it.ref.Seq, "err", err)
		return result{verdict: failed, spare: true, reason: "log"}, false
	}
}

// stored takes the body from the store, if it is there.
func (e *Engine) stored(ctx context.Context, l *lane, it *item) error {
	if !it.stored {
		return nil
	}
	x, ok, err := e.deps.Loader.Exception(ctx, ExceptionKey{Source: e.opts.Source, Endpoint: l.sender.name, Seq: it.ref.Seq, Type: it.ref.Type})
	if err != nil {
		return fmt.Errorf("load the body of seq %d: %w", it.ref.Seq, err)
	}
	if ok && len(x.Payload) > 0 {
		it.body = x.Payload
	}
	return nil
}
