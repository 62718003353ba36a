package eventlog

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/change"
)

// timedBlock returns a block with one change for each commit time.
func timedBlock(tb testing.TB, first uint64, size int, commits ...time.Time) []byte {
	tb.Helper()
	b := change.NewBuilder(source, 1)
	for _, at := range commits {
		b.BeginSegment(&change.Transaction{GTID: "0-1-7", CommitTime: at.UnixMicro()}, 0, nil, true)
		b.BeginChange(change.Insert, items)
		b.EndRow(change.AppendBytes(change.AppendUint(b.BeginRow(false), 1, first), 2, make([]byte, size), false), false, nil)
		b.EndChange()
		b.EndSegment(true)
	}
	out, err := b.Finish(first, change.Position{GTIDSet: "0-1-7"})
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// timedLog imports blocks with the times of their appends, so that no test has to wait.
type timedLog struct {
	im      *Importer
	next    uint64
	commits []time.Time // of seqs from 1 on
	appends []time.Time
}

func (l *timedLog) append(tb testing.TB, at time.Time, size int, commits ...time.Time) {
	tb.Helper()
	if err := l.im.Append(tb.Context(), timedBlock(tb, l.next, size, commits...), at); err != nil {
		tb.Fatal(err)
	}
	l.next += uint64(len(commits))
	for _, c := range commits {
		l.commits, l.appends = append(l.commits, c), append(l.appends, at)
	}
}

func newTimedLog(tb testing.TB, s *Server) *timedLog {
	tb.Helper()
	im, err := s.Import(tb.Context(), source, "0123456789abcdef")
	if err != nil {
		tb.Fatal(err)
	}
	return &timedLog{im: im, next: 1}
}

func (l *timedLog) finish(tb testing.TB, s *Server) *Log {
	tb.Helper()
	if err := l.im.Close(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	log, err := s.Stream(tb.Context(), source, "0123456789abcdef")
	if err != nil {
		tb.Fatal(err)
	}
	return log
}

func seqAt(tb testing.TB, l *Log, at time.Time) uint64 {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	seq, err := l.SeqAt(ctx, at)
	if err != nil {
		tb.Fatal(err)
	}
	return seq
}

func TestSeqAtOfAnEmptyLog(t *testing.T) {
	t.Parallel()
	l := openLog(t, open(t, options(t)))
	if got := seqAt(t, l, time.Now()); got != 0 {
		t.Errorf("got %d", got)
	}
	appendBlock(t, l, 1, 100, 0, 0)
	if got := seqAt(t, l, time.Unix(0, 0)); got != 99 {
		t.Errorf("a position alone: got %d", got)
	}
}

func TestSeqAt(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.segmentBytes = 16 << 10
	s := open(t, o)
	l, r := newTimedLog(t, s), rand.New(rand.NewPCG(1, 2))
	begin := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	now := begin
	for range 150 {
		// Appended up to a minute after the commit; commit times go back and forth within seconds.
		var commits []time.Time
		for range r.IntN(4) {
			commits = append(commits, now.Add(-time.Duration(r.Int64N(int64(20*time.Second)))))
		}
		l.append(t, now.Add(time.Duration(r.Int64N(int64(time.Second)))), r.IntN(300), commits...)
		now = now.Add(time.Second + time.Duration(r.Int64N(int64(2*time.Second))))
	}
	log := l.finish(t, s)
	if n := len(segmentsOf(t, o)); n < 3 {
		t.Fatalf("%d segments", n)
	}
	last := l.next - 1
	for i := range 200 {
		at := begin.Add(-time.Minute + time.Duration(i)*(now.Sub(begin)+2*time.Minute)/200)
		got := seqAt(t, log, at)
		if got < last && l.commits[got].Before(at.Truncate(time.Second)) {
			t.Errorf("%v: it stops before seq %d, which committed at %v", at, got+1, l.commits[got])
		}
		for seq := uint64(1); seq <= got; seq++ {
			if !l.commits[seq-1].Before(at) {
				t.Fatalf("%v: seq %d, which committed at %v, is skipped: got %d", at, seq, l.commits[seq-1], got)
			}
		}
	}
	if got := seqAt(t, log, time.Now().Add(time.Hour)); got != last {
		t.Errorf("after the end: %d, the last is %d", got, last)
	}
	if got := seqAt(t, log, begin.Add(-time.Hour)); got != 0 {
		t.Errorf("before the beginning: %d", got)
	}
}

// A log that caught up at the time has old changes that were appended late; looking through them ends.
func TestSeqAtOfALogThatWasBehind(t *testing.T) {
	t.Parallel()
	s := open(t, options(t))
	l := newTimedLog(t, s)
	begin := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for i := range 60 { // 60 MiB, committed hours before
		at := begin.Add(time.Duration(i) * time.Second)
		l.append(t, at, 1<<20, at.Add(-5*time.Hour))
	}
	log := l.finish(t, s)
	got := seqAt(t, log, begin)
	if got == 0 || got > 40 {
		t.Errorf("looked through %d blocks of 1 MiB", got)
	}
	if got := seqAt(t, log, begin.Add(59*time.Second)); got != 60 {
		t.Errorf("got %d, all 60 are older", got)
	}
}

// Blocks in several parts, and blocks in the ring.
func TestSeqAtOfLargeBlocks(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.MaxPayload = 1000
	s := open(t, o)
	l := newTimedLog(t, s)
	begin := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for i := range 20 {
		at := begin.Add(time.Duration(i) * time.Minute)
		l.append(t, at, 500*i, at, at)
	}
	log := l.finish(t, s)
	for i := range 20 {
		if got, want := seqAt(t, log, begin.Add(time.Duration(i)*time.Minute)), uint64(2*i); got != want {
			t.Errorf("block %d: got %d, want %d", i, got, want)
		}
	}
	before := l.next - 1
	b := timedBlock(t, l.next, 10, time.Now())
	if err := log.Append(t.Context(), b, mustHeader(t, b)); err != nil {
		t.Fatal(err)
	}
	if got := seqAt(t, log, time.Now().Add(-time.Minute)); got != before {
		t.Errorf("a fresh block: got %d, want %d", got, before)
	}
}

func mustHeader(t *testing.T, b []byte) change.Header {
	t.Helper()
	h, err := change.ParseHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	return h
}
