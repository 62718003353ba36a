package capture

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/change"
)

func TestMovedTakesThePositionAlong(t *testing.T) {
	t.Parallel()
	from := change.Position{File: "bin.1", FileCreated: 7, Offset: 500, Server: "s"}
	w, err := NewWriter(change.MySQL, change.Header{Source: "shop", FirstSeq: 1, Position: from}, newLog())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Moved("bin.1", 7, 4); err != nil || w.moved {
		t.Errorf("the same file moved the position: %v, %v", w.moved, err)
	}
	if err := w.Moved("bin.2", 9, 4); err != nil || !w.moved {
		t.Errorf("another file did not move the position: %v, %v", w.moved, err)
	}
	want := change.Position{File: "bin.2", FileCreated: 9, Offset: 4, Server: "s"}
	if diff := cmp.Diff(want, w.position()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := w.Begin(change.Transaction{File: "bin.2", FileCreated: 9, Offset: 120}, change.GTID{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Moved("bin.3", 10, 4); err == nil {
		t.Error("a file that begins inside a transaction was accepted")
	}
	if err := w.Commit("bin.2", 300); err != nil {
		t.Fatal(err)
	}
	want.Offset = 300
	if diff := cmp.Diff(want, w.position()); diff != "" {
		t.Errorf("after the commit (-want +got):\n%s", diff)
	}
}
