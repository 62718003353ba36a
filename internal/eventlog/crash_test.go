package eventlog

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/change"
)

const (
	// childDir makes the test binary a writer that appends until it is killed.
	childDir = "ROWHOOK_TEST_LOG_DIR"
	// childSegment is the size of its segments.
	childSegment = "ROWHOOK_TEST_LOG_SEGMENT"
	// childStop is a step of the first roll after which it kills itself.
	childStop = "ROWHOOK_TEST_LOG_STOP"
)

// child prints the seq after each block as soon as that block is acknowledged.
func child(dir, segment, stop string) int {
	ctx := context.Background()
	size, err := strconv.ParseInt(segment, 10, 64)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s, err := Open(ctx, Options{Dir: dir, Retention: time.Hour, MaxPayload: 64 << 10, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), segmentBytes: size})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l, err := s.Stream(ctx, source, "")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, h, _, err := l.Last(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if stop != "" {
		fmt.Fprintln(os.Stderr, dieRolling(ctx, l, h, stop))
		return 1
	}
	out := bufio.NewWriter(os.Stdout)
	for seq, epoch := max(1, h.NextSeq()), h.Epoch+1; ; {
		b, bh := childBlock(epoch, seq)
		if err := l.Append(ctx, b, bh); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		seq = bh.NextSeq()
		fmt.Fprintln(out, seq)
		if err := out.Flush(); err != nil {
			return 1
		}
	}
}

// childBlock is small, large, or of several messages, and the same whenever it is made.
func childBlock(epoch, seq uint64) ([]byte, change.Header) {
	r := rand.New(rand.NewPCG(epoch, seq))
	n, size := 1+r.IntN(20), 100
	if r.IntN(4) == 0 {
		size = 20000
	}
	b := change.NewBuilder(source, epoch)
	b.BeginSegment(&change.Transaction{GTID: "0-1-" + strconv.FormatUint(seq, 10)}, 0, nil, true)
	data := make([]byte, size)
	for i := range n {
		for j := 0; j+8 <= size; j += 8 {
			binary.LittleEndian.PutUint64(data[j:], r.Uint64())
		}
		b.BeginChange(change.Insert, items)
		row := change.AppendUint(b.BeginRow(false), 1, seq+uint64(i))
		b.EndRow(change.AppendBytes(row, 2, data, false), false, nil)
		b.EndChange()
	}
	b.EndSegment(true)
	out, err := b.Finish(seq, change.Position{GTIDSet: "0-1-" + strconv.FormatUint(seq, 10)})
	if err != nil {
		panic(err)
	}
	h, err := change.ParseHeader(out)
	if err != nil {
		panic(err)
	}
	return out, h
}

// Killed at any moment, the log holds every acknowledged block once and in order, and at most one block more each time.
func TestKill(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.MaxPayload = 64 << 10
	rounds, blocks := 5, 100
	if o.segmentBytes < defaultSegmentBytes {
		rounds, blocks = 3, 30 // it is the rolls that count
	}
	var acked uint64
	for round := range rounds {
		acked = runAndKill(t, o, 10+rand.IntN(blocks))
		s := open(t, o)
		l := openLog(t, s)
		_, h, ok, err := l.Last(t.Context())
		if err != nil || !ok {
			t.Fatalf("round %d: last: %v %v", round, ok, err)
		}
		end := h.NextSeq()
		checkChildBlocks(t, l, acked, end)
		closeServer(t, s)
	}
}

// runAndKill returns the seq after the last block acknowledged by a child that was killed around its nth one.
func runAndKill(t *testing.T, o Options, n int) uint64 {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+o.Dir, childSegment+"="+strconv.FormatInt(o.segmentBytes, 10))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var acked uint64
	in := bufio.NewReader(stdout)
	for i := 0; ; i++ {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if acked, err = strconv.ParseUint(strings.TrimSpace(line), 10, 64); err != nil {
			t.Fatal(err)
		}
		if i == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() || acked == 0 {
		t.Fatalf("child: %v, %s", err, stderr.String())
	}
	return acked
}

func checkChildBlocks(t *testing.T, l *Log, acked, end uint64) {
	t.Helper()
	r := l.NewReader(1)
	extra := 0
	for seq := uint64(1); seq < end; {
		e := next(t, r)
		want, h := childBlock(e.Header.Epoch, seq)
		if e.Header.FirstSeq != seq {
			t.Fatalf("block %d after seq %d", e.Header.FirstSeq, seq-1)
		}
		wantBlock(t, e, want)
		if seq >= acked {
			extra++
		}
		seq = h.NextSeq()
	}
	if end < acked || extra > 1 {
		t.Fatalf("the log ends at %d, acknowledged up to %d, %d blocks more", end, acked, extra)
	}
}
