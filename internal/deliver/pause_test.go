package deliver

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestPauseWaitsForWhatIsInFlight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, EndpointConfig{Name: "a", Concurrency: 2})
		w.only("item.any")
		r := w.receivers["a"]
		r.set(func(req *http.Request, _ EventRef) (*http.Response, error) {
			return respond(200), pause(req.Context(), 10*time.Second)
		})
		p := w.start()
		w.inserts(20)
		wait(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.engine.Pause(ctx, "a", "tea"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with two in flight: %v", err)
		}
		p.must(p.engine.Pause(t.Context(), "a", "tea"))
		if n := len(r.got()); n != 2 || r.times() != 2 {
			t.Errorf("%d accepted of %d", n, r.times())
		}
		if n := p.engine.queued.Load(); n != 0 || p.engine.opts.Budget.Used() != 0 {
			t.Errorf("%d bytes are held", n)
		}
		if st := w.store.states["a"]; !st.Paused || st.Disabled || st.Reason != "tea" {
			t.Errorf("stored %+v", st)
		}
		w.inserts(20)
		wait(time.Hour)
		p.kill()
		p = w.start()
		wait(time.Hour)
		if st, _ := p.engine.Lane("a"); st.State != LanePaused || st.Reason != "tea" || st.Since.IsZero() || st.Floor != 2 || r.times() != 2 {
			t.Errorf("after a restart %+v, %d requests", st, r.times())
		}
		p.must(p.engine.Resume(t.Context(), "a"))
		wait(time.Hour)
		if err := times(r, anyItems(1, 40)); err != nil {
			t.Error(err)
		}
		if st, _ := p.engine.Lane("a"); st.State != LaneLive || st.Reason != "" || w.store.states["a"].Paused {
			t.Errorf("after Resume %+v", st)
		}
		p.end(t)
	})
}

// Bodies of events that wait for a retry are dropped by a pause; the store has them when the log has not.
func TestResumeTakesBodiesFromTheStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.only("item.any")
		w.receivers["a"].set(always(500))
		w.opts.Schedule = []time.Duration{time.Hour, time.Hour}
		p := w.start()
		w.commit(w.insert(1, 1))
		w.commit(w.insert(2, 1))
		wait(time.Second)
		p.must(p.engine.Pause(t.Context(), "a", "tea"))
		w.log.expire(2)
		w.receivers["a"].set(nil)
		p.must(p.engine.Resume(t.Context(), "a"))
		wait(time.Minute)
		if err := times(w.receivers["a"], anyItems(1, 2)); err != nil {
			t.Error(err)
		}
		if len(w.store.expired) > 0 || len(w.store.exceptions) > 0 {
			t.Errorf("expired %v, exceptions %v", w.store.expired, w.store.exceptions)
		}
		p.end(t)
	})
}

func TestDisabledEndpointHoldsNothingAndResumes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.only("item.any")
		r := w.receivers["a"]
		r.set(always(410))
		p := w.start()
		w.inserts(50)
		wait(time.Second)
		if st, _ := p.engine.Lane("a"); st.State != LaneDisabled || st.Reason != "gone" || st.Waiting == 0 {
			t.Errorf("%+v", st)
		}
		l := p.lane("a")
		l.mu.Lock()
		if l.bytes != 0 || l.tracker.len() != 0 || l.excBytes != int64(l.excepted)*behindBytes {
			t.Errorf("%d bytes, %d outstanding, %d bytes in %d exceptions", l.bytes, l.tracker.len(), l.excBytes, l.excepted)
		}
		l.mu.Unlock()
		requests := r.times()
		wait(time.Hour)
		if n := r.times(); n != requests {
			t.Errorf("%d requests after it was disabled", n-requests)
		}
		r.set(nil)
		p.must(p.engine.Resume(t.Context(), "a"))
		w.inserts(1)
		wait(time.Minute)
		if err := times(r, anyItems(1, 51)); err != nil {
			t.Error(err)
		}
		p.engine.returnsAll(t)
		p.end(t)
	})
}

// A store that does not answer for a while must not cost the body that it alone has.
func TestBodyThatOnlyTheStoreHasIsNotWrittenOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.only("item.any")
		w.receivers["a"].set(always(500))
		p := w.start()
		w.commit(w.insert(1, 1))
		wait(time.Second)
		p.must(p.engine.Pause(t.Context(), "a", "tea"))
		w.log.expire(1)
		w.receivers["a"].set(nil)
		w.store.mu.Lock()
		w.store.blind = errors.New("locked")
		w.store.mu.Unlock()
		p.must(p.engine.Resume(t.Context(), "a"))
		wait(10 * time.Second)
		w.store.mu.Lock()
		w.store.blind = nil
		w.store.mu.Unlock()
		wait(time.Minute)
		if err := times(w.receivers["a"], anyItems(1, 1)); err != nil {
			t.Error(err)
		}
		p.end(t)
	})
}

// A worker that waits until results can be recorded has begun nothing yet, and begins nothing once its endpoint is paused.
func TestPauseHoldsWhileSendsAreHeldBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.only("item.any")
		p := w.start()
		wait(1010 * time.Millisecond) // between two checkpoints
		p.engine.gate.set(false)
		w.inserts(3)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := p.engine.Pause(ctx, "a", "tea"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		wait(time.Minute) // a checkpoint has opened the gate
		if n := w.receivers["a"].times(); n != 0 {
			t.Errorf("%d requests", n)
		}
		p.must(p.engine.Resume(t.Context(), "a"))
		wait(time.Second)
		if err := times(w.receivers["a"], anyItems(1, 3)); err != nil {
			t.Error(err)
		}
		p.end(t)
	})
}

// What a rewound lane had done above the slot's place was in no record once its floor had passed that place.
func TestDoneAboveTheSlotsPlaceIsRecordedAfterARewind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, ordered("a"))
		w.opts.ProgressInterval = time.Hour
		p := w.start()
		wait(time.Second)
		l := p.lane("a")
		l.mu.Lock()
		l.setState(lagging)
		l.cursor, l.before, l.stored = 10, doneBefore{ranges: []SeqRange{{12, 14}}}, true
		l.mu.Unlock()
		var write SlotWrite
		l.collect(9, &write, &results{settled: map[uint64]int{}})
		if len(write.Progress) != 1 || write.Progress[0].Clear || len(write.Progress[0].Progress.Done) != 1 {
			t.Errorf("wrote %+v", write.Progress)
		}
		p.kill()
	})
}
