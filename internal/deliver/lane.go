package deliver

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rowhook/rowhook/internal/event"
)

const (
	// maxWaiting is how many keys of a lane may wait for a retry before it stops being fed.
	maxWaiting = 1000
	// maxExceptionBytes bounds the payloads and notes of a lane's exceptions in memory.
	maxExceptionBytes = 16 << 20
	// behindBytes is what an event behind a waiting one costs in memory.
	behindBytes = 200
)

type laneState int

const (
	// halted lanes keep their place and get nothing; every lane begins so.
	halted laneState = iota
	// lagging lanes are fed by the catch-up reader.
	lagging
	// live lanes are fed by the live reader.
	live
	// ended lanes are backfills that were offered all there is, and wait for what is outstanding.
	ended
)

// lane is a queue of one endpoint's events of one source: those from the endpoint's place on, or those of a backfill. What it holds is
// guarded by its sender's mutex.
type lane struct {
	*sender
	// name of its progress.
	name string
	// backfill is the range whose past it serves; nil for the endpoint's own lane.
	backfill *Range
	state    laneState
	// cursor is the seq up to which events were offered, while the lane is not live.
	cursor uint64
	// accepted are the types accepted of seq acceptedSeq; a full queue may split a seq.
	acceptedSeq uint64
	accepted    []string
	before      doneBefore

	order    keyOrder
	tracker  tracker
	ready    fifo
	retries  fifo
	waiting  waitHeap
	bytes    int64
	excBytes int64
	inflight int
	excepted int // exceptions that it holds
	retrying int // of those in flight

	timer *time.Timer
	// probeEvery and probeAt are set while the lane probes.
	probeEvery time.Duration
	probeAt    time.Time

	changes laneChanges
	stored  bool // the store has a progress record
	dirty   bool
	dropped bool // a backfill that is done

	turn uint64 // when it was caught up last; belongs to the catch-up reader
}

// laneChanges is what the next checkpoint has to write.
type laneChanges struct {
	attempts   []Attempt
	exceptions map[EventRef]*Exception // nil: deleted
	settled    map[uint64]int          // by journal mark
	expired    []ExpiredRange
	state      *EndpointState
	ranges     []Range
}

// setState keeps the engine's list of lanes that lag.
func (l *lane) setState(state laneState) {
	if l.state == state {
		return
	}
	l.engine.laggards.note(l, l.state == lagging, state == lagging)
	if n := int64(0); l.backfill == nil {
		if l.state == lagging {
			n--
		}
		if state == lagging {
			n++
		}
		l.engine.stats.Lagging.Add(n)
	}
	l.state = state
}

// begin lets a halted lane be fed from its cursor on.
func (l *lane) begin() {
	if l.backfill != nil && l.cursor >= l.backfill.backfillEnd() {
		l.setState(ended)
	} else {
		l.setState(lagging)
	}
	l.startProbing()
	l.arm()
	l.markDirty()
}

// halt stops the lane where it is.
func (l *lane) halt() {
	if l.state == halted {
		return
	}
	l.cursor = l.offered()
	l.setState(halted)
	l.disarm()
	l.markDirty()
}

// rewind lets a halted lane with nothing in flight hold no more than after a restart: its floor, what is done above it, and its
// exceptions without their bodies. What was queued is read from the log again.
func (l *lane) rewind() {
	p := l.progress()
	exceptions := l.exceptions()
	for _, it := range l.tracker.items[l.tracker.head:] {
		l.refund(it)
	}
	for _, it := range exceptions {
		l.refund(it)
		it.body, it.next, it.prev = nil, [2]*item{}, [2]*item{}
	}
	l.cursor, l.before = p.Floor, newDoneBefore(p)
	l.acceptedSeq, l.accepted = 0, nil
	l.order, l.tracker, l.ready, l.retries, l.waiting = keyOrder{}, tracker{}, fifo{}, fifo{}, nil
	l.probeEvery, l.probeAt = 0, time.Time{}
	l.place(exceptions)
	l.markDirty()
}

// exceptions returns all exceptions of a lane that has nothing in flight.
func (l *lane) exceptions() []*item {
	seen := map[*item]bool{}
	note := func(it *item) {
		if it != nil && it.exception {
			seen[it] = true
		}
	}
	for _, it := range l.waiting {
		note(it)
	}
	for _, f := range []*fifo{&l.ready, &l.retries} {
		for _, it := range f.items[f.head:] {
			note(it)
		}
	}
	for key, f := range l.order {
		for it := f.head; it != nil; it = it.next[slotOfKey(it, key)] {
			note(it)
		}
	}
	return slices.Collect(maps.Keys(seen))
}

// place puts exceptions where they were: those that wait for their time, and those behind them.
func (l *lane) place(items []*item) {
	slices.SortFunc(items, func(a, b *item) int { return compareRefs(a.ref, b.ref) })
	l.excepted = len(items)
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
}

// finished reports whether a backfill has nothing left to do.
func (l *lane) finished() bool {
	return l.state == ended && l.inflight == 0 && l.excepted == 0 && l.tracker.len() == 0
}

// floor is the seq up to which every event is done or an exception.
func (l *lane) floor() uint64 { return l.tracker.floor(l.offered()) }

// passedUpTo returns a seq above which nothing was judged by the ranges that the lane has now. The last seq may have been taken in part.
func (l *lane) passedUpTo() uint64 { return max(l.offered(), l.before.last(), l.acceptedSeq) }

// offerLive hands an event of the live reader to the lane. A lane that cannot take it lags from here on.
func (l *lane) offerLive(ev *event.Event, body *body) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A lane that joined may have come further than the live reader was.
	if l.state != live || ev.Seq <= l.cursor || l.accept(ev, body) {
		return
	}
	l.lag(ev.Seq - 1)
}

// lag makes a live lane lag from the cursor on. From now on the slot's place is not the lane's, so its own must be written.
func (l *lane) lag(cursor uint64) {
	l.cursor = cursor
	l.setState(lagging)
	l.markDirty()
}

// accept takes an event in, or returns false if the lane is full. One that it has had already is taken without effect.
func (l *lane) accept(ev *event.Event, body *body) bool {
	if l.had(ev.Seq, ev.Type) {
		return true
	}
	if l.full() || l.state == halted {
		return false
	}
	it := &item{
		ref: EventRef{ev.Seq, ev.Type}, id: strings.Clone(ev.ID), commitMS: ev.Time / 1000,
		subject: strings.Clone(ev.Subject), tenant: strings.Clone(ev.Tenant),
		keys: orderKeys(ev.Key, ev.OtherKey, l.ep.Ordered),
	}
	l.markDirty()
	l.recall(ev.Seq)
	l.note(ev)
	if err := body.render(ev); err != nil {
		l.poison(it, err)
		return true
	}
	l.queue(it, body.bytes)
	return true
}

func (l *lane) had(seq uint64, typ string) bool {
	if l.acceptedSeq == seq && slices.Contains(l.accepted, typ) {
		return true
	}
	return l.before.contains(seq, typ)
}

// recall brings back what is done of a seq that another event follows of.
func (l *lane) recall(seq uint64) {
	if l.acceptedSeq != seq || l.tracker.len() > 0 {
		return
	}
	for _, typ := range l.accepted {
		l.tracker.add(&item{ref: EventRef{seq, typ}, done: true})
	}
}

func (l *lane) note(ev *event.Event) {
	if l.acceptedSeq != ev.Seq {
		l.acceptedSeq, l.accepted = ev.Seq, l.accepted[:0]
	}
	l.accepted = append(l.accepted, ev.Type)
}

// full reports whether the lane has reached one of its bounds.
func (l *lane) full() bool {
	b := &l.engine.bounds
	return l.bytes >= l.ep.QueueBytes || l.tracker.len() >= b.outstanding ||
		len(l.waiting) >= b.waiting || l.excBytes >= b.exceptionBytes ||
		(l.bytes+l.excBytes >= b.fairBytes && l.engine.opts.Budget.exhausted())
}

// hasRoom reports whether catching up is worth a slice: half of the queue is free.
func (l *lane) hasRoom() bool {
	return l.state == lagging && !l.full() && l.bytes <= l.ep.QueueBytes/2 && l.tracker.len() <= l.engine.bounds.outstanding/2
}

// queue takes an accepted event in: to be sent, or behind its key.
func (l *lane) queue(it *item, body []byte) {
	// What becomes an exception at once is tracked too: a restart must not take it from the log a second time.
	l.tracker.add(it)
	first := l.order.add(it)
	if it.stuck() {
		l.behind(it)
		l.tracker.trim()
		return
	}
	it.body = body
	l.account(it)
	if first {
		l.ready.push(it)
		l.schedule()
	}
}

// poison parks an event that could not be made: its expression or template failed. It stops nobody.
func (l *lane) poison(it *item, err error) {
	it.done = true
	l.tracker.add(it)
	l.tracker.trim()
	l.change(l.exception(it, Parked, poisonReason(err)))
	l.engine.stats.Parked.Add(1)
}

// poisonReason says why an event could not be made: a code, and words that hold no values of a row.
func poisonReason(err error) string {
	if x, ok := errors.AsType[*event.Error](err); ok {
		return x.Code + ": " + x.Message
	}
	return "not_exact: " + err.Error() // JSON cannot hold one of its values
}

// account charges the lane and the engine for what the event holds in memory now.
func (l *lane) account(it *item) {
	l.refund(it)
	it.cost, it.costAsException = int64(len(it.body)), it.exception
	if it.exception {
		it.cost += behindBytes
		l.excBytes += it.cost
	} else {
		l.bytes += it.cost
	}
	l.engine.queued.Add(it.cost)
	l.engine.opts.Budget.charge(it.cost)
}

// refund takes the charge back.
func (l *lane) refund(it *item) {
	if it.costAsException {
		l.excBytes -= it.cost
	} else {
		l.bytes -= it.cost
	}
	l.engine.queued.Add(-it.cost)
	l.engine.opts.Budget.refund(it.cost)
	it.cost = 0
}

// behind keeps an event of a waiting key as a seq.
func (l *lane) behind(it *item) {
	it.exception, it.done, it.body = true, true, nil
	l.excepted++
	l.account(it)
	l.change(l.exception(it, Behind, ""))
}

func (l *lane) exception(it *item, state ExceptionState, reason string) *Exception {
	x := &Exception{
		Source: l.engine.opts.Source, Endpoint: l.sender.name, Seq: it.ref.Seq, Type: it.ref.Type, EventID: it.id,
		State: state, Key: it.keys[0], OtherKey: it.keys[1], Attempts: it.attempts, CommitTimeMS: it.commitMS,
		Reason: reason, Payload: it.body, Subject: it.subject, Tenant: it.tenant,
	}
	if state == Waiting {
		x.NextAttemptMS = it.due.UnixMilli()
		it.stored = it.stored || len(it.body) > 0
	}
	return x
}

// change notes an exception to be written.
func (l *lane) change(x *Exception) { l.set(EventRef{x.Seq, x.Type}, x) }

// set notes an exception to be written, or deleted if x is nil.
func (l *lane) set(ref EventRef, x *Exception) {
	if l.changes.exceptions == nil {
		l.changes.exceptions = map[EventRef]*Exception{}
	}
	if _, ok := l.changes.exceptions[ref]; !ok {
		l.engine.unwritten.Add(1)
	}
	l.changes.exceptions[ref] = x
}

func (l *lane) markDirty() {
	if !l.dirty {
		l.dirty = true
		l.engine.markDirty(l)
	}
}

// fifo is a queue of items.
type fifo struct {
	items []*item
	head  int
}

func (f *fifo) push(it *item) { f.items = append(f.items, it) }

func (f *fifo) empty() bool { return f.head == len(f.items) }

func (f *fifo) len() int { return len(f.items) - f.head }

func (f *fifo) pop() *item {
	it := f.items[f.head]
	f.items[f.head] = nil
	f.head++
	if f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	} else if f.head > 1024 && f.head > len(f.items)/2 {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	return it
}
