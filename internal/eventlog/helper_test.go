package eventlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rowhook/rowhook/internal/change"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(child(dir, os.Getenv(childSegment), os.Getenv(childStop)))
	}
	goleak.VerifyTestMain(m)
}

const source = "orders"

var items = &change.Table{Schema: "shop", Name: "items", Key: []int{0}, Columns: []change.Column{
	{Name: "id", Number: 1, Kind: change.Uint, Type: "bigint unsigned"},
	{Name: "data", Number: 2, Kind: change.Bytes, Type: "blob"},
}}

// block returns one with n changes from seq first on, each a row with id = seq and size bytes of data.
func block(tb testing.TB, epoch, first uint64, n, size int) ([]byte, change.Header) {
	tb.Helper()
	b := change.NewBuilder(source, epoch)
	data := make([]byte, size)
	if n > 0 {
		b.BeginSegment(&change.Transaction{GTID: "0-1-7"}, 0, nil, true)
		for i := range n {
			if size >= 8 {
				binary.LittleEndian.PutUint64(data, first+uint64(i))
			}
			b.BeginChange(change.Insert, items)
			row := change.AppendUint(b.BeginRow(false), 1, first+uint64(i))
			b.EndRow(change.AppendBytes(row, 2, data, false), false, nil)
			b.EndChange()
		}
		b.EndSegment(true)
	}
	out, err := b.Finish(first, change.Position{GTIDSet: "0-1-7", File: "bin.000001", Offset: first})
	if err != nil {
		tb.Fatal(err)
	}
	h, err := change.ParseHeader(out)
	if err != nil {
		tb.Fatal(err)
	}
	return out, h
}

func options(tb testing.TB) Options {
	return Options{Dir: filepath.Join(tb.TempDir(), "log"), Retention: time.Hour, Log: slog.New(slog.DiscardHandler), segmentBytes: segmentBytes(tb)}
}

// open keeps the server open until the test ends.
func open(tb testing.TB, o Options) *Server {
	tb.Helper()
	s, err := Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closeServer(tb, s) })
	return s
}

func closeServer(tb testing.TB, s *Server) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		tb.Error(err)
	}
}

func openLog(tb testing.TB, s *Server) *Log {
	tb.Helper()
	l, err := s.Stream(tb.Context(), source, "")
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func appendBlock(tb testing.TB, l *Log, epoch, first uint64, n, size int) ([]byte, change.Header) {
	tb.Helper()
	b, h := block(tb, epoch, first, n, size)
	if err := l.Append(tb.Context(), b, h); err != nil {
		tb.Fatal(err)
	}
	return b, h
}

func next(tb testing.TB, r *Reader) *Entry {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Second)
	defer cancel()
	e, err := r.Next(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func wantBlock(tb testing.TB, got *Entry, want []byte) {
	tb.Helper()
	if !bytes.Equal(got.Block, want) {
		tb.Fatalf("block at stream sequence %d starts at seq %d and has %d bytes: not the one that was appended (%d bytes)",
			got.StreamSeq, got.Header.FirstSeq, len(got.Block), len(want))
	}
}

// await waits for a state that the server reaches on its own.
func await(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			tb.Fatal("still waiting: " + what)
		}
	}
}
