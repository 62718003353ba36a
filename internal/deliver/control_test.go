package deliver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/change/changetest"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/webhook"
)

func (w *world) newEndpoint(c EndpointConfig) *Endpoint {
	egress, err := NewEgress(EgressPolicy{})
	if err != nil {
		w.tb.Fatal(err)
	}
	ep, err := NewEndpoint(c, egress)
	if err != nil {
		w.tb.Fatal(err)
	}
	return ep
}

// joined is an endpoint that comes while the engine runs.
func (w *world) joined(c EndpointConfig) (*Endpoint, *receiver) {
	n := len(w.subs)
	r := w.endpoint(c)
	w.subs = w.subs[:n]
	return w.newEndpoint(w.cfgs[len(w.cfgs)-1]), r
}

func (w *world) inserts(n int) {
	var out []changetest.Change
	for i := range n {
		out = append(out, w.insert(i, 1))
	}
	w.commit(out...)
}

func (p *process) subscribe(r Range) Range {
	p.w.tb.Helper()
	placed, _, err := p.engine.Subscribe(context.Background(), r)
	if err != nil {
		p.w.tb.Fatal(err)
	}
	return placed
}

func (p *process) must(err error) {
	p.w.tb.Helper()
	if err != nil {
		p.w.tb.Fatal(err)
	}
}

func times(r *receiver, want []EventRef) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.accepted) != len(want) {
		return fmt.Errorf("%d events came, want %d", len(r.accepted), len(want))
	}
	for _, ref := range want {
		if r.count[ref] != 1 {
			return fmt.Errorf("%v came %d times", ref, r.count[ref])
		}
	}
	return nil
}

func anyItems(first, last uint64) []EventRef {
	var out []EventRef
	for seq := first; seq <= last; seq++ {
		out = append(out, EventRef{seq, "item.any"})
	}
	return out
}

func TestNewEndpointAndSubscriptionTakeEffectAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.opts.ProgressInterval = time.Hour // orders do not wait for it
		p := w.start()
		w.inserts(3)
		wait(time.Second)
		ep, r := w.joined(ordered("b"))
		began := time.Now()
		p.must(p.engine.PutEndpoint(t.Context(), ep))
		placed := p.subscribe(Range{Endpoint: "b", Subscription: "new", Types: []string{"item.a?y"}, From: FromNow})
		if placed.From != 3 || placed.LiveFrom != 3 || placed.Version != 1 || !placed.Backfilled || time.Since(began) > time.Second {
			t.Errorf("placed %+v after %v", placed, time.Since(began))
		}
		w.inserts(2)
		synctest.Wait()
		if err := times(r, anyItems(4, 5)); err != nil {
			t.Error(err)
		}
		if st, ok := p.engine.Lane("b"); !ok || st.State != LaneLive || st.Floor != 5 || st.Offered != 5 || len(st.Backfills) > 0 {
			t.Errorf("status %+v", st)
		}
		p.end(t)
		// The next process knows it from the store.
		w.inserts(1)
		p = w.start()
		wait(time.Second)
		if err := times(r, anyItems(4, 6)); err != nil {
			t.Error(err)
		}
		p.end(t)
	})
}

func TestEndAndResumeOfASubscriptionLosesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.only("item.any")
		p := w.start()
		w.inserts(5)
		wait(time.Second)
		ended, ok, err := p.engine.EndSubscription(t.Context(), "a", "all")
		if ended.To != 5 || !ok || err != nil {
			t.Errorf("%+v %v %v", ended, ok, err)
		}
		if _, ok, err := p.engine.EndSubscription(t.Context(), "a", "all"); ok || err != nil {
			t.Error("ended twice", err)
		}
		w.inserts(5)
		wait(time.Minute)
		if err := times(w.receivers["a"], anyItems(1, 5)); err != nil {
			t.Error(err)
		}
		again := p.subscribe(Range{Endpoint: "a", Subscription: "all", Types: []string{"item.any"}, From: ended.To})
		if again.Version != 2 || again.From != 5 || again.LiveFrom != 10 {
			t.Errorf("%+v", again)
		}
		w.inserts(5)
		wait(time.Second)
		if err := times(w.receivers["a"], anyItems(1, 15)); err != nil {
			t.Error(err)
		}
		p.end(t)
	})
}

// An end of 0 would be none, so on an empty log the first change belongs to the range that ends.
func TestEndOnAnEmptyLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.only("item.any")
		p := w.start()
		_, replaced, err := p.engine.Subscribe(t.Context(), Range{Endpoint: "a", Subscription: "all", Types: []string{"item.big"}, From: FromNow})
		if err != nil || replaced == nil || replaced.To != 1 {
			t.Errorf("%+v %v", replaced, err)
		}
		ended, _, err := p.engine.EndSubscription(t.Context(), "a", "all")
		if err != nil || ended.To == 0 {
			t.Errorf("%+v %v", ended, err)
		}
		w.inserts(5)
		p.subscribe(Range{Endpoint: "a", Subscription: "all", Types: []string{"item.any"}, From: ended.To})
		wait(time.Minute)
		if err := times(w.receivers["a"], anyItems(1, 5)); err != nil {
			t.Error(err)
		}
		p.end(t)
	})
}

// A full lane had taken one event of a change when its range ended: the range ended before that change.
func TestRangeEndsBehindASplitSeq(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.receivers["a"].set(hang)
		w.bounds = &bounds{outstanding: 4, waiting: 100, exceptionBytes: 1 << 20, fairBytes: 1 << 20}
		p := w.start()
		wait(time.Second)
		w.commit(w.insert(1, 60), w.insert(2, 60), w.insert(3, 60))
		synctest.Wait()
		// Three events of seq 1 and one of seq 2 have their places.
		_, replaced, err := p.engine.Subscribe(t.Context(), Range{Endpoint: "a", Subscription: "all", Types: []string{"*"}})
		if err != nil || replaced.To != 2 {
			t.Errorf("replaced %+v, %v", replaced, err)
		}
		w.receivers["a"].set(nil)
		p.must(p.engine.Pause(t.Context(), "a", "so that what hangs is read again"))
		p.must(p.engine.Resume(t.Context(), "a"))
		wait(time.Hour)
		for _, e := range w.events {
			if n := w.receivers["a"].count[e.ref]; n != 1 {
				t.Errorf("%v came %d times", e.ref, n)
			}
		}
		p.end(t)
	})
}

func TestSubscribeRefuses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		p := w.start()
		for name, r := range map[string]Range{
			"an old version": {Endpoint: "a", Subscription: "all", Version: 1},
			"another source": {Endpoint: "a", Subscription: "more", Source: "other"},
			"no endpoint":    {Endpoint: "x", Subscription: "more"},
		} {
			if _, _, err := p.engine.Subscribe(t.Context(), r); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		if _, _, err := p.engine.EndSubscription(t.Context(), "x", "all"); !errors.Is(err, ErrNoEndpoint) {
			t.Error(err)
		}
		p.end(t)
		if _, _, err := p.engine.Subscribe(t.Context(), Range{Endpoint: "a", Subscription: "more"}); !errors.Is(err, ErrEnded) {
			t.Error(err)
		}
	})
}

func TestRemovedEndpointIsForgotten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"), ordered("b"))
		r := w.receivers["a"]
		r.set(func(req *http.Request, ref EventRef) (*http.Response, error) {
			if ref.Seq%2 == 0 {
				return respond(500), nil
			}
			return respond(200), pause(req.Context(), 100*time.Millisecond)
		})
		p := w.start()
		w.inserts(40)
		wait(150 * time.Millisecond)
		p.subscribe(Range{Endpoint: "a", Subscription: "more", Types: []string{"*"}})
		p.must(p.engine.RemoveEndpoint(t.Context(), "a"))
		requests := r.times()
		w.store.mu.Lock()
		for lane := range w.store.progress {
			if LaneEndpoint(lane) == "a" {
				t.Errorf("progress of %s is left", lane)
			}
		}
		for k := range w.store.exceptions {
			if k.Endpoint == "a" {
				t.Errorf("exception %v is left", k)
			}
		}
		w.store.mu.Unlock()
		if rs := w.store.allRanges(); len(rs) != 1 || rs[0].Endpoint != "b" {
			t.Errorf("ranges %+v", rs)
		}
		if _, ok := p.engine.Lane("a"); ok || len(p.engine.Lanes()) != 1 {
			t.Error("it is still there")
		}
		if err := p.engine.RemoveEndpoint(t.Context(), "a"); !errors.Is(err, ErrNoEndpoint) {
			t.Error(err)
		}
		w.inserts(10)
		wait(time.Hour)
		if n := r.times(); n != requests {
			t.Errorf("%d requests after it was removed", n-requests)
		}
		if n := len(w.receivers["b"].got()); n != len(w.wants("b")) {
			t.Errorf("b got %d of %d", n, len(w.wants("b")))
		}
		// It may come back, and begins anew.
		r.set(nil)
		w.cfgs = slices.DeleteFunc(w.cfgs, func(c EndpointConfig) bool { return c.Name == "a" })
		w.subs = slices.DeleteFunc(w.subs, func(r Range) bool { return r.Endpoint == "a" })
		ep, r := w.joined(ordered("a"))
		p.must(p.engine.PutEndpoint(t.Context(), ep))
		p.subscribe(Range{Endpoint: "a", Subscription: "all", Types: []string{"item.any"}, From: FromNow})
		w.inserts(1)
		wait(time.Second)
		if err := times(r, anyItems(51, 51)); err != nil {
			t.Error(err)
		}
		p.engine.returnsAll(t)
		p.end(t)
	})
}

func TestPutEndpointReplacesTheDefinition(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.only("item.any")
		p := w.start()
		w.inserts(1)
		wait(time.Second)
		// The other receiver's name is the host that its requests go to.
		moved := &receiver{name: "moved", count: map[EventRef]int{}}
		w.mu.Lock()
		w.receivers["moved"] = moved
		w.mu.Unlock()
		c := w.cfgs[0]
		c.URL, c.Secrets = "https://moved.example/hook", []webhook.Secret{webhook.NewSecret()}
		moved.set(func(req *http.Request, _ EventRef) (*http.Response, error) {
			if req.Header.Get("Webhook-Signature") == "" {
				t.Error("not signed")
			}
			return respond(200), nil
		})
		p.must(p.engine.PutEndpoint(t.Context(), w.newEndpoint(c)))
		w.inserts(2)
		wait(time.Second)
		if err := errors.Join(times(w.receivers["a"], anyItems(1, 1)), times(moved, anyItems(2, 3))); err != nil {
			t.Error(err)
		}
		c.Tenant = "acme"
		if err := p.engine.PutEndpoint(t.Context(), w.newEndpoint(c)); err == nil {
			t.Error("the tenant was changed")
		}
		p.end(t)
	})
}

func TestPutEndpointLowersTheConcurrency(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, EndpointConfig{Name: "a", Concurrency: 8})
		w.only("item.any")
		r := w.receivers["a"]
		r.set(func(req *http.Request, _ EventRef) (*http.Response, error) {
			return respond(200), pause(req.Context(), time.Second)
		})
		p := w.start()
		w.inserts(100)
		wait(1500 * time.Millisecond)
		c := w.cfgs[0]
		c.Concurrency = 2
		p.must(p.engine.PutEndpoint(t.Context(), w.newEndpoint(c)))
		wait(time.Second)
		before := len(r.got())
		wait(10 * time.Second)
		if n := len(r.got()) - before; n != 20 {
			t.Errorf("%d came in ten seconds, want two in each", n)
		}
		p.end(t)
	})
}

func TestSendTestGoesAlsoWhilePaused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.mu.Lock()
		w.ids["evt_test"] = EventRef{Type: "item.any"}
		w.mu.Unlock()
		var header http.Header
		w.receivers["a"].set(func(req *http.Request, _ EventRef) (*http.Response, error) {
			header = req.Header
			return respond(503, "Retry-After", "60"), nil
		})
		p := w.start()
		p.must(p.engine.Pause(t.Context(), "a", "tea"))
		a, err := p.engine.SendTest(t.Context(), "a", "item.any", "evt_test", []byte(`{"id":"evt_test","type":"item.any"}`))
		if err != nil || a.Outcome != "http_503" || a.Status != 503 || a.Cause != "test" || a.Seq != 0 || a.Attempt != 1 {
			t.Errorf("%+v %v", a, err)
		}
		if header.Get("Rowhook-Test") != "1" || header.Get("Webhook-Signature") == "" || header.Get("Webhook-Id") != "evt_test" {
			t.Errorf("header %v", header)
		}
		wait(time.Hour)
		if n := w.receivers["a"].times(); n != 1 {
			t.Errorf("%d requests", n)
		}
		w.store.mu.Lock()
		if len(w.store.attempts) != 1 || w.store.attempts[0] != a {
			t.Errorf("recorded %+v", w.store.attempts)
		}
		w.store.mu.Unlock()
		if _, err := p.engine.SendTest(t.Context(), "x", "item.any", "evt_test", nil); !errors.Is(err, ErrNoEndpoint) {
			t.Error(err)
		}
		p.end(t)
		if p.journal.pending != 0 {
			t.Errorf("%d sends are left in the journal", p.journal.pending)
		}
	})
}

func TestMatching(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"), EndpointConfig{Name: "acme", Tenant: "acme"}, ordered("ended"))
		w.only("item.*")
		p := w.start()
		synctest.Wait()
		if _, ok, err := p.engine.EndSubscription(t.Context(), "ended", "all"); !ok || err != nil {
			t.Fatal(ok, err)
		}
		p.subscribe(Range{Endpoint: "a", Subscription: "twice", Types: []string{"*"}, Subject: "items/*", From: FromNow})
		for name, tc := range map[string]struct {
			ev   event.Event
			want []string
		}{
			"its tenant":     {event.Event{Type: "item.any", Tenant: "acme", Subject: "items/1"}, []string{"a", "acme"}},
			"another tenant": {event.Event{Type: "item.any", Tenant: "beta"}, []string{"a"}},
			"a subject":      {event.Event{Type: "order.any", Subject: "items/2"}, []string{"a"}},
			"nobody":         {event.Event{Type: "order.any"}, nil},
		} {
			if got := p.engine.Matching(&tc.ev); !slices.Equal(got, tc.want) {
				t.Errorf("%s: %v", name, got)
			}
		}
		p.end(t)
	})
}

// Two engines share a budget: what the one gives back lets the other's lanes be fed, although nothing of its own moves.
func TestBudgetIsSharedByEngines(t *testing.T) {
	bubble(t, func(t *testing.T) {
		budget := NewBudget(2000)
		one, two := newWorld(t, EndpointConfig{Name: "one"}), newWorld(t, EndpointConfig{Name: "two", Concurrency: 1})
		for _, w := range []*world{one, two} {
			w.only("item.any")
			w.opts.Budget = budget
			w.bounds = &bounds{outstanding: 1000, waiting: 1000, exceptionBytes: 1 << 20, fairBytes: 0}
		}
		one.receivers["one"].set(hang)
		one.opts.Schedule = []time.Duration{time.Hour}
		p, q := one.start(), two.start()
		one.inserts(100)
		synctest.Wait()
		two.inserts(20)
		synctest.Wait()
		if st, _ := q.engine.Lane("two"); st.State != LaneLagging || two.receivers["two"].times() > 0 {
			t.Fatalf("%+v, %d sent, %d used", st, two.receivers["two"].times(), budget.Used())
		}
		one.receivers["one"].set(nil)
		p.must(p.engine.Pause(t.Context(), "one", "room"))
		wait(time.Second)
		if err := times(two.receivers["two"], anyItems(1, 20)); err != nil {
			t.Error(err)
		}
		p.kill()
		q.end(t)
		if n := budget.Used(); n != 0 {
			t.Errorf("%d bytes are charged after the end", n)
		}
	})
}

// versions makes another set of types of each version.
type versions map[uint64]*event.Set

func (v versions) Types(_ context.Context, version uint64) (*event.Set, error) {
	if set, ok := v[version]; ok {
		return set, nil
	}
	return nil, errors.New("unknown")
}

func versioned(v uint64) *change.Block { return &change.Block{Header: change.Header{TypesVersion: v}} }

func TestMatchersAreOfTheBlocksVersion(t *testing.T) {
	t.Parallel()
	v := versions{}
	for i := range uint64(10) {
		v[i] = compileTypes(t, testTypes)
	}
	ms := newMatchers(v)
	for i := range uint64(30) {
		blk := versioned(i % 10)
		m, err := ms.of(t.Context(), blk)
		if again, _ := ms.of(t.Context(), blk); err != nil || m == nil || again != m || len(ms.byVersion) > matcherVersions {
			t.Fatalf("version %d: %v, %d kept", i%10, err, len(ms.byVersion))
		}
	}
	if _, err := ms.of(t.Context(), versioned(77)); err == nil {
		t.Error("an unknown version was read")
	}
}
