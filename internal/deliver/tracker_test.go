package deliver

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestProgressRestoresExactly accepts and finishes events at random, stores the progress, begins again from it, and so on: what
// was done is never offered again, and what was not is never passed over.
func TestProgressRestoresExactly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		// The events of a log: up to three of each seq, and none of some.
		var events []EventRef
		last := uint64(rapid.IntRange(1, 30).Draw(t, "seqs"))
		for seq := uint64(1); seq <= last; seq++ {
			for n := range rapid.IntRange(0, 3).Draw(t, "events") {
				events = append(events, EventRef{seq, fmt.Sprint("t", n)})
			}
		}
		done := map[EventRef]bool{}
		stored := Progress{}
		for range rapid.IntRange(1, 4).Draw(t, "lives") {
			l := &lane{state: lagging, cursor: stored.Floor, before: newDoneBefore(stored), dirty: true}
			var open []*item
			for _, ref := range events {
				if ref.Seq <= stored.Floor || l.had(ref.Seq, ref.Type) {
					if !done[ref] {
						t.Fatalf("%v was passed over: %+v", ref, stored)
					}
					continue
				}
				if done[ref] {
					t.Fatalf("%v came again: %+v", ref, stored)
				}
				if rapid.IntRange(0, 15).Draw(t, "full") == 0 {
					l.cursor = max(l.cursor, ref.Seq-1)
					break
				}
				it := &item{ref: ref}
				l.accepts(it)
				open = append(open, it)
				for len(open) > 0 && rapid.Bool().Draw(t, "finish") {
					i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
					open[i].done, done[open[i].ref] = true, true
					open = append(open[:i], open[i+1:]...)
					l.tracker.trim()
				}
				if rapid.IntRange(0, 5).Draw(t, "look") == 0 {
					l.progress()
				}
			}
			stored = l.progress()
			raw, err := MarshalProgress(stored)
			if err != nil {
				t.Fatal(err)
			}
			if stored, err = UnmarshalProgress(raw); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// accepts does what accept does for the record.
func (l *lane) accepts(it *item) {
	l.recall(it.ref.Seq)
	if l.acceptedSeq != it.ref.Seq {
		l.acceptedSeq, l.accepted = it.ref.Seq, nil
	}
	l.accepted = append(l.accepted, it.ref.Type)
	l.tracker.add(it)
}
