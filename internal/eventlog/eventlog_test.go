package eventlog

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/rowhook/rowhook/internal/change"
)

func TestReopen(t *testing.T) {
	t.Parallel()
	o := options(t)
	s := open(t, o)
	l := openLog(t, s)
	if _, _, ok, err := l.Last(t.Context()); ok || err != nil {
		t.Fatalf("last of an empty log: %v, %v", ok, err)
	}
	var want [][]byte
	seq := uint64(1000)
	for i := range 50 {
		b, h := appendBlock(t, l, 1, seq, i%4, 100*i) // some are empty: only the position moves
		want, seq = append(want, b), h.NextSeq()
	}
	id := l.ID()
	closeServer(t, s)
	b, h := block(t, 1, seq, 1, 10)
	if err := l.Append(t.Context(), b, h); !errors.Is(err, ErrClosed) {
		t.Fatalf("append after close: %v", err)
	}

	s = open(t, o)
	l, err := s.Stream(t.Context(), source, id)
	if err != nil {
		t.Fatal(err)
	}
	last, h, ok, err := l.Last(t.Context())
	if err != nil || !ok || string(last) != string(want[49]) || h.NextSeq() != seq {
		t.Fatalf("last: %v %v, seq %d", ok, err, h.NextSeq())
	}
	if n, pos, at := l.Tail(); n != seq || pos.Offset != h.FirstSeq || at.IsZero() {
		t.Fatalf("tail: %d %v %v", n, pos, at)
	}
	if first, err := l.First(t.Context()); err != nil || first != 1000 {
		t.Fatalf("first: %d, %v", first, err)
	}
	if st, err := l.State(t.Context()); err != nil || st.Messages != 50 || st.Bytes == 0 || st.Oldest.IsZero() {
		t.Fatalf("state: %+v, %v", st, err)
	}
	r := l.NewReader(0)
	for _, b := range want {
		wantBlock(t, next(t, r), b)
	}
	b, _ = appendBlock(t, l, 2, seq, 1, 10)
	wantBlock(t, next(t, r), b)
}

func TestLockedFolder(t *testing.T) {
	t.Parallel()
	o := options(t)
	open(t, o)
	_, err := Open(t.Context(), o)
	var locked *LockedError
	if !errors.As(err, &locked) || !errors.Is(err, ErrLocked) || locked.PID != os.Getpid() {
		t.Fatalf("second open: %v", err)
	}
	if !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Fatalf("the error does not name the process: %v", err)
	}
}

func TestWrongLog(t *testing.T) {
	t.Parallel()
	s := open(t, options(t))
	if _, err := s.Stream(t.Context(), source, "0123456789abcdef"); !errors.Is(err, ErrWrongLog) {
		t.Fatalf("a log that is not there: %v", err)
	}
	l := openLog(t, s)
	if _, err := s.Stream(t.Context(), source, "0123456789abcdef"); !errors.Is(err, ErrWrongLog) {
		t.Fatalf("another log: %v", err)
	}
	if again, err := s.Stream(t.Context(), source, l.ID()); err != nil || again.ID() != l.ID() {
		t.Fatalf("the right log: %v", err)
	}
	for _, name := range []string{"", "a.b", "a b", "ä", "*", strings.Repeat("x", 101)} {
		if _, err := s.Stream(t.Context(), name, ""); err == nil {
			t.Errorf("source name %q was accepted", name)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Options){
		"dir":       func(o *Options) { o.Dir = "" },
		"log":       func(o *Options) { o.Log = nil },
		"retention": func(o *Options) { o.Retention = 0 },
		"payload":   func(o *Options) { o.MaxPayload = 9 << 20 },
		"ring":      func(o *Options) { o.RingBytes = -1 },
	} {
		o := options(t)
		change(&o)
		if _, err := Open(t.Context(), o); err == nil {
			t.Errorf("bad %s was accepted", name)
		}
	}
}

func TestFence(t *testing.T) {
	t.Parallel()
	s := open(t, options(t))
	a, b := openLog(t, s), openLog(t, s)
	appendBlock(t, a, 1, 1, 3, 10)
	if _, _, _, err := b.Last(t.Context()); err != nil {
		t.Fatal(err)
	}
	appendBlock(t, a, 1, 4, 0, 0)
	// b took its place before that block: although its seq fits, it must not pass.
	stale, h := block(t, 2, 4, 2, 10)
	if err := b.Append(t.Context(), stale, h); !errors.Is(err, ErrFenced) {
		t.Fatalf("append from a stale place: %v", err)
	}
	c := openLog(t, s)
	appendBlock(t, c, 3, 4, 2, 10)
	for range 2 {
		late, h := block(t, 1, 6, 1, 10)
		if err := a.Append(t.Context(), late, h); !errors.Is(err, ErrFenced) {
			t.Fatalf("append after another writer: %v", err)
		}
	}
	old, h := block(t, 2, 6, 1, 10)
	if err := openLog(t, s).Append(t.Context(), old, h); !errors.Is(err, ErrFenced) {
		t.Fatalf("append with an older epoch: %v", err)
	}
	appendBlock(t, c, 3, 6, 1, 10)
}

// Many writers race for every place; whoever passes, the log has no gap and no block twice.
func TestRacingWriters(t *testing.T) {
	t.Parallel()
	s := open(t, options(t))
	const writers, rounds = 8, 20
	var wg sync.WaitGroup
	var mu sync.Mutex
	acked := map[uint64]int{}
	for w := range writers {
		wg.Go(func() {
			for range rounds {
				l, err := s.Stream(t.Context(), source, "")
				if err != nil {
					t.Error(err)
					return
				}
				_, h, _, err := l.Last(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				first := max(1, h.NextSeq())
				b, bh := block(t, 1, first, 1, 10+w)
				switch err := l.Append(t.Context(), b, bh); {
				case err == nil:
					mu.Lock()
					acked[first]++
					mu.Unlock()
				case !errors.Is(err, ErrFenced):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	l := openLog(t, s)
	end, _, _ := l.Tail()
	if int(end-1) != len(acked) || end == 1 {
		t.Fatalf("%d blocks acknowledged, the log ends at %d", len(acked), end)
	}
	r := l.NewReader(1)
	for seq := uint64(1); seq < end; seq++ {
		if acked[seq] != 1 {
			t.Errorf("seq %d was acknowledged %d times", seq, acked[seq])
		}
		if e := next(t, r); e.Header.FirstSeq != seq {
			t.Fatalf("block %d, expected %d", e.Header.FirstSeq, seq)
		}
	}
}

func TestBadAppends(t *testing.T) {
	t.Parallel()
	s := open(t, options(t))
	l := openLog(t, s)
	appendBlock(t, l, 1, 1, 3, 10)
	b, h := block(t, 1, 9, 1, 10)
	for name, err := range map[string]error{
		"gap":     l.Append(t.Context(), b, h),
		"header":  l.Append(t.Context(), b, change.Header{FirstSeq: 4, Changes: 1, Epoch: 1}),
		"garbage": l.Append(t.Context(), []byte("no block"), h),
		"empty":   l.Append(t.Context(), nil, h),
	} {
		if err == nil || errors.Is(err, ErrFenced) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Stream(t.Context(), "other", ""); err != nil {
		t.Fatal(err)
	}
	other, err := s.Stream(t.Context(), "other", "")
	if err != nil {
		t.Fatal(err)
	}
	b, h = block(t, 1, 1, 1, 10)
	if err := other.Append(t.Context(), b, h); err == nil {
		t.Error("a block of another source was taken")
	}
	appendBlock(t, l, 1, 4, 1, 10)
}

// An append whose acknowledgement was lost is found again, and is there once.
func TestUnknownOutcome(t *testing.T) {
	t.Parallel()
	s := open(t, options(t))
	l := openLog(t, s)
	appendBlock(t, l, 1, 1, 1, 10)
	b, h := block(t, 1, 2, 2, 100)
	marks, _ := cut(b, h, l.writer, DefaultMaxPayload)
	if err := l.makeRoom(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.engine.publish(t.Context(), l.st, b, marks[0], l.place); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(t.Context(), b, h); err != nil {
		t.Fatalf("append again: %v", err)
	}
	appendBlock(t, l, 1, 4, 1, 10)

	// The same, settled by Last.
	b, h = block(t, 1, 5, 2, 100)
	marks, _ = cut(b, h, l.writer, DefaultMaxPayload)
	if err := l.makeRoom(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.engine.publish(t.Context(), l.st, b, marks[0], l.place); err != nil {
		t.Fatal(err)
	}
	if _, h, _, err := l.Last(t.Context()); err != nil || h.NextSeq() != 7 {
		t.Fatalf("last: %v, next seq %d", err, h.NextSeq())
	}
	appendBlock(t, l, 1, 7, 1, 10)
	r := l.NewReader(1)
	for _, want := range []uint64{1, 2, 4, 5, 7} {
		if e := next(t, r); e.Header.FirstSeq != want {
			t.Fatalf("block %d, expected %d", e.Header.FirstSeq, want)
		}
	}
}
