package deliver

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rowhook/rowhook/internal/change/changetest"
)

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

func (p *process) end(t *testing.T) {
	t.Helper()
	if err := p.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func refs(events []sent) []EventRef {
	var out []EventRef
	for _, e := range events {
		out = append(out, e.ref)
	}
	return out
}

// only subscribes every endpoint to one event a change.
func (w *world) only(typ string) {
	for i := range w.subs {
		w.subs[i].Types = []string{typ}
	}
}

func TestDeliversInOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.only("item.any")
		w.commit(w.insert(1, 1), w.insert(1, 2), w.insert(1, 3))
		p := w.start()
		w.commit()
		w.commit(w.insert(1, 4), w.rekey(1, 2, 4), w.insert(2, 5))
		wait(time.Second)
		if got := w.receivers["a"].got(); !slices.Equal(got, refs(w.wants("a"))) {
			t.Errorf("got %v, want %v", got, refs(w.wants("a")))
		}
		p.engine.returnsAll(t)
		p.end(t)
		if p.journal.pending != 0 {
			t.Errorf("%d sends are left in the journal", p.journal.pending)
		}
	})
}

func TestHangingEndpointDelaysNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("stuck"), ordered("fine"))
		w.receivers["stuck"].set(hang)
		p := w.start()
		began := time.Now()
		for i := range 50 {
			w.commit(w.insert(i, 1))
		}
		synctest.Wait()
		if n := len(w.receivers["fine"].got()); n != len(w.wants("fine")) || time.Since(began) > 0 {
			t.Errorf("%d of %d events after %v", n, len(w.wants("fine")), time.Since(began))
		}
		p.kill()
	})
}

func TestFloodBecomesLagWithBoundedBytes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, EndpointConfig{Name: "flooded", QueueBytes: 10_000, Concurrency: 2})
		w.only("item.any")
		w.receivers["flooded"].set(func(req *http.Request, _ EventRef) (*http.Response, error) {
			return respond(200), pause(req.Context(), 10*time.Millisecond)
		})
		p := w.start()
		for i := range 100 {
			var changes []changetest.Change
			for j := range 50 {
				changes = append(changes, w.insert(i*50+j, 1))
			}
			w.commit(changes...)
		}
		synctest.Wait()
		l := p.lane("flooded")
		l.mu.Lock()
		bytes, state := l.bytes, l.state
		l.mu.Unlock()
		if bytes > 12_000 || state != lagging || p.engine.stats.Lagging.Load() != 1 {
			t.Errorf("%d bytes queued in state %v", bytes, state)
		}
		wait(time.Minute)
		if got := w.receivers["flooded"].got(); len(got) != 5000 {
			t.Errorf("%d events delivered", len(got))
		}
		p.engine.returnsAll(t)
		if n := p.engine.stats.Lagging.Load(); n != 0 {
			t.Errorf("%d lanes lag", n)
		}
		p.end(t)
	})
}

func TestScheduleThenParkedReleasesTheKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.only("item.any")
		w.receivers["a"].set(func(_ *http.Request, ref EventRef) (*http.Response, error) {
			if ref.Seq == 1 {
				return respond(500), nil
			}
			return respond(200), nil
		})
		p := w.start()
		w.commit(w.insert(1, 1), w.insert(1, 2), w.insert(1, 3))
		wait(20 * time.Second)
		if got := w.receivers["a"].got(); got != nil {
			t.Errorf("%v overtook", got)
		}
		wait(time.Hour)
		if got := w.receivers["a"].got(); !slices.Equal(got, []EventRef{{2, "item.any"}, {3, "item.any"}}) {
			t.Errorf("got %v", got)
		}
		if n := w.receivers["a"].times(); n != 2+1+len(w.opts.Schedule) {
			t.Errorf("%d requests", n)
		}
		x, ok := w.store.exception("a", EventRef{1, "item.any"})
		if !ok || x.State != Parked || x.Reason != "http_500" || len(x.Payload) == 0 || len(w.store.exceptions) != 1 {
			t.Errorf("exceptions %+v", w.store.exceptions)
		}
		p.engine.returnsAll(t)
		p.end(t)
	})
}

func TestRetryAfterIsObeyed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, EndpointConfig{Name: "a", Concurrency: 1})
		w.receivers["a"].set(always(429, "Retry-After", "3600"))
		p := w.start()
		w.commit(w.insert(1, 1), w.insert(2, 1), w.insert(3, 1))
		wait(3590 * time.Second)
		if n := w.receivers["a"].times(); n != 1 {
			t.Errorf("%d requests in the hour that the endpoint asked for", n)
		}
		w.receivers["a"].set(nil)
		wait(20 * time.Second)
		if n := len(w.receivers["a"].got()); n != len(w.wants("a")) {
			t.Errorf("%d of %d delivered after it", n, len(w.wants("a")))
		}
		p.end(t)
	})
}

func TestGoneDisablesAndKeepsTheCursor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.only("item.any")
		w.receivers["a"].set(always(410))
		p := w.start()
		w.commit(w.insert(1, 1))
		wait(time.Second)
		for i := range 20 {
			w.commit(w.insert(i, 2))
		}
		wait(time.Hour)
		if n := w.receivers["a"].times(); n != 1 || !w.store.states["a"].Disabled {
			t.Errorf("%d requests, state %+v", n, w.store.states["a"])
		}
		p.end(t)
		if place := w.store.place("a"); place.Floor > 1 {
			t.Errorf("the cursor went on to %d", place.Floor)
		}
		// Somebody enables it again.
		w.store.states["a"] = EndpointState{Endpoint: "a"}
		w.receivers["a"].set(nil)
		p = w.start()
		wait(time.Hour)
		if n := len(w.receivers["a"].got()); n != 21 {
			t.Errorf("%d of 21 delivered", n)
		}
		p.end(t)
	})
}

func TestStaleEpochEndsTheEngine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		p := w.start()
		w.commit(w.insert(1, 1))
		wait(time.Second)
		before := w.store.place("a")
		w.store.claim(time.Minute)
		w.commit(w.insert(2, 1))
		if err := <-p.done; !errors.Is(err, ErrStale) {
			t.Errorf("ended with %v", err)
		}
		if after := w.store.place("a"); after.Floor != before.Floor {
			t.Errorf("a stale owner moved the floor from %d to %d", before.Floor, after.Floor)
		}
		p.cancel()
	})
}

func TestFailingStoreHoldsSendsBack(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		t.Run(map[bool]string{false: "errors", true: "hangs"}[hangs], func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, EndpointConfig{Name: "a", Concurrency: 1})
				w.only("item.any")
				p := w.start()
				w.commit(w.insert(0, 1))
				wait(10 * time.Second)
				down := make(chan struct{})
				w.store.mu.Lock()
				w.store.fail = func() (error, bool) {
					select {
					case <-down:
						return nil, false
					default:
					}
					if hangs {
						<-down
						return nil, false
					}
					return errors.New("disk full"), false
				}
				w.store.mu.Unlock()
				for i := range 100 {
					w.commit(w.insert(i, 1))
					wait(100 * time.Millisecond)
				}
				wait(time.Minute)
				if n := w.receivers["a"].times(); n > 20 {
					t.Errorf("%d requests although nothing could be recorded", n)
				}
				close(down)
				wait(time.Minute)
				if n := len(w.receivers["a"].got()); n != 101 {
					t.Errorf("%d of 101 delivered after it", n)
				}
				p.end(t)
			})
		})
	}
}

func TestLostLeaseHoldsSendsBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		p := w.start()
		synctest.Wait()
		deadline := time.Now().Add(-time.Second)
		p.engine.lease.Store(&deadline)
		w.commit(w.insert(1, 1))
		wait(w.opts.LeaseTTL/3 - time.Second)
		if n := w.receivers["a"].times(); n != 0 {
			t.Errorf("%d requests without a lease", n)
		}
		wait(2 * time.Second)
		if len(w.receivers["a"].got()) == 0 {
			t.Error("nothing sent after the renewal")
		}
		w.store.mu.Lock()
		w.store.lost = []int{SlotOf("a")}
		w.store.mu.Unlock()
		if err := <-p.done; !errors.Is(err, ErrStale) {
			t.Errorf("ended with %v", err)
		}
		p.cancel()
	})
}

// What a write took from the lanes was forgotten when the end came while it was under way; the last one then moved the floor
// past exceptions that were never written.
func TestEndDuringACheckpointLosesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.only("item.any")
		w.receivers["a"].set(always(500))
		p := w.start()
		wait(time.Second)
		w.store.mu.Lock()
		w.store.fail = func() (error, bool) { return errors.New("locked"), false }
		w.store.mu.Unlock()
		w.commit(w.insert(1, 1))
		wait(2 * time.Second)
		p.cancel()
		synctest.Wait()
		w.store.mu.Lock()
		w.store.fail = nil
		w.store.mu.Unlock()
		if err := <-p.done; err != nil {
			t.Error(err)
		}
		if _, ok := w.store.exception("a", EventRef{1, "item.any"}); !ok && w.store.place("a").Floor > 0 {
			t.Errorf("the floor is %d and the event nowhere", w.store.place("a").Floor)
		}
	})
}

func TestEndReportsThatProgressWasNotWritten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		p := w.start()
		wait(time.Second)
		full := errors.New("disk full")
		w.store.mu.Lock()
		w.store.fail = func() (error, bool) { return full, false }
		w.store.mu.Unlock()
		w.commit(w.insert(1, 1))
		synctest.Wait()
		if err := p.stop(); !errors.Is(err, full) {
			t.Errorf("stop: %v", err)
		}
	})
}

// A lane that turned from live to lagging with nothing outstanding was not written down: a restart began at its slot's place.
func TestLaneThatBeginsToLagIsRecorded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.only("item.any")
		// The common bound is reached with the first event that waits; nothing is probed below the lane's own.
		w.bounds = &bounds{outstanding: 100, waiting: 100, exceptionBytes: 1 << 20, fairBytes: 1}
		w.queueBytes = 1
		w.opts.Schedule = []time.Duration{1000 * time.Hour}
		w.receivers["a"].set(always(500))
		p := w.start()
		wait(time.Second)
		w.commit(w.insert(1, 1))
		wait(time.Second)
		w.commit()
		w.commit(w.insert(3, 1))
		wait(10 * time.Second)
		p.kill()
		if place := w.store.place("a"); place.Floor > 1 {
			t.Errorf("a restart begins after %d", place.Floor)
		}
	})
}

// What was delivered above the slot's place was in no record, and came again.
func TestDoneAboveTheSlotsPlaceIsRecorded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.opts.ProgressInterval = time.Hour
		p := w.start()
		wait(time.Second)
		w.commit(w.insert(1, 1))
		wait(time.Second)
		var write SlotWrite
		p.lane("a").collect(0, &write, &results{settled: map[uint64]int{}})
		if len(write.Progress) != 1 || write.Progress[0].Clear || write.Progress[0].Progress.Floor != 1 {
			t.Errorf("wrote %+v", write.Progress)
		}
		p.kill()
	})
}

// An event behind two keys, one of them waiting for a retry, was put back before the other's event was read from the log again.
func TestEventBehindTwoKeysDoesNotOvertakeAfterARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.only("item.any")
		w.receivers["a"].set(func(req *http.Request, ref EventRef) (*http.Response, error) {
			if ref.Seq == 1 {
				return respond(500), nil
			}
			return hang(req, ref)
		})
		w.opts.Schedule = []time.Duration{time.Millisecond, 10 * time.Minute}
		p := w.start()
		w.commit(w.insert(1, 1), w.insert(2, 1), w.rekey(1, 2, 1), w.insert(2, 2))
		wait(time.Second)
		p.kill()
		w.receivers["a"].set(nil)
		w.opts.Schedule = []time.Duration{time.Millisecond}
		p = w.start()
		wait(20 * time.Minute)
		got := w.receivers["a"].got()
		if i, j := slices.Index(got, EventRef{2, "item.any"}), slices.Index(got, EventRef{3, "item.any"}); len(got) != 4 || i > j {
			t.Errorf("got %v", got)
		}
		p.end(t)
	})
}

// A type that fails on an event that was kept as a seq was tried again every second for ever.
func TestEventThatCannotBeMadeAnyMoreIsParked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.only("item.any")
		w.receivers["a"].set(always(500))
		p := w.start()
		w.commit(w.insert(1, 0), w.insert(1, 0), w.insert(1, 3))
		wait(time.Second)
		p.kill()
		w.receivers["a"].set(nil)
		w.types = compileTypes(t, "types:\n  item.any:\n    table: app.items\n    when: 100 / after.n >= 0\n    data: [id]\n")
		p = w.start()
		wait(time.Hour)
		x, ok := w.store.exception("a", EventRef{2, "item.any"})
		if !ok || x.State != Parked {
			t.Errorf("exception %+v", x)
		}
		if got := w.receivers["a"].got(); !slices.Equal(got, []EventRef{{1, "item.any"}, {3, "item.any"}}) {
			t.Errorf("got %v", got)
		}
		p.end(t)
	})
}

func TestExpiredEventsAreRecorded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.only("item.any")
		p := w.start()
		w.commit(w.insert(1, 1))
		wait(10 * time.Second)
		p.kill()
		for range 5 {
			w.commit(w.insert(1, 1))
		}
		w.log.expire(4)
		p = w.start()
		wait(time.Minute)
		want := ExpiredRange{Source: testSource, Endpoint: "a", SeqRange: SeqRange{2, 4}}
		if len(w.store.expired) != 1 || w.store.expired[0] != want {
			t.Errorf("expired %+v", w.store.expired)
		}
		if n := len(w.receivers["a"].got()); n != 3 {
			t.Errorf("%d delivered", n)
		}
		p.end(t)
	})
}

// An endpoint disabled while it caught up stayed in its group, and the others waited with it at the end of the log.
func TestDisabledLaneLeavesTheCatchUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		p := w.start()
		wait(time.Second)
		l := p.lane("a")
		l.mu.Lock()
		l.paused = true
		l.sender.halt()
		l.mu.Unlock()
		c := &catchup{engine: p.engine, matchers: newMatchers(oneSet{w.types})}
		raw := changetest.Block(t, testSource, 1)
		if group, err := c.offer(t.Context(), raw, []*lane{l}); err != nil || len(group) > 0 {
			t.Errorf("%v %v", group, err)
		}
		p.kill()
	})
}

func TestRunWithoutClaimFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		e := New(Options{Source: testSource, Types: oneSet{w.types}, Budget: NewBudget(1), LeaseTTL: time.Second, ProgressInterval: time.Second, Log: w.opts.Log},
			Deps{Log: w.log, Store: w.store, Loader: w.store, Journal: &memJournal{}, Leases: w.store})
		if err := e.Run(context.Background()); err == nil {
			t.Error("no error")
		}
	})
}
