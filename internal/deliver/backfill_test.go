package deliver

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

func TestLateSubscriptionFromEarliestIsBackfilled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.only("item.big")
		p := w.start()
		for i := range 100 {
			w.commit(w.insert(i, i+1))
		}
		wait(time.Second)
		if n := len(w.receivers["a"].got()); n != 50 {
			t.Fatalf("%d came", n)
		}
		placed := p.subscribe(Range{Endpoint: "a", Subscription: "late", Types: []string{"item.any", "item.big"}})
		if placed.From != 0 || placed.LiveFrom != 100 || placed.Backfilled {
			t.Errorf("placed %+v", placed)
		}
		wait(time.Second)
		w.commit(w.insert(100, 100))
		wait(time.Second)
		if got := w.receivers["a"].got(); len(got) != 50+100+2 {
			t.Errorf("%d came", len(got))
		}
		for ref, n := range w.receivers["a"].count {
			if n != 1 {
				t.Errorf("%v came %d times", ref, n)
			}
		}
		if rs := w.store.allRanges(); len(rs) != 2 || !rs[1].Backfilled || len(w.store.progress) > 0 {
			t.Errorf("ranges %+v, progress %v", rs, w.store.progress)
		}
		if st, _ := p.engine.Lane("a"); len(st.Backfills) > 0 {
			t.Errorf("%+v", st)
		}
		p.engine.returnsAll(t)
		p.end(t)
	})
}

// A process that dies at any moment of a backfill goes on with it, and what it had recorded does not come again.
func TestBackfillSurvivesCrashesAtEachEvent(t *testing.T) {
	t.Parallel()
	for _, at := range []int{0, 1, 2, 7, 13, 29, 30} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, EndpointConfig{Name: "a", Ordered: true, Concurrency: 2, QueueBytes: 500})
				w.only("item.big")
				r := w.receivers["a"]
				r.set(func(req *http.Request, ref EventRef) (*http.Response, error) {
					if err := pause(req.Context(), 30*time.Millisecond); err != nil {
						return nil, err
					}
					if ref.Seq%9 == 4 && !w.receivers["a"].has(ref) && time.Now().UnixNano()%3 == 0 {
						return respond(500), nil
					}
					return respond(200), nil
				})
				// The record goes with the write that says that the backfill is done, or it would begin anew.
				recordSeen := false
				w.store.hook = func() {
					_, there := w.store.progress["a#late@1"]
					if recordSeen && !there && !w.store.ranges[1].Backfilled {
						t.Error("the record is gone and the backfill not done")
					}
					recordSeen = recordSeen || there
				}
				p := w.start()
				for i := range 30 {
					w.commit(w.insert(i%5, 1))
				}
				wait(time.Second)
				p.subscribe(Range{Endpoint: "a", Subscription: "late", Types: []string{"item.any"}})
				for len(r.got()) < at {
					wait(time.Millisecond)
				}
				p.kill()
				recorded := map[EventRef]bool{}
				for _, a := range w.store.attempts {
					if a.Outcome == "ok" {
						recorded[EventRef{a.Seq, a.Type}] = true
					}
				}
				before := map[EventRef]int{}
				for _, ref := range r.got() {
					before[ref]++
				}
				p = w.start()
				wait(10 * time.Minute)
				for _, ref := range anyItems(1, 30) {
					if n := r.count[ref]; n == 0 || recorded[ref] && n > before[ref] {
						t.Errorf("%v came %d times, recorded %v before the crash", ref, n, recorded[ref])
					}
				}
				if rs := w.store.allRanges(); !rs[1].Backfilled || len(w.store.progress) > 0 || len(w.store.exceptions) > 0 {
					t.Errorf("ranges %+v, progress %v, exceptions %v", rs, w.store.progress, w.store.exceptions)
				}
				p.engine.returnsAll(t)
				p.end(t)
			})
		})
	}
}

// Exceptions of a backfill stand under the endpoint's name. After a restart they must hold up the backfill's later events of their
// keys, not the endpoint's own lane.
func TestExceptionsOfABackfillStayWithIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.only("order.any")
		r := w.receivers["a"]
		r.set(func(_ *http.Request, ref EventRef) (*http.Response, error) {
			if ref.Seq == 1 {
				return respond(500), nil
			}
			return respond(200), nil
		})
		w.opts.Schedule = []time.Duration{100 * time.Hour}
		p := w.start()
		w.commit(w.insert(1, 1), w.insert(1, 2), w.insert(1, 3))
		wait(time.Second)
		p.subscribe(Range{Endpoint: "a", Subscription: "late", Types: []string{"item.any"}})
		w.commit(w.insert(1, 4))
		wait(time.Minute)
		for range 2 {
			if got := r.got(); !slices.Equal(got, anyItems(4, 4)) {
				t.Errorf("got %v", got)
			}
			st, _ := p.engine.Lane("a")
			if st.State != LaneLive || st.Waiting+st.Behind > 0 || len(st.Backfills) != 1 || st.Backfills[0].Waiting != 1 || st.Backfills[0].Behind != 2 {
				t.Errorf("status %+v", st)
			}
			p.kill()
			p = w.start()
			wait(time.Minute)
		}
		r.set(nil)
		p.must(p.engine.Pause(t.Context(), "a", "look"))
		p.must(p.engine.Resume(t.Context(), "a"))
		wait(time.Minute)
		if got := r.got(); !slices.Equal(got, append(anyItems(4, 4), anyItems(1, 3)...)) {
			t.Errorf("got %v", got)
		}
		if rs := w.store.allRanges(); !rs[1].Backfilled {
			t.Errorf("%+v", rs)
		}
		p.end(t)
	})
}
