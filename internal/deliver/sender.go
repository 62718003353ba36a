package deliver

import (
	"slices"
	"sync"
	"time"

	"github.com/rowhook/rowhook/internal/event"
)

// sender is what sends one source's events to one endpoint. Its lanes share its mutex, which is never held during a request, nor
// while another sender's is, its requests in flight, and whether anything is sent at all.
type sender struct {
	engine *Engine
	// name and tenant of the endpoint never change; the rest of its definition does.
	name, tenant string
	slot         int

	mu sync.Mutex
	ep *Endpoint
	// main is the endpoint's own lane; lanes are that one and the backfills.
	main  *lane
	lanes []*lane
	turn  int // of lanes, who is asked for work first
	// ranges of all versions of its subscriptions, in the order in which they were made. Each is replaced, never changed.
	ranges []*Range

	active, activeRetries int
	restUntil             time.Time // what Retry-After asked for
	// disabled by the endpoint's own answer, paused by somebody.
	disabled, paused bool
	reason           string
	since            time.Time
	// closed senders send nothing any more; forgotten ones leave nothing in the store.
	closed, forgotten bool
	idle              chan struct{} // closed once nothing is in flight; nil if nobody waits for that
}

func newSender(e *Engine, ep *Endpoint) *sender {
	s := &sender{engine: e, name: ep.Name, tenant: ep.Tenant, slot: SlotOf(ep.Name), ep: ep}
	s.main = &lane{sender: s, name: ep.Name, order: keyOrder{}}
	s.lanes = []*lane{s.main}
	return s
}

// concerns reports whether events of this tenant are the endpoint's. An event that failed may not know its tenant: it is never sent,
// only parked wherever it might have gone.
func (s *sender) concerns(ev *event.Event) bool {
	switch ev.Move {
	case event.MoveUpdate:
		return s.tenant == ""
	case event.MoveOut, event.MoveIn: // these know their tenant always
		return s.tenant != "" && s.tenant == ev.Tenant
	default:
		return ev.Err != nil || s.tenant == "" || s.tenant == ev.Tenant
	}
}

// halted reports whether nothing is sent until somebody resumes it.
func (s *sender) halted() bool { return s.disabled || s.paused }

// definition returns the endpoint as a send that begins now has to take it; false if none may begin.
func (s *sender) definition() (*Endpoint, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ep, !s.halted() && !s.closed
}

// schedule starts workers for what may be sent. The caller holds the mutex.
func (s *sender) schedule() {
	for s.active < s.ep.Concurrency {
		l, it := s.take()
		if it == nil {
			return
		}
		s.active++
		s.engine.workers.Go(func() { s.work(l, it) })
	}
}

// take returns the next event to send and its lane, or nil. The lanes take turns. The caller holds the mutex.
func (s *sender) take() (*lane, *item) {
	if s.closed || s.halted() || s.engine.stopping.Load() || s.resting() {
		return nil, nil
	}
	for i := range s.lanes {
		n := (s.turn + i) % len(s.lanes)
		if it := s.lanes[n].take(); it != nil {
			s.turn = (n + 1) % len(s.lanes)
			return s.lanes[n], it
		}
	}
	return nil, nil
}

// resting reports whether the endpoint has asked for a rest that is not over.
func (s *sender) resting() bool {
	if s.restUntil.IsZero() {
		return false
	}
	if time.Now().Before(s.restUntil) {
		return true
	}
	s.restUntil = time.Time{}
	return false
}

// work sends one event after another until there is none.
func (s *sender) work(l *lane, it *item) {
	for it != nil {
		res := s.engine.attempt(l, it)
		l, it = l.finish(it, res)
	}
}

// next is what a worker does after an attempt. The caller holds the mutex.
func (s *sender) next() (*lane, *item) {
	var l *lane
	var it *item
	// A new definition may allow fewer requests at once.
	if s.active <= s.ep.Concurrency {
		l, it = s.take()
	}
	if it == nil {
		s.active--
		if s.active == 0 {
			s.quiet()
		}
		for _, l := range s.lanes {
			l.arm()
		}
	}
	// An event that held two keys lets two go.
	s.schedule()
	return l, it
}

// quiet is called when the last request in flight has ended.
func (s *sender) quiet() {
	for _, l := range s.lanes {
		if l.state == halted {
			l.rewind()
		}
	}
	if s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// halt stops the sends; everything keeps its place. The caller has set why.
func (s *sender) halt() {
	for _, l := range s.lanes {
		l.halt()
	}
	if s.active == 0 {
		s.quiet()
	}
}

// disable stops the endpoint because of what it answered.
func (s *sender) disable(reason string) {
	if s.disabled {
		return
	}
	s.disabled, s.reason, s.since = true, reason, time.Now()
	s.noteState()
	s.halt()
	s.engine.opts.Log.Warn("endpoint disabled", "endpoint", s.name, "reason", reason)
}

// noteState lets the next checkpoint write whether the endpoint is sent to.
func (s *sender) noteState() {
	s.main.changes.state = &EndpointState{Endpoint: s.name, Disabled: s.disabled, Paused: s.paused, Reason: s.reason, At: s.since}
	s.main.markDirty()
}

// resume lets everything go on from its place.
func (s *sender) resume() {
	s.disabled, s.paused, s.reason, s.since = false, false, "", time.Now()
	s.restUntil = time.Time{}
	s.noteState()
	for _, l := range s.lanes {
		if l.state == halted {
			l.begin()
			l.wakeWaiting()
		}
	}
	s.schedule()
	s.engine.wakeCatchup()
}

// close stops the sends for good; workers in flight end by themselves.
func (s *sender) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, l := range s.lanes {
		l.disarm()
	}
}

// addBackfill makes the lane for the past of a range. The caller holds the mutex or is the only one to know the sender.
func (s *sender) addBackfill(r *Range) *lane {
	l := &lane{sender: s, name: r.LaneName(), backfill: r, cursor: r.From, order: keyOrder{}}
	s.lanes = append(s.lanes, l)
	return l
}

// dropBackfill lets go of a backfill that is done and returns its range as it has to be stored.
func (s *sender) dropBackfill(l *lane) Range {
	l.setState(ended)
	l.disarm()
	s.lanes = slices.DeleteFunc(s.lanes, func(o *lane) bool { return o == l })
	s.turn = 0
	done := *l.backfill
	for i, r := range s.ranges {
		if r.same(l.backfill) {
			done = *r // it may have been ended meanwhile
			done.Backfilled = true
			s.ranges[i] = &done
		}
	}
	s.reroute()
	return done
}

// reroute makes the routes anew after the ranges have changed.
func (s *sender) reroute() { s.engine.routes.replace(s, s.routes()) }

func (s *sender) routes() []*route {
	var out []*route
	floor := s.main.floor()
	for i, r := range s.ranges {
		// What the endpoint has passed needs no route; only a backfill may ask what it covered.
		if r.To == 0 || r.To > floor {
			out = append(out, &route{lane: s.main, r: r, from: r.LiveFrom, to: r.To})
		}
		for _, l := range s.lanes {
			if l.backfill != nil && l.backfill.same(r) {
				earlier := slices.Clone(s.ranges[:i])
				out = append(out, &route{lane: l, r: r, from: r.From, to: r.backfillEnd(), earlier: earlier})
			}
		}
	}
	return out
}

// owner returns the lane that an exception belongs to. It asks the ranges what the routes asked when the event was taken in, so that
// it finds the same lane after a restart.
func (s *sender) owner(ref EventRef, subject string) *lane {
	ev := event.Event{Seq: ref.Seq, Type: ref.Type, Subject: subject}
	for _, r := range s.ranges {
		if !r.Covers(ref.Seq) || !r.names(ref.Type) || !r.about(&ev) {
			continue
		}
		if ref.Seq > r.LiveFrom {
			return s.main
		}
		for _, l := range s.lanes {
			if l.backfill != nil && l.backfill.same(r) {
				return l
			}
		}
		return s.main // its backfill is done
	}
	return s.main
}
