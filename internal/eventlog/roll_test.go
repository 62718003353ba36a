package eventlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rowhook/rowhook/internal/change"
)

const (
	stopSealed  = "sealed"
	stopCreated = "created"
	stopBlock   = "block"
)

// seal closes the newest segment and goes no further.
func seal(ctx context.Context, l *Log) (mark, error) {
	if _, err := l.takePlace(ctx); err != nil {
		return mark{}, err
	}
	m := mark{firstSeq: l.st.tail.header.NextSeq(), part: 1, parts: 1, writer: l.writer, seal: l.st.segs.newest().number + 1}
	return m, l.put(ctx, nil, m, l.place)
}

// dieRolling appends a block, rolls as far as a step, and dies.
func dieRolling(ctx context.Context, l *Log, h change.Header, step string) error {
	b, bh := childBlock(h.Epoch+1, max(1, h.NextSeq()))
	if err := l.Append(ctx, b, bh); err != nil {
		return err
	}
	m, err := seal(ctx, l)
	if err != nil {
		return err
	}
	if step != stopSealed {
		l.st.closed(l.st.segs.newest(), l.place+1, m)
		if err := l.st.succeed(ctx); err != nil {
			return err
		}
	}
	if step == stopBlock {
		b, bh = childBlock(bh.Epoch, bh.NextSeq())
		l.place++
		if err := l.Append(ctx, b, bh); err != nil {
			return err
		}
	}
	return errors.Join(syscall.Kill(os.Getpid(), syscall.SIGKILL), errors.New("still alive"))
}

// A process may die at every step of a roll.
func TestKillRolling(t *testing.T) {
	t.Parallel()
	for _, step := range []string{stopSealed, stopCreated, stopBlock} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.MaxPayload = 64 << 10
			var end uint64
			for range 3 {
				cmd := exec.CommandContext(t.Context(), os.Args[0])
				cmd.Env = append(os.Environ(), childDir+"="+o.Dir, childSegment+"=1000000000", childStop+"="+step)
				out, err := cmd.CombinedOutput()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.Exited() {
					t.Fatalf("child: %v, %s", err, out)
				}
				s := open(t, o)
				l := openLog(t, s)
				_, h, ok, err := l.Last(t.Context())
				if err != nil || !ok || h.NextSeq() <= end {
					t.Fatalf("last: %v %v, seq %d", ok, err, h.NextSeq())
				}
				end = h.NextSeq()
				b, bh := childBlock(h.Epoch, end)
				if err := l.Append(t.Context(), b, bh); err != nil {
					t.Fatal(err)
				}
				end = bh.NextSeq()
				checkChildBlocks(t, l, end, end)
				closeServer(t, s)
			}
			if n := len(segmentsOf(t, o)); n != 4 {
				t.Fatalf("%d segments after 3 rolls", n)
			}
		})
	}
}

func segmentsOf(t *testing.T, o Options) []string {
	t.Helper()
	f, err := streamFolders(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A writer with a place from before a roll is refused, wherever the roll has come to.
func TestFenceRolling(t *testing.T) {
	t.Parallel()
	s := open(t, options(t))
	a, b, c := openLog(t, s), openLog(t, s), openLog(t, s)
	appendBlock(t, a, 1, 1, 1, 10)
	for _, l := range []*Log{b, c} {
		if _, _, _, err := l.Last(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(l *Log, seq uint64) {
		t.Helper()
		late, h := block(t, 5, seq, 1, 10)
		if err := l.Append(t.Context(), late, h); !errors.Is(err, ErrFenced) {
			t.Fatalf("an append from a stale place: %v", err)
		}
	}
	m, err := seal(t.Context(), openLog(t, s))
	if err != nil {
		t.Fatal(err)
	}
	refused(a, 2) // the seal stands in its place
	l := openLog(t, s)
	if _, _, _, err := l.Last(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := l.st.segs.newest(); n.number != 2 || n.first != m.firstSeq || n.base != 2 || l.place != 2 {
		t.Fatalf("after a seal: %+v, place %d", n, l.place)
	}
	refused(b, 2) // the next segment is there, and empty
	appendBlock(t, l, 5, 2, 1, 10)
	refused(c, 2) // and has a block
	appendBlock(t, l, 5, 3, 1, 10)
	r := l.NewReader(1)
	for seq := uint64(1); seq < 4; seq++ {
		if e := next(t, r); e.Header.FirstSeq != seq {
			t.Fatalf("block %d, expected %d", e.Header.FirstSeq, seq)
		}
	}
}

// Many find a seal that nobody has followed up; one segment comes of it.
func TestRacingSuccessors(t *testing.T) {
	t.Parallel()
	s := open(t, options(t))
	l := openLog(t, s)
	appendBlock(t, l, 1, 1, 3, 10)
	if _, err := seal(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	const racers = 8
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range racers {
		wg.Go(func() {
			// Each with a view of its own, as another process has it.
			st, err := s.open(t.Context(), source, l.ID())
			if err != nil {
				t.Error(err)
				return
			}
			b, h := block(t, 1, 4, 1, 10)
			switch err := (&Log{st: st, writer: fmt.Sprintf("%016d", i)}).Append(t.Context(), b, h); {
			case err == nil:
				mu.Lock()
				won++
				mu.Unlock()
			case !errors.Is(err, ErrFenced) && st.tail.header.NextSeq() == 4:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	e, err := s.running(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.st.list(t.Context(), e)
	if err != nil || len(c) != 2 || won != 1 || c.last() != 3 {
		t.Fatalf("%d segments, %d appends, %v", len(c), won, err)
	}
}

// Segments whose blocks have expired are deleted; readers that stand in one lose what it held, and are told.
func TestDropSpent(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Retention = time.Second
	o.RingBytes, o.segmentBytes = 1, 1
	s := open(t, o)
	l := openLog(t, s)
	for seq := uint64(1); seq <= 5; seq++ {
		appendBlock(t, l, 1, seq, 1, 10)
	}
	behind, abreast, fresh := l.NewReader(1), l.NewReader(5), l.NewReader(0)
	next(t, behind)
	next(t, abreast)
	await(t, "the blocks to expire", func() bool {
		st, err := l.State(t.Context())
		return err == nil && st.Messages == 0
	})
	b, _ := appendBlock(t, l, 1, 6, 1, 10)
	l.st.dropSpent(t.Context())
	if n := len(l.st.segs); n != 1 {
		t.Fatalf("%d segments are left", n)
	}
	e, err := s.running(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c, err := l.st.list(t.Context(), e); err != nil || len(c) != 1 || c[0].number != 6 {
		t.Fatalf("the server has %+v, %v", c, err)
	}
	wantExpired(t, behind, 2, 6)
	wantExpired(t, l.NewReader(3), 3, 6)
	wantBlock(t, next(t, abreast), b)
	wantBlock(t, next(t, fresh), b)
	await(t, "the last block to expire", func() bool {
		st, err := l.State(t.Context())
		return err == nil && st.Messages == 0
	})
	closeServer(t, s)
	l = openLog(t, open(t, o))
	if _, _, _, err := l.Last(t.Context()); !errors.Is(err, ErrExpired) {
		t.Fatalf("last of a log that has expired: %v", err)
	}
	if low, h := block(t, 1, 5, 1, 10); l.Append(t.Context(), low, h) == nil {
		t.Fatal("a log that has expired went back")
	}
	b, _ = appendBlock(t, l, 1, 7, 1, 10)
	wantBlock(t, next(t, l.NewReader(7)), b)
}

// What a crash leaves of a segment's creation or deletion is cleared away; what may hold a block is not, nor is it passed over.
func TestHalfSegments(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.segmentBytes = 1
	s := open(t, o)
	l := openLog(t, s)
	for seq := uint64(1); seq <= 3; seq++ {
		appendBlock(t, l, 1, seq, 1, 5000)
	}
	closeServer(t, s)
	folders := segmentsOf(t, o)
	half := filepath.Join(filepath.Dir(folders[0]), newSegment(source, 4, 0, 0).name)
	if err := os.MkdirAll(filepath.Join(half, "msgs"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{descriptionFile: "{", filepath.Join("msgs", "1.blk"): "x"} {
		if err := os.WriteFile(filepath.Join(half, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(folders[0], descriptionFile)); err != nil { // being deleted
		t.Fatal(err)
	}
	s = open(t, o)
	l = openLog(t, s)
	if first, err := l.First(t.Context()); err != nil || first != 2 {
		t.Fatalf("first: %d %v", first, err)
	}
	appendBlock(t, l, 1, 4, 1, 10)
	closeServer(t, s)
	if f := segmentsOf(t, o); len(f) != 3 || f[2] != half || !described(half) {
		t.Fatalf("segments: %v", f)
	}
	for _, i := range []int{1, 2} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			sum := filepath.Join(segmentsOf(t, o)[i], checksumFile)
			good, err := os.ReadFile(sum)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(sum, make([]byte, checksumLen), 0o600); err != nil {
				t.Fatal(err)
			}
			s := open(t, o)
			if _, err := s.Stream(t.Context(), source, ""); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("a segment whose description is damaged: %v", err)
			}
			closeServer(t, s)
			if err := os.WriteFile(sum, good, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
	r := openLog(t, open(t, o)).NewReader(0)
	for seq := uint64(2); seq <= 4; seq++ {
		if e := next(t, r); e.Header.FirstSeq != seq {
			t.Fatalf("block %d, expected %d", e.Header.FirstSeq, seq)
		}
	}
}

// An append that is tried again goes on with what it had begun, though the segment may have become full meanwhile, or no longer be.
func TestRollTriedAgain(t *testing.T) {
	t.Parallel()
	s := open(t, options(t))
	l := openLog(t, s)
	appendBlock(t, l, 1, 1, 1, 10)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for seq := uint64(2); seq < 6; seq++ {
		b, h := block(t, 1, seq, 1, 10)
		s.opts.segmentBytes = 1 << 30 >> (30 * (seq % 2)) // what is begun is a block, or a seal
		marks, _ := cut(b, h, l.writer, DefaultMaxPayload)
		m := marks[0]
		if seq%2 == 1 {
			m, b = mark{firstSeq: seq, part: 1, parts: 1, writer: l.writer, seal: l.st.segs.newest().number + 1}, nil
		}
		if err := l.Append(gone, mustBlock(t, seq), h); err == nil {
			t.Fatal("an append without time")
		}
		if err := s.engine.publish(t.Context(), l.st, b, m, l.place); err != nil && !isFenced(err) {
			t.Fatal(err)
		}
		s.opts.segmentBytes = 1 << 30 >> (30 * ((seq + 1) % 2))
		if err := l.Append(t.Context(), mustBlock(t, seq), h); err != nil {
			t.Fatalf("block %d again: %v", seq, err)
		}
	}
	r := l.NewReader(1)
	for seq := uint64(1); seq < 6; seq++ {
		if e := next(t, r); e.Header.FirstSeq != seq {
			t.Fatalf("block %d, expected %d", e.Header.FirstSeq, seq)
		}
	}
	if n := l.st.segs.newest().number; n != 3 {
		t.Fatalf("%d segments", n)
	}
}

func mustBlock(t *testing.T, seq uint64) []byte {
	b, _ := block(t, 1, seq, 1, 10)
	return b
}

// isFenced says whether the message was there already.
func isFenced(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && isFence(api.ErrorCode)
}
