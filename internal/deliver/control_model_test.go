package deliver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/rowhook/rowhook/internal/change/changetest"
)

// TestControlGivesEachEventOnce orders an engine about at random while others append to the log, and holds what came of it to a set:
// an endpoint gets an event exactly once if one of its ranges covers it, and never if none does.
func TestControlGivesEachEventOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 4, 30).Draw(rt, "steps")
		seed := rapid.Uint64().Draw(rt, "seed")
		var problems []string
		synctest.Test(t, func(t *testing.T) { problems = newModel(t, seed).run(steps) })
		if len(problems) > 0 {
			rt.Fatalf("%v", problems)
		}
	})
}

// step is one order.
type step struct {
	Kind         string
	Endpoint     string
	Subscription string
	Types        []string
	From         int // per mille of the log; -1 is now, -2 where it ended last
	Burst        int
	Wait         time.Duration
}

func drawStep(t *rapid.T) step {
	return step{
		Kind:         rapid.SampledFrom([]string{"subscribe", "subscribe", "subscribe", "end", "pause", "resume", "put", "commit"}).Draw(t, "kind"),
		Endpoint:     rapid.SampledFrom([]string{"a", "b"}).Draw(t, "endpoint"),
		Subscription: rapid.SampledFrom([]string{"z", "m", "c"}).Draw(t, "subscription"),
		Types:        rapid.SampledFrom([][]string{{"*"}, {"item.any"}, {"item.b*"}, {"order.*", "item.big"}}).Draw(t, "types"),
		From:         rapid.SampledFrom([]int{-1, -1, -2, -2, 0, 300, 900}).Draw(t, "from"),
		Burst:        rapid.SampledFrom([]int{0, 1, 5, 60}).Draw(t, "burst"),
		Wait:         rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, 50 * time.Millisecond, 3 * time.Second}).Draw(t, "wait"),
	}
}

// model is a world with the ranges that the engine said it placed.
type model struct {
	*world
	p        *process
	rng      *rand.Rand
	mu       sync.Mutex
	refused  map[string]bool
	ranges   []Range
	problems []string
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{world: newWorld(t), rng: rand.New(rand.NewPCG(seed, 1)), refused: map[string]bool{}}
	m.endpoint(EndpointConfig{Name: "a", Ordered: true, Concurrency: 3})
	m.endpoint(EndpointConfig{Name: "b", Concurrency: 2, QueueBytes: 600})
	m.subs = nil
	for name, r := range m.receivers {
		r.answer = func(req *http.Request, ref EventRef) (*http.Response, error) { return m.answer(name, req, ref) }
	}
	m.bounds = &bounds{outstanding: 40, waiting: 5, exceptionBytes: 5000, fairBytes: 600}
	m.opts.Schedule = []time.Duration{time.Second, time.Second, time.Second}
	return m
}

// answer turns some events away once.
func (m *model) answer(name string, req *http.Request, ref EventRef) (*http.Response, error) {
	m.mu.Lock()
	key := fmt.Sprint(name, ref)
	refuse := !m.refused[key] && m.rng.IntN(8) == 0
	m.refused[key] = true
	slow := m.rng.IntN(10) == 0
	m.mu.Unlock()
	if slow {
		if err := pause(req.Context(), 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
	if refuse {
		return respond(500), nil
	}
	return respond(200), nil
}

func (m *model) fail(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.problems = append(m.problems, fmt.Sprintf(format, args...))
}

func (m *model) run(steps []step) []string {
	m.p = m.start()
	for _, st := range steps {
		var appends sync.WaitGroup
		appends.Go(func() {
			for range st.Burst / 5 {
				m.commit(m.burst(5)...)
			}
			m.commit(m.burst(st.Burst % 5)...)
		})
		m.do(st)
		appends.Wait()
		wait(st.Wait)
	}
	for name := range m.receivers {
		if err := m.p.engine.Resume(context.Background(), name); err != nil {
			m.fail("resume: %v", err)
		}
	}
	wait(10 * time.Minute)
	m.check()
	m.p.engine.returnsAll(m.tb)
	if err := m.p.stop(); err != nil {
		m.fail("stop: %v", err)
	}
	return m.problems
}

func (m *model) burst(n int) []changetest.Change {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []changetest.Change
	for range n {
		out = append(out, m.insert(m.rng.IntN(6), 1+m.rng.IntN(100)))
	}
	return out
}

func (m *model) do(st step) {
	ctx, began := context.Background(), time.Now()
	var err error
	switch st.Kind {
	case "subscribe":
		err = m.subscribe(ctx, st)
	case "end":
		var r Range
		var ok bool
		if r, ok, err = m.p.engine.EndSubscription(ctx, st.Endpoint, st.Subscription); ok {
			m.keep(r)
		}
	case "pause":
		err = m.p.engine.Pause(ctx, st.Endpoint, "test")
	case "resume":
		err = m.p.engine.Resume(ctx, st.Endpoint)
	case "put":
		err = m.p.engine.PutEndpoint(ctx, m.redefine(st.Endpoint))
	}
	if err != nil {
		m.fail("%s: %v", st.Kind, err)
	}
	if took := time.Since(began); took >= time.Second {
		m.fail("%s took %v", st.Kind, took)
	}
	if st.Kind == "pause" && err == nil {
		m.quiet(st.Endpoint)
	}
}

func (m *model) subscribe(ctx context.Context, st step) error {
	r := Range{Endpoint: st.Endpoint, Subscription: st.Subscription, Types: st.Types, From: FromNow}
	switch {
	case st.From == -2:
		for _, o := range m.ranges {
			if o.Endpoint == st.Endpoint && o.Subscription == st.Subscription && o.To > 0 {
				r.From = o.To
			}
		}
	case st.From >= 0:
		r.From = max(m.log.NextSeq(), 1) * uint64(st.From) / 1000
	}
	placed, ended, err := m.p.engine.Subscribe(ctx, r)
	if err != nil {
		return err
	}
	if placed.From > placed.LiveFrom || r.From != FromNow && placed.From != r.From || placed.To != 0 {
		m.fail("asked for %+v, got %+v", r, placed)
	}
	if ended != nil {
		if ended.To != placed.LiveFrom || ended.Version >= placed.Version {
			m.fail("%+v ended for %+v", ended, placed)
		}
		m.keep(*ended)
	}
	m.keep(placed)
	return nil
}

func (m *model) keep(r Range) {
	for i := range m.ranges {
		if m.ranges[i].same(&r) {
			m.ranges[i] = r
			return
		}
	}
	m.ranges = append(m.ranges, r)
}

// quiet checks that a paused endpoint holds no bodies and is sent nothing.
func (m *model) quiet(endpoint string) {
	s := m.p.engine.senders.get(endpoint)
	s.mu.Lock()
	for _, l := range s.lanes {
		if l.bytes != 0 || l.tracker.len() != 0 || l.excBytes != int64(l.excepted)*behindBytes || l.state != halted {
			m.fail("paused %s holds %d bytes, %d outstanding, %d bytes in %d exceptions", l.name, l.bytes, l.tracker.len(), l.excBytes, l.excepted)
		}
	}
	active := s.active
	s.mu.Unlock()
	before := m.receivers[endpoint].times()
	wait(2 * time.Second)
	if after := m.receivers[endpoint].times(); active != 0 || after != before {
		m.fail("paused %s has %d in flight and was sent %d", endpoint, active, after-before)
	}
}

func (m *model) redefine(name string) *Endpoint {
	i := slices.IndexFunc(m.cfgs, func(c EndpointConfig) bool { return c.Name == name })
	c := m.cfgs[i]
	m.mu.Lock()
	c.Concurrency, c.QueueBytes = 1+m.rng.IntN(4), int64(300+m.rng.IntN(3000))
	m.mu.Unlock()
	egress, err := NewEgress(EgressPolicy{})
	if err != nil {
		m.tb.Fatal(err)
	}
	ep, err := NewEndpoint(c, egress)
	if err != nil {
		m.tb.Fatal(err)
	}
	return ep
}

// check compares what came with the set of what had to.
func (m *model) check() {
	for name, r := range m.receivers {
		r.mu.Lock()
		for _, e := range m.events {
			want := 0
			if slices.ContainsFunc(m.ranges, func(o Range) bool { return o.Endpoint == name && o.Covers(e.ref.Seq) && o.names(e.ref.Type) }) {
				want = 1
			}
			if got := r.count[e.ref]; got != want {
				m.problems = append(m.problems, fmt.Sprintf("%s got %v %d times, want %d; %+v", name, e.ref, got, want, m.ranges))
			}
		}
		r.mu.Unlock()
	}
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	for _, r := range m.store.ranges {
		i := slices.IndexFunc(m.ranges, func(o Range) bool { return o.same(&r) })
		if i < 0 || m.ranges[i].To != r.To || m.ranges[i].From != r.From || m.ranges[i].LiveFrom != r.LiveFrom || !r.Backfilled {
			m.problems = append(m.problems, fmt.Sprintf("stored %+v, placed %+v", r, m.ranges))
		}
	}
	if len(m.store.ranges) != len(m.ranges) {
		m.problems = append(m.problems, fmt.Sprintf("%d ranges stored, %d placed", len(m.store.ranges), len(m.ranges)))
	}
	for lane := range m.store.progress {
		if LaneEndpoint(lane) != lane {
			m.problems = append(m.problems, "a record of a backfill that is done: "+lane)
		}
	}
}
