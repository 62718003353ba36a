package eventlog

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// A block of several messages is one block; what a crash left of one is passed over.
func TestParts(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.MaxPayload = 1000
	s := open(t, o)
	torn := func(l *Log, seq uint64, parts int) {
		t.Helper()
		b, h := block(t, 1, seq, 1, 5000)
		marks, pieces := cut(b, h, l.writer, o.MaxPayload)
		e, err := l.takePlace(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := l.makeRoom(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.seq = l.place
		for i := range parts {
			if err := s.engine.publish(t.Context(), l.st, pieces[i], marks[i], e.seq+uint64(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	torn(openLog(t, s), 1, 2)
	l := openLog(t, s)
	if _, _, ok, err := l.Last(t.Context()); ok || err != nil {
		t.Fatalf("last of a log with a torn block alone: %v, %v", ok, err)
	}
	var want [][]byte
	add := func(l *Log, seq uint64, size int) {
		b, _ := appendBlock(t, l, 1, seq, 1, size)
		want = append(want, b)
	}
	add(l, 1, 5000)
	add(l, 2, 10)
	torn(openLog(t, s), 3, 3)
	torn(openLog(t, s), 3, 1)
	l = openLog(t, s)
	if last, _, ok, err := l.Last(t.Context()); err != nil || !ok || string(last) != string(want[1]) {
		t.Fatalf("last before torn blocks: %v %v", ok, err)
	}
	waiting := l.NewReader(3)
	add(l, 3, 20)
	add(l, 4, 3000)
	wantBlock(t, next(t, waiting), want[2])
	closeServer(t, s)

	s = open(t, o)
	l = openLog(t, s)
	if last, _, ok, err := l.Last(t.Context()); err != nil || !ok || string(last) != string(want[3]) {
		t.Fatalf("last block of several messages: %v %v", ok, err)
	}
	for from := range uint64(5) {
		r := l.NewReader(from)
		for _, b := range want[max(1, from)-1:] {
			wantBlock(t, next(t, r), b)
		}
	}
}

// A failed append of several messages is finished by the same append.
func TestPartsResumed(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.MaxPayload = 1000
	s := open(t, o)
	l := openLog(t, s)
	appendBlock(t, l, 1, 1, 1, 10)
	b, h := block(t, 1, 2, 1, 5000)
	marks, pieces := cut(b, h, l.writer, o.MaxPayload)
	if err := l.makeRoom(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if err := s.engine.publish(t.Context(), l.st, pieces[i], marks[i], l.place+uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Append(t.Context(), b, h); err != nil {
		t.Fatal(err)
	}
	wantBlock(t, next(t, l.NewReader(2)), b)
}

// Readers of every kind see the same blocks: from the ring, from the disk, starting anywhere, while blocks are appended.
func TestReaders(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.RingBytes = 20 << 10
	s := open(t, o)
	l := openLog(t, s)
	blocks := 300
	if o.segmentBytes == 1 {
		blocks = 60
	}
	starts := make([]uint64, blocks+1)
	all := make([][]byte, blocks)
	starts[0] = 1
	r := rand.New(rand.NewPCG(1, 2))
	for i := range blocks {
		b, h := block(t, 1, starts[i], 1+r.IntN(5), r.IntN(900))
		all[i], starts[i+1] = b, h.NextSeq()
	}
	appendAll := func(from, to int) {
		for i := from; i < to; i++ {
			_, h := block(t, 1, starts[i], int(starts[i+1]-starts[i]), 0)
			h.FirstSeq = starts[i]
			if err := l.Append(t.Context(), all[i], h); err != nil {
				t.Error(err)
				return
			}
		}
	}
	appendAll(0, blocks/2)
	var wg sync.WaitGroup
	for i := 0; i < blocks; i += 23 {
		wg.Go(func() {
			rd := l.NewReader(starts[i+1] - 1) // the last change of block i
			for j := i; j < blocks; j++ {
				e, err := rd.Next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if string(e.Block) != string(all[j]) {
					t.Errorf("reader from block %d: block %d is another one (seq %d, expected %d)", i, j, e.Header.FirstSeq, starts[j])
					return
				}
			}
		})
	}
	appendAll(blocks/2, blocks)
	wg.Wait()
}

func TestReaderStops(t *testing.T) {
	t.Parallel()
	s := open(t, options(t))
	l := openLog(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error)
	go func() {
		_, err := l.NewReader(0).Next(ctx)
		got <- err
	}()
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Fatalf("after cancel: %v", err)
	}
	go func() {
		_, err := l.NewReader(7).Next(t.Context())
		got <- err
	}()
	closeServer(t, s)
	if err := <-got; !errors.Is(err, ErrClosed) {
		t.Fatalf("after close: %v", err)
	}
}

func TestExpired(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Retention = 500 * time.Millisecond
	o.RingBytes = 1
	s := open(t, o)
	l := openLog(t, s)
	behind := l.NewReader(1)
	b, _ := appendBlock(t, l, 1, 1, 2, 10)
	wantBlock(t, next(t, behind), b)
	appendBlock(t, l, 1, 3, 2, 10)
	gone := func() bool {
		st, err := l.State(t.Context())
		return err == nil && st.Messages == 0
	}
	await(t, "the blocks to expire", gone)
	wantExpired(t, behind, 3, 5)
	wantExpired(t, l.NewReader(2), 2, 5)
	if _, _, _, err := openLog(t, s).Last(t.Context()); !errors.Is(err, ErrExpired) {
		t.Fatalf("last of a log that has expired: %v", err)
	}
	if first, err := l.First(t.Context()); err != nil || first != 5 {
		t.Fatalf("first: %d %v", first, err)
	}
	// Another run remembers nothing of the blocks, and takes any seq.
	closeServer(t, s)
	o.Retention = time.Hour
	s = open(t, o)
	l = openLog(t, s)
	b, _ = appendBlock(t, l, 2, 5, 1, 10)
	wantExpired(t, l.NewReader(2), 2, 5)
	wantBlock(t, next(t, l.NewReader(5)), b)
	wantBlock(t, next(t, l.NewReader(0)), b)
}

func wantExpired(t *testing.T, r *Reader, wanted, first uint64) {
	t.Helper()
	_, err := r.Next(t.Context())
	var expired *ExpiredError
	if !errors.As(err, &expired) || !errors.Is(err, ErrExpired) || expired.Wanted != wanted || expired.First != first {
		t.Fatalf("expected seq %d to have expired up to %d: %v", wanted, first, err)
	}
}

// A byte that changed on the disk is noticed, and named.
func TestCorrupt(t *testing.T) {
	t.Parallel()
	o := options(t)
	s := open(t, o)
	l := openLog(t, s)
	for seq := uint64(1); seq <= 20; seq++ {
		appendBlock(t, l, 1, seq, 1, 1000)
	}
	closeServer(t, s)
	files, err := filepath.Glob(filepath.Join(o.Dir, "jetstream", "*", "streams", "*", "msgs", "*.blk"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files of the log: %v %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	// Within the row data of a block in the middle, which is all zeros.
	at := len(data)/2 + bytes.Index(data[len(data)/2:], make([]byte, 500)) + 250
	data[at] ^= 1
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err = Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeServer(t, s) })
	l, err = s.Stream(t.Context(), source, "")
	if err == nil {
		r := l.NewReader(1)
		for n := 0; err == nil; n++ {
			if n == 20 {
				t.Fatal("all blocks were read")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, err = r.Next(ctx)
			cancel()
		}
	}
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || !errors.Is(err, ErrCorrupt) || corrupt.StreamSeq == 0 {
		t.Fatalf("a changed byte: %v", err)
	}
}
