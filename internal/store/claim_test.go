package store

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/deliver"
)

// TestClaimRace lets 64 workers take the same slots from each other and write under each claim they got. Every worker keeps
// its own account; the store's rows are then compared with it.
func TestClaimRace(t *testing.T) {
	t.Parallel()
	const workers, rounds = 64, 3
	s := open(t, t.TempDir())
	endpoints := []string{"a", "b", "c", "d"}
	var slots []int
	for _, e := range endpoints {
		slots = append(slots, deliver.SlotOf(e))
	}

	type minted struct {
		slot  int
		epoch uint64
	}
	var mu sync.Mutex
	owners := map[minted]string{}
	written := map[string]uint64{} // event id to epoch, of commits that were accepted
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			owner := fmt.Sprintf("worker-%d", w)
			for round := range rounds {
				// A lease of nothing: anybody may take the slot the moment the clock moves on.
				claims, err := s.Claim(t.Context(), owner, slots, 0)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, c := range claims {
					k := minted{c.Slot, c.Epoch}
					if other, taken := owners[k]; taken {
						t.Errorf("epoch %d of slot %d belongs to %s and %s", c.Epoch, c.Slot, other, owner)
					}
					owners[k] = owner
				}
				mu.Unlock()
				b := deliver.Batch{Source: testSource}
				for _, c := range claims {
					endpoint := endpoints[slices.Index(slots, c.Slot)]
					a := attempt(endpoint, 0, c.Epoch)
					a.EventID = fmt.Sprintf("%s-%d-%d", owner, round, c.Slot)
					b.Slots = append(b.Slots, deliver.SlotWrite{Slot: c.Slot, Epoch: c.Epoch, ReadSeq: c.Epoch,
						Attempts: []deliver.Attempt{a}, Put: []deliver.Exception{exception(endpoint, c.Epoch, deliver.Parked)}})
				}
				err = s.Commit(t.Context(), b)
				var stale *deliver.StaleError
				if err != nil && !errors.As(err, &stale) {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, slot := range b.Slots {
					if stale == nil || !slices.Contains(stale.Slots, slot.Slot) {
						written[slot.Attempts[0].EventID] = slot.Epoch
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()

	stored := map[string]uint64{}
	last := map[string]uint64{}
	for _, e := range endpoints {
		attempts, err := s.AttemptsOfEndpoint(t.Context(), e, workers*rounds)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range attempts {
			stored[a.EventID] = a.Epoch
			// Newest first: an older epoch never writes after a newer one was minted and has written.
			if i > 0 && a.Epoch >= attempts[i-1].Epoch {
				t.Errorf("endpoint %s: epoch %d wrote after epoch %d", e, attempts[i-1].Epoch, a.Epoch)
			}
		}
		if len(attempts) > 0 {
			last[e] = attempts[0].Epoch
		}
	}
	if d := cmp.Diff(written, stored); d != "" {
		t.Errorf("accepted commits and stored rows differ: %s", d)
	}
	if n := rowCount(t, s, "exceptions"); n != len(written) {
		t.Errorf("%d exceptions, %d accepted writes", n, len(written))
	}
	slotProgress, err := s.LoadSlots(t.Context(), testSource)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range slotProgress {
		if e := endpoints[slices.Index(slots, p.Slot)]; p.ReadSeq != last[e] {
			t.Errorf("slot %d of %s read to %d, its last writer to %d", p.Slot, e, p.ReadSeq, last[e])
		}
	}
	t.Logf("%d epochs minted, %d writes accepted, %d refused", len(owners), len(written), len(owners)-len(written))
}

func TestLeases(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// Inside the bubble the clock moves only when everybody sleeps.
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir)
		defer s.Close()
		ctx := t.Context()
		claim := func(owner string, want ...int) []deliver.Claim {
			t.Helper()
			claims, err := s.Claim(ctx, owner, []int{0, 1, 255}, time.Minute)
			var got []int
			for _, c := range claims {
				got = append(got, c.Slot)
				if c.Owner != owner || time.Until(c.Until) != time.Minute {
					t.Errorf("claim %+v", c)
				}
			}
			if d := cmp.Diff(want, got); d != "" || err != nil {
				t.Errorf("%s: %v %s", owner, err, d)
			}
			return claims
		}
		a := claim("a", 0, 1, 255)
		claim("b")
		time.Sleep(59 * time.Second)
		claim("b")
		if lost, err := s.Renew(ctx, a[:2], time.Minute); len(lost) != 0 || err != nil {
			t.Error(lost, err)
		}
		time.Sleep(2 * time.Second)
		b := claim("b", 255)
		if b[0].Epoch != a[2].Epoch+1 {
			t.Errorf("epoch %d after %d", b[0].Epoch, a[2].Epoch)
		}
		if lost, err := s.Renew(ctx, a, time.Minute); cmp.Diff([]int{255}, lost) != "" || err != nil {
			t.Error(lost, err)
		}
		// Releasing what was lost does not take it from its new owner.
		if err := s.Release(ctx, a); err != nil {
			t.Fatal(err)
		}
		if lost, err := s.Renew(ctx, b, time.Minute); len(lost) != 0 || err != nil {
			t.Error(lost, err)
		}
		err := s.Commit(ctx, deliver.Batch{Source: testSource, Slots: []deliver.SlotWrite{{Slot: 0, Epoch: a[0].Epoch, ReadSeq: 1}}})
		if !errors.Is(err, deliver.ErrStale) {
			t.Errorf("a write after the release: %v", err)
		}
		c := claim("c", 0, 1)
		if again := claim("c", 0, 1); again[0].Epoch <= c[0].Epoch {
			t.Errorf("the same owner got epoch %d after %d", again[0].Epoch, c[0].Epoch)
		}
	})
}

func TestClaimRefuses(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	if _, err := s.Claim(t.Context(), "", []int{1}, time.Minute); err == nil {
		t.Error("an owner without a name")
	}
	for _, slot := range []int{-1, 256} {
		if claims, err := s.Claim(t.Context(), "a", []int{3, slot}, time.Minute); err == nil {
			t.Errorf("slot %d: %v", slot, claims)
		}
	}
	if claims, err := s.Claim(t.Context(), "b", []int{3}, time.Minute); len(claims) != 1 || err != nil {
		t.Errorf("a claim of a refused call stayed: %v %v", claims, err)
	}
}

func TestRestartTakesOverAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	old := claimOne(t, s, "node-1", testEndpoint)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	write := func(c deliver.Claim) error {
		return s.Commit(t.Context(), deliver.Batch{Source: testSource, Slots: []deliver.SlotWrite{{Slot: c.Slot, Epoch: c.Epoch, ReadSeq: 1}}})
	}
	if err := write(old); !errors.Is(err, deliver.ErrStale) {
		t.Errorf("a claim of the earlier process wrote: %v", err)
	}
	c := claimOne(t, s, "node-2", testEndpoint)
	if c.Epoch <= old.Epoch {
		t.Errorf("epoch %d after %d", c.Epoch, old.Epoch)
	}
	if err := write(c); err != nil {
		t.Error(err)
	}
}
