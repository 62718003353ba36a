package store

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestAnswerRace lets 64 requests with one key begin at once, again and again: one of them does the work.
func TestAnswerRace(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openSealed(t)
	for round := range 5 {
		key := itoa(round)
		var first, busy atomic.Int64
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				a, same, err := s.BeginAnswer(ctx, "k", key, [32]byte{byte(i % 2)})
				switch {
				case err != nil:
					t.Error(err)
				case a == nil:
					first.Add(1)
				case a.Status == 0:
					busy.Add(1)
					_ = same // half of them are other requests
				}
			})
		}
		wg.Wait()
		if first.Load() != 1 || busy.Load() != 63 {
			t.Fatalf("%d began, %d wait", first.Load(), busy.Load())
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		s := open(t, dir)
		s.SetSealer(testSealer(t, 1))
		one, other := [32]byte{1}, [32]byte{2}
		begin := func(key string, request [32]byte, want *Answer, wantSame bool) {
			t.Helper()
			a, same, err := s.BeginAnswer(ctx, "k", key, request)
			if err != nil || same != wantSame {
				t.Fatal(same, err)
			}
			if d := cmp.Diff(want, a); d != "" {
				t.Fatal(d)
			}
		}
		given := &Answer{Status: 201, Headers: map[string]string{"ETag": `"1"`}, Body: []byte("body")}
		begin("a", one, nil, false)
		begin("a", one, &Answer{}, true)
		begin("a", other, &Answer{}, false)
		if err := s.FinishAnswer(ctx, "k", "a", given); err != nil {
			t.Fatal(err)
		}
		begin("a", one, given, true)
		begin("a", other, given, false)
		if a, _, err := s.BeginAnswer(ctx, "another", "a", one); a != nil || err != nil {
			t.Errorf("another key's request is the same: %+v %v", a, err)
		}

		// One that failed may be tried again, one that a crash ended after two minutes, and by the same request alone.
		begin("b", one, nil, false)
		if err := s.FinishAnswer(ctx, "k", "b", nil); err != nil {
			t.Fatal(err)
		}
		begin("b", one, nil, false)
		time.Sleep(answerTakeover) // the bubble's clock
		begin("b", one, &Answer{}, true)
		time.Sleep(time.Millisecond)
		begin("b", other, &Answer{}, false)
		begin("b", one, nil, false)
		begin("b", one, &Answer{}, true)

		// A forgotten request does not take an answer with it.
		if err := s.FinishAnswer(ctx, "k", "a", nil); err != nil {
			t.Fatal(err)
		}
		begin("a", one, given, true)
		if n, err := s.PruneAnswers(ctx, 10); n != 0 || err != nil {
			t.Fatal(n, err)
		}
		time.Sleep(answerRetention - answerTakeover - 2*time.Millisecond)
		begin("a", one, given, true)
		time.Sleep(time.Millisecond)
		begin("a", other, nil, false)
		time.Sleep(answerRetention)
		for _, want := range []int{2, 1, 0} {
			if n, err := s.PruneAnswers(ctx, 2); n != want || err != nil {
				t.Errorf("pruned %d, want %d, %v", n, want, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAnswerTooLarge(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openSealed(t)
	if _, _, err := s.BeginAnswer(ctx, "k", "a", [32]byte{}); err != nil {
		t.Fatal(err)
	}
	if err := s.FinishAnswer(ctx, "k", "a", &Answer{Status: 200, Body: make([]byte, maxAnswer+1)}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	largest := []byte(strings.Repeat("x", maxAnswer))
	if err := s.FinishAnswer(ctx, "k", "a", &Answer{Status: 200, Body: largest}); err != nil {
		t.Fatal(err)
	}
	if a, _, err := s.BeginAnswer(ctx, "k", "a", [32]byte{}); err != nil || len(a.Body) != maxAnswer {
		t.Error(err)
	}
}
