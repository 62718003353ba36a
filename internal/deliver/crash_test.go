package deliver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/change/changetest"
)

// TestEngineSurvivesKills kills engines at random moments over random loads, receivers and stores that fail, and looks after
// every single write whether what a restart would find there loses nothing and repeats nothing that was recorded.
func TestEngineSurvivesKills(t *testing.T) {
	t.Parallel()
	survive(t, 4*time.Second)
}

func TestSoakEngineSurvivesKills(t *testing.T) {
	t.Parallel()
	if os.Getenv("ROWHOOK_SOAK") == "" {
		return // `make soak` sets it
	}
	survive(t, 10*time.Minute)
}

func survive(t *testing.T, d time.Duration) {
	end := time.Now().Add(d)
	for round := 0; time.Now().Before(end) && !t.Failed(); round++ {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newStorm(t, seed).run() })
		})
	}
}

func TestEngineSurvivesKillsOfSeed(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2, 3} {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newStorm(t, seed).run() })
		})
	}
}

// storm is one run of the property.
type storm struct {
	*world
	mu      sync.Mutex
	rng     *rand.Rand
	healthy bool
	// refused counts how often an event was turned away at an endpoint, so that none is parked by chance.
	refused map[string]int
	// recorded are the events with a 2xx in the store, by endpoint.
	recorded map[string]map[EventRef]bool
	seen     int // attempts looked at
	floors   map[string]uint64
	open     map[string][]sent // what audit has to look at
	known    map[string]int
	broken   int // commits to fail
	planned  []Range
	ordering bool // orders are given too
}

func newStorm(t testing.TB, seed uint64) *storm {
	s := &storm{rng: rand.New(rand.NewPCG(seed, 0)), refused: map[string]int{}, recorded: map[string]map[EventRef]bool{},
		floors: map[string]uint64{}, open: map[string][]sent{}, known: map[string]int{}}
	s.world = newWorld(t)
	for _, name := range []string{"steady", "flaky", "tiny", "slow", "gone", "loose"} {
		c := EndpointConfig{Name: name, Ordered: name != "loose", Concurrency: 1 + s.rng.IntN(4), Timeout: 2 * time.Second}
		if name == "tiny" || s.rng.IntN(3) == 0 {
			c.QueueBytes = int64(1 + s.rng.IntN(2000))
		}
		r := s.endpoint(c)
		r.answer = func(req *http.Request, ref EventRef) (*http.Response, error) { return s.answer(r, req, ref) }
		s.recorded[name] = map[EventRef]bool{}
	}
	s.opts.Schedule = []time.Duration{time.Second, 5 * time.Second, 20 * time.Second, time.Minute, time.Minute, time.Minute}
	if s.rng.IntN(2) == 0 {
		s.queueBytes = 5000
	}
	if s.rng.IntN(2) == 0 {
		s.bounds = &bounds{outstanding: 5 + s.rng.IntN(40), waiting: 1 + s.rng.IntN(6), exceptionBytes: int64(500 + s.rng.IntN(5000)), fairBytes: 600}
	}
	s.ordering = s.rng.IntN(3) > 0
	s.store.fail = s.fail
	s.store.hook = s.audit
	return s
}

func (s *storm) chance(of int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.IntN(of) == 0
}

func (s *storm) intn(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.IntN(n)
}

// hopeless events are never accepted by anybody, and so are parked in the end.
func hopeless(ref EventRef) bool { return ref.Seq%41 == 7 }

func (s *storm) answer(r *receiver, req *http.Request, ref EventRef) (*http.Response, error) {
	if hopeless(ref) {
		return respond(422), nil
	}
	if s.intn(3) == 0 || r.name == "slow" {
		if err := pause(req.Context(), time.Duration(s.intn(300))*time.Millisecond); err != nil {
			return nil, err
		}
	}
	key := fmt.Sprint(r.name, ref)
	s.mu.Lock()
	trouble := !s.healthy && s.refused[key] < 4 && s.rng.IntN(3) == 0 && r.name != "steady"
	kind := s.rng.IntN(6)
	if trouble {
		s.refused[key]++
	}
	gone := r.name == "gone" && s.rng.IntN(200) == 0
	s.mu.Unlock()
	switch {
	case gone:
		return respond(410), nil
	case !trouble:
		return respond(200 + kind%2), nil
	case kind == 0:
		return hang(req, ref)
	case kind == 1:
		return respond(429, "Retry-After", "3"), nil
	case kind == 2:
		return nil, errRefused
	default:
		return respond(500), nil
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// fail lets commits fail now and then, some of them after they were written.
func (s *storm) fail() (error, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == 0 && !s.healthy && s.rng.IntN(40) == 0 {
		s.broken = 1 + s.rng.IntN(5)
	}
	if s.broken == 0 {
		return nil, false
	}
	s.broken--
	return errors.New("disk full"), s.rng.IntN(4) == 0
}

// audit looks at what a restart would find.
func (s *storm) audit() {
	s.mu.Lock()
	calm := s.healthy && s.store.commits%10 > 0
	s.mu.Unlock()
	if calm {
		return
	}
	// An event counts only while a range in the store covers it.
	if !slices.EqualFunc(s.planned, s.store.ranges, func(a, b Range) bool { return a.same(&b) && a.To == b.To }) {
		s.planned = slices.Clone(s.store.ranges)
		s.world.mu.Lock()
		s.subs = slices.Clone(s.store.ranges)
		s.world.mu.Unlock()
		clear(s.open)
		clear(s.known)
	}
	for ; s.seen < len(s.store.attempts); s.seen++ {
		if a := s.store.attempts[s.seen]; a.Outcome == "ok" {
			s.recorded[a.Endpoint][EventRef{a.Seq, a.Type}] = true
		}
	}
	for name, r := range s.receivers {
		place := s.store.place(name)
		if place.Floor < s.floors[name] {
			s.tb.Errorf("%s: the floor went back from %d to %d", name, s.floors[name], place.Floor)
		}
		s.floors[name] = place.Floor
		places := map[string]Progress{name: place}
		events := s.wanted(name)
		for len(events) > 0 && events[0].ref.Seq <= place.Floor && s.recorded[name][events[0].ref] {
			if _, excepted := s.store.exception(name, events[0].ref); excepted {
				break
			}
			if lane, left := s.store.server(name, events[0].ref); left && lane != name {
				break
			}
			events = events[1:]
		}
		s.open[name] = events
		for _, e := range events {
			_, excepted := s.store.exception(name, e.ref)
			lane, left := s.store.server(name, e.ref)
			place, ok := places[lane]
			if !ok {
				place = s.store.begins(lane)
				places[lane] = place
			}
			above := newDoneBefore(place)
			passed := !left || e.ref.Seq <= place.Floor || above.contains(e.ref.Seq, e.ref.Type)
			switch {
			case passed && !excepted && !r.has(e.ref):
				s.tb.Errorf("%s: event %v is lost: progress of %s %+v, read %d, ranges %+v", name, e.ref, lane, place, s.store.slots[SlotOf(name)], s.store.ranges)
			case s.recorded[name][e.ref] && (!passed || excepted):
				s.tb.Errorf("%s: event %v would be sent again although its 2xx is recorded: progress of %s %+v, exception %v", name, e.ref, lane, place, excepted)
			case excepted && !passed:
				s.tb.Errorf("%s: event %v is an exception and would be read from the log as well: progress of %s %+v", name, e.ref, lane, place)
			}
		}
	}
}

// wanted returns the events of an endpoint from the first that is not at its end.
func (s *storm) wanted(endpoint string) []sent {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	for ; s.known[endpoint] < len(s.events); s.known[endpoint]++ {
		if e := s.events[s.known[endpoint]]; s.wantedBy(endpoint, e) {
			s.open[endpoint] = append(s.open[endpoint], e)
		}
	}
	return s.open[endpoint]
}

func (s *storm) run() {
	p := s.start()
	var orders sync.WaitGroup
	for range 3 + s.intn(5) {
		for range 1 + s.intn(12) {
			s.commit(s.changes()...)
			if s.ordering && s.chance(3) {
				orders.Go(func() { s.order(p) })
			}
			if !s.chance(3) {
				wait(time.Duration(s.intn(2000)) * time.Millisecond)
			}
		}
		if s.chance(4) {
			if err := p.stop(); err != nil && !s.disturbed() {
				s.tb.Errorf("stop: %v", err)
			}
		} else {
			p.kill()
		}
		orders.Wait()
		p = s.start()
	}
	for name := range s.receivers {
		if s.disabled(name) {
			continue
		}
		if err := p.engine.Resume(context.Background(), name); err != nil {
			s.tb.Errorf("resume: %v", err)
		}
	}
	s.mu.Lock()
	s.healthy = true
	s.broken = 0
	s.mu.Unlock()
	for range 300 {
		wait(time.Minute)
		if s.settled() {
			break
		}
	}
	p.engine.returnsAll(s.tb)
	if err := p.stop(); err != nil {
		s.tb.Errorf("stop: %v", err)
	}
	s.finalCheck()
}

// order gives an order at random. It may be too late for its engine.
func (s *storm) order(p *process) {
	names := []string{"steady", "flaky", "tiny", "slow", "loose"}
	name, sub := names[s.intn(len(names))], []string{"all", "late", "edited"}[s.intn(3)]
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+s.intn(5000))*time.Millisecond)
	defer cancel()
	var err error
	switch s.intn(6) {
	case 0:
		err = p.engine.Pause(ctx, name, "storm")
	case 1:
		if !s.disabled(name) {
			err = p.engine.Resume(ctx, name)
		}
	case 2:
		_, _, err = p.engine.EndSubscription(ctx, name, sub)
	default:
		r := Range{Endpoint: name, Subscription: sub, Types: [][]string{{"*"}, {"item.*"}, {"item.b*", "order.any"}}[s.intn(3)], From: FromNow}
		if !s.chance(3) {
			r.From = uint64(s.intn(int(s.log.NextSeq() + 1)))
		}
		_, _, err = p.engine.Subscribe(ctx, r)
	}
	if err != nil && !errors.Is(err, ErrEnded) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrNoEndpoint) {
		s.tb.Errorf("order: %v", err)
	}
}

func (s *storm) disabled(name string) bool {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	return s.store.states[name].Disabled
}

func (s *storm) disturbed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken > 0
}

func wait(d time.Duration) { <-time.After(d) }

// changes makes a random transaction; some are long, some change keys, some are empty.
func (s *storm) changes() []changetest.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.rng.IntN(4)
	if s.rng.IntN(10) == 0 {
		n = s.rng.IntN(60)
	}
	var out []changetest.Change
	for range n {
		id := s.rng.IntN(8)
		switch s.rng.IntN(6) {
		case 0:
			out = append(out, changetest.Change{Op: change.Insert, Table: s.orders, After: changetest.Row{id, 1}})
		case 1, 2:
			out = append(out, s.rekey(id, (id+1+s.rng.IntN(3))%8, 1+s.rng.IntN(100)))
		default:
			v := s.rng.IntN(100)
			if s.rng.IntN(30) > 0 {
				v++
			}
			out = append(out, s.insert(id, v))
		}
	}
	return out
}

// settled reports whether every event has come to its end.
func (s *storm) settled() bool {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	for name, r := range s.receivers {
		if s.store.states[name].Disabled {
			continue
		}
		for _, e := range s.wants(name) {
			if x, ok := s.store.exception(name, e.ref); !(ok && x.State == Parked) && (ok || !r.has(e.ref)) {
				return false
			}
		}
	}
	return true
}

func (s *storm) finalCheck() {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	for name, r := range s.receivers {
		disabled := s.store.states[name].Disabled
		if disabled && name != "gone" {
			s.tb.Errorf("%s is disabled", name)
		}
		for _, e := range s.wants(name) {
			x, excepted := s.store.exception(name, e.ref)
			switch {
			case e.poison && r.has(e.ref):
				s.tb.Errorf("%s got the poison %v", name, e.ref)
			case disabled || r.has(e.ref) && !excepted:
			case excepted && x.State == Parked && (hopeless(e.ref) || e.poison) && !r.has(e.ref):
			default:
				s.tb.Errorf("%s: event %v is neither delivered nor parked: accepted %d times, exception %v, place %+v",
					name, e.ref, r.count[e.ref], x.State, s.store.place(name))
			}
		}
		if name != "loose" {
			s.checkOrder(r)
		}
	}
}

// checkOrder holds the first accept of each event to the order of its keys. Where there are backfills each lane keeps an order of its
// own, and a subscription that a crash took back may have had events that nobody wants now: there what was recorded counts.
func (s *storm) checkOrder(r *receiver) {
	accepted := r.got()
	if s.ordering {
		accepted = nil
		for _, a := range s.store.attempts {
			if a.Endpoint == r.name && a.Outcome == "ok" {
				accepted = append(accepted, EventRef{a.Seq, a.Type})
			}
		}
	}
	keys := map[EventRef][2]uint64{}
	place := map[EventRef]int{}
	for i, e := range s.wants(r.name) {
		keys[e.ref], place[e.ref] = e.keys, i
	}
	type laneKey struct {
		lane string
		key  uint64
	}
	last := map[laneKey]EventRef{}
	first := map[EventRef]bool{}
	for _, ref := range accepted {
		if first[ref] {
			continue
		}
		first[ref] = true
		lane, _ := s.store.server(r.name, ref)
		for _, k := range keys[ref] {
			lk := laneKey{lane, k}
			if before, ok := last[lk]; ok && k != 0 && place[before] > place[ref] {
				s.tb.Errorf("%s: %v was accepted before %v", lane, before, ref)
			}
			last[lk] = ref
		}
	}
}

// returnsAll checks that nothing is charged any more once nothing is left to send.
func (e *Engine) returnsAll(tb testing.TB) {
	var sum int64
	for _, snd := range e.senders.all() {
		snd.mu.Lock()
		for _, l := range snd.lanes {
			if l.state != halted && (l.bytes != 0 || l.excBytes != 0 || len(l.order) != 0 || l.tracker.len() != 0) {
				tb.Errorf("%s: %d bytes, %d of exceptions, %d keys, %d outstanding after everything was sent", l.name, l.bytes, l.excBytes, len(l.order), l.tracker.len())
			}
			if l.state == lagging {
				tb.Errorf("%s lags at %d, the log is at %d", l.name, l.cursor, e.liveSeq.Load())
			}
			if l.bytes != 0 && l.state == halted {
				tb.Errorf("%s: %d bytes queued although nothing is sent", l.name, l.bytes)
			}
			sum += l.bytes + l.excBytes
		}
		snd.mu.Unlock()
	}
	if got := e.queued.Load(); got != sum {
		tb.Errorf("%d bytes are charged to the engine, %d to its lanes", got, sum)
	}
}
