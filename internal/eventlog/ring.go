package eventlog

import (
	"sort"
	"time"

	"github.com/rowhook/rowhook/internal/change"
)

// Entry is one block as a reader gets it. Everything in it is shared with other readers: it must not be modified.
type Entry struct {
	Block  []byte
	Header change.Header
	// StreamSeq is the sequence of the block's first message in the log; it goes on from segment to segment.
	StreamSeq uint64
	// Appended is when the log took the block.
	Appended time.Time

	last uint64 // sequence of its last message
}

// ring keeps the newest blocks, as many as fit into its bytes: every block from sequence floor on.
type ring struct {
	limit, size int64
	floor       uint64
	entries     []*Entry
}

func (r *ring) push(e *Entry) {
	r.entries = append(r.entries, e)
	r.size += int64(len(e.Block))
	n := 0
	for ; r.size > r.limit; n++ {
		old := r.entries[n]
		r.size -= int64(len(old.Block))
		r.floor = old.last + 1
		r.entries[n] = nil
	}
	r.entries = r.entries[n:]
}

// clear forgets all; the next block starts at floor.
func (r *ring) clear(floor uint64) { *r = ring{limit: r.limit, floor: floor} }

// at returns the first block at or after a sequence that the ring reaches back to, nil if it has not been appended yet.
func (r *ring) at(seq uint64) (e *Entry, ok bool) {
	if seq < r.floor {
		return nil, false
	}
	i := sort.Search(len(r.entries), func(i int) bool { return r.entries[i].StreamSeq >= seq })
	if i == len(r.entries) {
		return nil, true
	}
	return r.entries[i], true
}

// find returns the stream sequence of the block with change seq, if the ring can tell.
func (r *ring) find(seq uint64) (streamSeq uint64, ok bool) {
	if len(r.entries) == 0 || r.entries[0].Header.FirstSeq > seq {
		return 0, false
	}
	i := sort.Search(len(r.entries), func(i int) bool { return r.entries[i].Header.NextSeq() > seq })
	if i == len(r.entries) {
		return r.entries[i-1].last + 1, true
	}
	return r.entries[i].StreamSeq, true
}
