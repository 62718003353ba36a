package eventlog

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A recovery that takes too long is given up, not waited for; the folder stays locked while the server is at it.
func TestSlowStart(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.segmentBytes = 1
	s := open(t, o)
	l := openLog(t, s)
	for seq := uint64(1); seq <= 30; seq++ {
		appendBlock(t, l, 1, seq, 1, 100)
	}
	closeServer(t, s)
	given := func(o Options, ctx context.Context, kind error) {
		t.Helper()
		var err error
		await(t, "the folder", func() bool {
			_, err = Open(ctx, o)
			return !errors.Is(err, ErrLocked)
		})
		if !errors.Is(err, kind) {
			t.Fatalf("a recovery without an end: %v", err)
		}
		if _, err := Open(t.Context(), o); !errors.Is(err, ErrLocked) {
			t.Fatalf("while the server is at it: %v", err)
		}
	}
	hasty := o
	hasty.startPatience = time.Nanosecond
	given(hasty, t.Context(), ErrCorrupt)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	given(o, ctx, context.Canceled)
	var err error
	await(t, "the folder", func() bool {
		s, err = Open(t.Context(), o)
		return !errors.Is(err, ErrLocked)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeServer(t, s) })
	next(t, openLog(t, s).NewReader(30))
}

// A damaged sequence must not make the server search for ever.
func TestDamagedSequence(t *testing.T) {
	t.Parallel()
	o := options(t)
	s := open(t, o)
	l := openLog(t, s)
	for seq := uint64(1); seq <= 20; seq++ {
		appendBlock(t, l, 1, seq, 1, 1000)
	}
	closeServer(t, s)
	file := newest(filepath.Join(segmentsOf(t, o)[0], "msgs"), 1)[0]
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for range 10 {
		at += int(binary.LittleEndian.Uint32(good[at:]) & lengthBits)
	}
	if seq := binary.LittleEndian.Uint64(good[at+4:]); seq != 11 {
		t.Fatalf("the eleventh record has sequence %d", seq)
	}
	for _, bit := range []int{32, 60} {
		bad := append([]byte(nil), good...)
		bad[at+4+bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), o); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit %d of a sequence: %v", bit, err)
		}
	}
	for cut := range 1200 { // by a crash, which is for the server to mend
		if err := os.WriteFile(file, good[:len(good)-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkSequences(source, file); err != nil {
			t.Fatalf("%d bytes cut off: %v", cut, err)
		}
	}
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "1.blk")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkSequences(source, path); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	})
}
