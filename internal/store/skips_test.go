package store

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSkips(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	ctx := t.Context()
	if _, err := s.LastStop(ctx, "shop"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the stop of a source that never stopped is %v", err)
	}
	stop := Stop{Source: "shop", GTID: "0-1-7", File: "log.000001", Offset: 1 << 33, Seq: 12, Code: "incident", Message: "it stopped", At: now()}
	for _, p := range []Stop{{Source: "shop", GTID: "0-1-5", At: now()}, stop, {Source: "other", GTID: "0-1-9", At: now()}} {
		if err := s.SaveStop(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.LastStop(ctx, "shop"); err != nil || cmp.Diff(stop, got) != "" {
		t.Errorf("the stop is %+v, %v; want %+v", got, err, stop)
	}
	first := Skip{Stop: stop, Reason: "nobody needs it", By: "socket"}
	second := Skip{Stop: Stop{Source: "shop", File: "log.000002", Offset: 4, FileCreated: 99, Seq: 20, Code: "xa_transaction", Message: "again",
		At: stop.At.Add(time.Second)}, Reason: "nor this", By: "key_1"}
	for _, k := range []Skip{first, second, {Stop: stop, Reason: "a second time", By: "socket"}} {
		if err := s.AddSkip(ctx, k); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.LastStop(ctx, "shop"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the stop is still there after its cure: %v", err)
	}
	if err := s.ClearStop(ctx, "other"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.LastStop(ctx, "other"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a forgotten stop is still there: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, dir).Skips(ctx, "shop")
	if diff := cmp.Diff([]Skip{first, second}, got); err != nil || diff != "" {
		t.Errorf("gaps after a restart: %v\n%s", err, diff)
	}
}
