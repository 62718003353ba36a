package api

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimiterRefills(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter()
		a := netip.MustParseAddr("203.0.113.9")
		for range 1000 {
			l.wrong(a, [32]byte{})
		}
		wait := l.wait(a, [32]byte{})
		if wait <= 0 || wait > failureRefill {
			t.Fatalf("wait %s", wait)
		}
		time.Sleep(wait)
		if l.wait(a, [32]byte{}) != 0 {
			t.Error("it waits longer than it says")
		}
		l.wrong(a, [32]byte{})
		if l.wait(a, [32]byte{}) == 0 {
			t.Error("one failure does not use up what has come back")
		}
		time.Sleep(failureBurst * failureRefill)
		for range failureBurst - 1 {
			l.wrong(a, [32]byte{})
		}
		if l.wait(a, [32]byte{}) != 0 {
			t.Error("the burst does not come back whole")
		}
	})
}

func TestLimiterIsBounded(t *testing.T) {
	t.Parallel()
	l := newLimiter()
	for i := range 3 * maxAddresses {
		l.wrong(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), [32]byte{})
		l.right([32]byte{byte(i >> 16), byte(i >> 8), byte(i)})
	}
	if len(l.full) > maxAddresses || len(l.lately) > maxRightKeys {
		t.Errorf("%d addresses, %d keys", len(l.full), len(l.lately))
	}
}
