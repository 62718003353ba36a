package eventlog

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/change"
)

// Exported with a reader and imported elsewhere, a log is the same: id, seqs, blocks, times, and the place to go on from.
func TestImport(t *testing.T) {
	t.Parallel()
	from := options(t)
	from.MaxPayload = 2000 // some blocks have parts
	s := open(t, from)
	l := openLog(t, s)
	type exported struct {
		block []byte
		at    time.Time
	}
	var blocks []exported
	seq := uint64(500)
	for i := range 60 {
		_, h := appendBlock(t, l, uint64(1+i/20), seq, i%4, 50*i)
		seq = h.NextSeq()
	}
	for r := l.NewReader(0); len(blocks) < 60; {
		e := next(t, r)
		blocks = append(blocks, exported{e.Block, e.Appended.Add(-48 * time.Hour)})
	}

	to := options(t)
	to.segmentBytes = 4 << 10 // several segments
	s2 := open(t, to)
	im, err := s2.Import(t.Context(), source, l.ID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s2.Stream(t.Context(), source, l.ID()); !errors.Is(err, ErrWrongLog) || !strings.Contains(err.Error(), "restore it again") {
		t.Errorf("an unfinished import was opened: %v", err)
	}
	if _, err := s2.Stream(t.Context(), source, ""); !errors.Is(err, ErrWrongLog) {
		t.Errorf("an unfinished import was opened: %v", err)
	}
	for _, b := range blocks {
		if err := im.Append(t.Context(), b.block, b.at); err != nil {
			t.Fatal(err)
		}
	}
	if err := im.Append(t.Context(), blocks[3].block, blocks[3].at); err == nil {
		t.Error("a block was taken out of its order")
	}
	if err := im.Append(t.Context(), []byte{1}, time.Time{}); !errors.Is(err, change.ErrMalformed) {
		t.Errorf("bytes that are no block: %v", err)
	}
	if err := im.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(segmentsOf(t, to)); n < 3 {
		t.Fatalf("%d segments", n)
	}

	for _, reopened := range []bool{false, true} {
		if reopened {
			closeServer(t, s2)
			s2 = open(t, to)
		}
		if _, err := s2.Import(t.Context(), source, l.ID()); err == nil || !strings.Contains(err.Error(), "empty folder") {
			t.Errorf("a second import: %v", err)
		}
		l2, err := s2.Stream(t.Context(), source, l.ID())
		if err != nil {
			t.Fatal(err)
		}
		if l2.ID() != l.ID() {
			t.Errorf("the id is %s", l2.ID())
		}
		b, h, ok, err := l2.Last(t.Context())
		if err != nil || !ok || h.NextSeq() < seq {
			t.Fatalf("last: seq %d, %v, %v", h.NextSeq(), ok, err)
		}
		if !reopened && string(b) != string(blocks[59].block) {
			t.Error("the last block is another one")
		}
		if first, err := l2.First(t.Context()); err != nil || first != 500 {
			t.Errorf("first: %d, %v", first, err)
		}
		r := l2.NewReader(0)
		for _, b := range blocks {
			e := next(t, r)
			wantBlock(t, e, b.block)
			if d := e.Appended.Sub(b.at); d < -time.Microsecond || d > time.Microsecond {
				t.Fatalf("block %d was appended at %v, not %v", e.Header.FirstSeq, e.Appended, b.at)
			}
		}
		// Capture goes on where the exported log ended.
		more, h := appendBlock(t, l2, h.Epoch+1, h.NextSeq(), 2, 10)
		if reopened {
			next(t, r) // what the run before has appended
		}
		e := next(t, r)
		wantBlock(t, e, more)
		if time.Since(e.Appended) > time.Hour {
			t.Errorf("a new block was appended at %v", e.Appended)
		}
		if n, _, _ := l2.Tail(); n != h.NextSeq() {
			t.Errorf("tail: %d", n)
		}
	}
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	o := options(t)
	s := open(t, o)
	for _, id := range []string{"", "x", "0123456789abcde", "0123456789abcdeg", "import:0123456789abcdef"} {
		if _, err := s.Import(t.Context(), source, id); err == nil {
			t.Errorf("id %q was accepted", id)
		}
	}
	if _, err := s.Import(t.Context(), "a b", "0123456789abcdef"); err == nil {
		t.Error("the name of a source was accepted")
	}
	if len(segmentsOf(t, o)) > 0 {
		t.Error("something was created")
	}
	openLog(t, s)
	if _, err := s.Import(t.Context(), source, "0123456789abcdef"); err == nil {
		t.Error("imported over a log")
	}
	// An import that was broken off is refused after a restart, too, and another one on top of it.
	if _, err := s.Import(t.Context(), "other", "0123456789abcdef"); err != nil {
		t.Fatal(err)
	}
	closeServer(t, s)
	s = open(t, o)
	if _, err := s.Stream(t.Context(), "other", "0123456789abcdef"); !errors.Is(err, ErrWrongLog) {
		t.Errorf("a broken off import was opened: %v", err)
	}
	if _, err := s.Import(t.Context(), "other", "0123456789abcdef"); err == nil {
		t.Error("imported over a part of a log")
	}
	// An empty log is one, too.
	im, err := s.Import(t.Context(), "empty", "0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	if err := im.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := s.Stream(t.Context(), "empty", "0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok, err := l.Last(t.Context()); ok || err != nil {
		t.Errorf("last of an empty log: %v, %v", ok, err)
	}
}
