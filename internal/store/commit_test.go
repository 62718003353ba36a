package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/deliver"
)

const (
	testSource   = "shop"
	testEndpoint = "billing"
)

func itoa(n int) string { return strconv.Itoa(n) }

func rowCount(t testing.TB, s *Store, table string) int {
	t.Helper()
	var n int
	if err := s.reader.QueryRow("SELECT COUNT(*) FROM " + table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func claimOne(t testing.TB, s *Store, owner, endpoint string) deliver.Claim {
	t.Helper()
	claims, err := s.Claim(t.Context(), owner, []int{deliver.SlotOf(endpoint)}, time.Minute)
	if err != nil || len(claims) != 1 {
		t.Fatalf("%v %v", claims, err)
	}
	return claims[0]
}

func eventID(n int) string { return fmt.Sprintf("evt_06a1jn3c8g00000%013d", n) }

func attempt(endpoint string, n int, epoch uint64) deliver.Attempt {
	return deliver.Attempt{
		Source: testSource, Endpoint: endpoint, Seq: uint64(n), Type: "rental.updated", EventID: eventID(n),
		Attempt: 1, Epoch: epoch, StartedUS: 1_790_000_000_000_000 + int64(n), DurationUS: 1234, Status: 200, Outcome: "ok",
		BodySHA256: sha256.Sum256([]byte(itoa(n))),
	}
}

// attemptsBatch records n attempts of testEndpoint, from event first on.
func attemptsBatch(c deliver.Claim, first, n int) deliver.Batch {
	w := deliver.SlotWrite{Slot: c.Slot, Epoch: c.Epoch, ReadSeq: uint64(first + n)}
	for i := range n {
		w.Attempts = append(w.Attempts, attempt(testEndpoint, first+i, c.Epoch))
	}
	return deliver.Batch{Source: testSource, Slots: []deliver.SlotWrite{w}}
}

func exception(endpoint string, seq uint64, state deliver.ExceptionState) deliver.Exception {
	return deliver.Exception{
		Source: testSource, Endpoint: endpoint, Seq: seq, Type: "rental.updated", EventID: eventID(int(seq)), State: state,
		Key: 1<<63 + seq, OtherKey: 3, Attempts: 2, NextAttemptMS: 5, CommitTimeMS: 4, Reason: "http_500",
		Payload: []byte("payload " + itoa(int(seq))), Subject: "rentals/1", Tenant: "t",
	}
}

func TestCommitWritesEverything(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, t.TempDir())
	c := claimOne(t, s, "a", testEndpoint)
	p := deliver.EndpointProgress{Source: testSource, Endpoint: testEndpoint, Progress: deliver.Progress{
		Floor: 10, Done: []deliver.SeqRange{{First: 12, Last: 20}}, DoneEvents: []deliver.EventRef{{Seq: 11, Type: "x"}}}}
	waiting, parked := exception(testEndpoint, 5, deliver.Waiting), exception(testEndpoint, 4, deliver.Parked)
	at := time.UnixMilli(1_790_000_000_123).UTC()
	first := attempt(testEndpoint, 1, c.Epoch)
	second := attempt(testEndpoint, 2, c.Epoch)
	second.Status, second.Outcome, second.Cause, second.BodySHA256 = 0, "timeout", "retry", [32]byte{}
	second.Error = strings.Repeat("ä", 150)
	w := deliver.SlotWrite{
		Slot: c.Slot, Epoch: c.Epoch, ReadSeq: 20,
		Progress: []deliver.EndpointProgress{p},
		Put:      []deliver.Exception{waiting, parked},
		Attempts: []deliver.Attempt{first, second},
		Expired:  []deliver.ExpiredRange{{Source: testSource, Endpoint: testEndpoint, SeqRange: deliver.SeqRange{First: 1, Last: 3}}},
		States:   []deliver.EndpointState{{Endpoint: testEndpoint, Disabled: true, Reason: "gone", At: at}},
	}
	commit := func(w deliver.SlotWrite) {
		t.Helper()
		if err := s.Commit(ctx, deliver.Batch{Source: testSource, Slots: []deliver.SlotWrite{w}}); err != nil {
			t.Fatal(err)
		}
	}
	commit(w)

	second.Error = strings.Repeat("ä", 100)
	check := func(what string, want any) func(got any, err error) {
		return func(got any, err error) {
			t.Helper()
			if d := cmp.Diff(want, got); d != "" || err != nil {
				t.Errorf("%s: %v %s", what, err, d)
			}
		}
	}
	slots, err := s.LoadSlots(ctx, testSource)
	check("slots", []deliver.SlotProgress{{Source: testSource, Slot: c.Slot, ReadSeq: 20}})(slots, err)
	progress, err := s.LoadProgress(ctx, testSource)
	check("progress", []deliver.EndpointProgress{p})(progress, err)
	check("waiting", []deliver.Exception{waiting})(load(t, s, LoadOptions{States: []deliver.ExceptionState{deliver.Waiting}}), nil)
	bare := parked
	bare.Payload = nil
	check("all, without payload", []deliver.Exception{bare})(load(t, s, LoadOptions{WithoutPayload: true,
		States: []deliver.ExceptionState{deliver.Behind, deliver.Parked}}), nil)
	one, ok, err := s.Exception(ctx, parked.ExceptionKey())
	check("one", parked)(one, err)
	if !ok {
		t.Error("no exception")
	}
	ofEvent, err := s.ExceptionsOfEvent(ctx, parked.EventID)
	check("of event", []deliver.Exception{bare})(ofEvent, err)
	counts, err := s.CountExceptions(ctx, testSource)
	check("counts", []ExceptionCount{{testEndpoint, deliver.Waiting, 1}, {testEndpoint, deliver.Parked, 1}})(counts, err)
	expired, err := s.Expired(ctx, testSource)
	check("expired", w.Expired)(expired, err)
	states, err := s.EndpointStates(ctx)
	check("states", w.States)(states, err)
	attempts, err := s.AttemptsOfEndpoint(ctx, testEndpoint, 10)
	check("attempts", []deliver.Attempt{second, first})(attempts, err)

	// The other source knows nothing of it.
	if other, err := s.LoadSlots(ctx, "other"); len(other) != 0 || err != nil {
		t.Error(other, err)
	}

	// A second batch takes it all back, and a smaller seq moves nothing.
	waiting.State, waiting.Payload = deliver.Parked, nil
	p.Clear = true
	commit(deliver.SlotWrite{Slot: c.Slot, Epoch: c.Epoch, ReadSeq: 3, Progress: []deliver.EndpointProgress{p},
		Put: []deliver.Exception{waiting}, Delete: []deliver.ExceptionKey{parked.ExceptionKey()}})
	slots, err = s.LoadSlots(ctx, testSource)
	check("slots", []deliver.SlotProgress{{Source: testSource, Slot: c.Slot, ReadSeq: 20}})(slots, err)
	progress, err = s.LoadProgress(ctx, testSource)
	check("progress", []deliver.EndpointProgress(nil))(progress, err)
	check("parked now", []deliver.Exception{waiting})(load(t, s, LoadOptions{
		States: []deliver.ExceptionState{deliver.Waiting, deliver.Behind, deliver.Parked}}), nil)
	if _, ok, err := s.Exception(ctx, parked.ExceptionKey()); ok || err != nil {
		t.Error("a deleted exception", ok, err)
	}
}

func load(t *testing.T, s *Store, opt LoadOptions) []deliver.Exception {
	t.Helper()
	var out []deliver.Exception
	if err := s.LoadExceptions(t.Context(), testSource, opt, func(e deliver.Exception) error {
		out = append(out, e)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLoadExceptionsInOrderAndStops(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	for _, endpoint := range []string{"b", "a"} {
		c := claimOne(t, s, "o", endpoint)
		w := deliver.SlotWrite{Slot: c.Slot, Epoch: c.Epoch}
		for _, seq := range []uint64{9, 100, 10} {
			w.Put = append(w.Put, exception(endpoint, seq, deliver.Waiting))
		}
		if err := s.Commit(t.Context(), deliver.Batch{Source: testSource, Slots: []deliver.SlotWrite{w}}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	stop := errors.New("stop")
	err := s.LoadExceptions(t.Context(), testSource, LoadOptions{States: []deliver.ExceptionState{deliver.Waiting}}, func(e deliver.Exception) error {
		got = append(got, e.Endpoint+itoa(int(e.Seq)))
		// Writing meanwhile works.
		c := claimOne(t, s, "o", e.Endpoint)
		if err := s.Commit(t.Context(), deliver.Batch{Source: testSource, Slots: []deliver.SlotWrite{{Slot: c.Slot, Epoch: c.Epoch,
			Delete: []deliver.ExceptionKey{e.ExceptionKey()}}}}); err != nil {
			return err
		}
		if len(got) == 5 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"a9", "a10", "a100", "b9", "b10"}, got); d != "" {
		t.Error(d)
	}
	if n := rowCount(t, s, "exceptions"); n != 1 {
		t.Errorf("%d exceptions left", n)
	}
}

func TestCommitRefusesAStaleSlotInFull(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, t.TempDir())
	old, good := claimOne(t, s, "a", "stale-endpoint"), claimOne(t, s, "a", testEndpoint)
	// It has something stored, so that a delete or an update that slipped through would show.
	kept := exception("stale-endpoint", 1, deliver.Waiting)
	full := func(c deliver.Claim, endpoint string, seq uint64) deliver.SlotWrite {
		return deliver.SlotWrite{
			Slot: c.Slot, Epoch: c.Epoch, ReadSeq: seq,
			Progress: []deliver.EndpointProgress{{Source: testSource, Endpoint: endpoint, Progress: deliver.Progress{Floor: seq}}},
			Put:      []deliver.Exception{exception(endpoint, seq, deliver.Parked)},
			Delete:   []deliver.ExceptionKey{kept.ExceptionKey()},
			Attempts: []deliver.Attempt{attempt(endpoint, int(seq), c.Epoch)},
			Expired:  []deliver.ExpiredRange{{Source: testSource, Endpoint: endpoint, SeqRange: deliver.SeqRange{First: 1, Last: seq}}},
			States:   []deliver.EndpointState{{Endpoint: endpoint, Disabled: true}},
		}
	}
	if err := s.Commit(ctx, deliver.Batch{Source: testSource, Slots: []deliver.SlotWrite{{Slot: old.Slot, Epoch: old.Epoch, Put: []deliver.Exception{kept}}}}); err != nil {
		t.Fatal(err)
	}
	claimOne(t, s, "a", "stale-endpoint")

	goodWrite := full(good, testEndpoint, 8)
	goodWrite.Delete = nil
	err := s.Commit(ctx, deliver.Batch{Source: testSource, Slots: []deliver.SlotWrite{full(old, "stale-endpoint", 9), goodWrite}})
	var stale *deliver.StaleError
	if !errors.As(err, &stale) || !errors.Is(err, deliver.ErrStale) || cmp.Diff([]int{old.Slot}, stale.Slots) != "" {
		t.Fatalf("got %v", err)
	}
	for _, table := range []string{"slot_progress", "endpoint_progress", "attempts", "expired", "endpoint_states"} {
		if n := rowCount(t, s, table); n != 1 {
			t.Errorf("%d rows in %s, want the good slot's alone", n, table)
		}
	}
	if _, ok, err := s.Exception(ctx, kept.ExceptionKey()); !ok || err != nil {
		t.Errorf("a stale owner removed an exception: %v", err)
	}
	if a, err := s.AttemptsOfEndpoint(ctx, testEndpoint, 5); len(a) != 1 || err != nil {
		t.Errorf("the good slot's attempts: %v %v", a, err)
	}
}

func TestCommitRefusesWhatTheEpochDoesNotFence(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	c := claimOne(t, s, "a", testEndpoint)
	const foreign = "search" // of another slot
	for name, w := range map[string]deliver.SlotWrite{
		"progress": {Progress: []deliver.EndpointProgress{{Source: testSource, Endpoint: foreign}}},
		"put":      {Put: []deliver.Exception{exception(foreign, 1, deliver.Parked)}},
		"delete":   {Delete: []deliver.ExceptionKey{{Source: testSource, Endpoint: foreign}}},
		"attempt":  {Attempts: []deliver.Attempt{attempt(foreign, 1, 1)}},
		"expired":  {Expired: []deliver.ExpiredRange{{Source: testSource, Endpoint: foreign}}},
		"state":    {States: []deliver.EndpointState{{Endpoint: foreign}}},
		"source":   {Attempts: []deliver.Attempt{{Source: "other", Endpoint: testEndpoint}}},
		"ranges":   {Progress: []deliver.EndpointProgress{{Source: testSource, Endpoint: testEndpoint, Progress: deliver.Progress{Done: []deliver.SeqRange{{First: 2, Last: 1}}}}}},
		"no state": {Put: []deliver.Exception{exception(testEndpoint, 1, 0)}},
	} {
		w.Slot, w.Epoch, w.ReadSeq = c.Slot, c.Epoch, 9
		if err := s.Commit(t.Context(), deliver.Batch{Source: testSource, Slots: []deliver.SlotWrite{w}}); err == nil {
			t.Errorf("%s: committed", name)
		}
	}
	if n := rowCount(t, s, "slot_progress"); n != 0 {
		t.Errorf("%d rows of refused batches", n)
	}
}

func TestAttemptsComeBackInFull(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, t.TempDir())
	c := claimOne(t, s, "a", testEndpoint)
	const n = 2*attemptRows + 7 // blocks and singles
	b := attemptsBatch(c, 0, n)
	if err := s.Commit(ctx, b); err != nil {
		t.Fatal(err)
	}
	got, err := s.AttemptsOfEndpoint(ctx, testEndpoint, n+1)
	if err != nil || len(got) != n {
		t.Fatalf("%d attempts, %v", len(got), err)
	}
	for i, a := range got {
		if d := cmp.Diff(b.Slots[0].Attempts[n-1-i], a); d != "" {
			t.Fatal(d)
		}
	}
	if got, err := s.AttemptsOfEvent(ctx, eventID(3)); err != nil || len(got) != 1 || got[0].Seq != 3 {
		t.Errorf("%v %v", got, err)
	}
	counts, err := s.CountAttempts(ctx)
	if err != nil || cmp.Diff(map[string]uint64{"ok": n}, counts) != "" {
		t.Errorf("%v %v", counts, err)
	}
	send := func(n int, attempt uint32, epoch uint64) deliver.Send {
		return deliver.Send{EventID: eventID(n), Endpoint: testEndpoint, Attempt: attempt, Epoch: epoch}
	}
	missing, err := s.MissingAttempts(ctx, []deliver.Send{send(1, 1, c.Epoch), send(2, 2, c.Epoch), send(n, 1, c.Epoch), send(4, 1, c.Epoch+1)})
	if d := cmp.Diff([]deliver.Send{send(2, 2, c.Epoch), send(n, 1, c.Epoch), send(4, 1, c.Epoch+1)}, missing); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, t.TempDir())
	c := claimOne(t, s, "a", testEndpoint)
	if err := s.Commit(ctx, attemptsBatch(c, 0, 100)); err != nil {
		t.Fatal(err)
	}
	before := time.UnixMicro(attempt(testEndpoint, 70, 1).StartedUS)
	for _, want := range []int{30, 30, 10, 0} {
		if n, err := s.Prune(ctx, before, 30); n != want || err != nil {
			t.Fatalf("pruned %d (%v), want %d", n, err, want)
		}
	}
	left, err := s.AttemptsOfEndpoint(ctx, testEndpoint, 100)
	if err != nil || len(left) != 30 || left[29].Seq != 70 {
		t.Errorf("%d left, %v", len(left), err)
	}
}

func TestEndpointState(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	at := time.UnixMilli(1_790_000_000_000).UTC()
	for _, disabled := range []bool{true, false} {
		e := deliver.EndpointState{Endpoint: testEndpoint, Disabled: disabled, Reason: "operator", At: at}
		if err := s.SetEndpointState(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		got, err := s.EndpointStates(t.Context())
		if d := cmp.Diff([]deliver.EndpointState{e}, got); d != "" || err != nil {
			t.Error(err, d)
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1000, 5000} {
		b.Run(itoa(n), func(b *testing.B) {
			s := open(b, b.TempDir())
			var endpoints []string
			var claims []deliver.Claim
			for i, used := 0, map[int]bool{}; len(claims) < 64; i++ {
				endpoint := "endpoint-" + itoa(i)
				if slot := deliver.SlotOf(endpoint); !used[slot] {
					used[slot] = true
					endpoints, claims = append(endpoints, endpoint), append(claims, claimOne(b, s, "a", endpoint))
				}
			}
			batch := deliver.Batch{Source: testSource}
			seq := 0
			b.ReportAllocs()
			cpu := cpuTime(b)
			for b.Loop() {
				batch.Slots = batch.Slots[:0]
				for i, c := range claims {
					batch.Slots = append(batch.Slots, deliver.SlotWrite{Slot: c.Slot, Epoch: c.Epoch, ReadSeq: uint64(seq + 1)})
					for range n / len(claims) {
						seq++
						batch.Slots[i].Attempts = append(batch.Slots[i].Attempts, attempt(endpoints[i], seq, c.Epoch))
					}
				}
				if err := s.Commit(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(seq)/b.Elapsed().Seconds(), "rows/s")
			// On a shared machine this says more than the rate.
			b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/float64(seq), "cpu-ns/row")
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
