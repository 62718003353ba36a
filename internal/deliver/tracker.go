package deliver

import (
	"cmp"
	"slices"
)

// maxOutstanding bounds the events of a lane between its floor and its newest, done or not: about 150 bytes each, so 10 MB.
const maxOutstanding = 1 << 16

// tracker remembers the events a lane has accepted, from the oldest that is not done on.
type tracker struct {
	items []*item
	head  int
}

func (t *tracker) len() int { return len(t.items) - t.head }

func (t *tracker) add(it *item) { t.items = append(t.items, it) }

// trim lets go of what is done at the front. What shares its seq with an event that is not done stays: the floor cannot say it.
func (t *tracker) trim() {
	end := t.head
	for end < len(t.items) && t.items[end].done {
		end++
	}
	for end > t.head && end < len(t.items) && t.items[end-1].ref.Seq == t.items[end].ref.Seq {
		end--
	}
	clear(t.items[t.head:end])
	t.head = end
	if t.head == len(t.items) {
		t.items, t.head = t.items[:0], 0
	} else if t.head > len(t.items)/2 && t.head > 64 {
		n := copy(t.items, t.items[t.head:])
		clear(t.items[n:])
		t.items, t.head = t.items[:n], 0
	}
}

// floor returns the seq up to which every event is done, given the seq up to which they were accepted.
func (t *tracker) floor(cursor uint64) uint64 {
	if t.len() == 0 {
		return cursor
	}
	return min(t.items[t.head].ref.Seq-1, cursor)
}

// progress returns the floor and what is done between it and the cursor. Seqs without an event for this lane count as done.
func (t *tracker) progress(cursor uint64) Progress {
	p := Progress{Floor: t.floor(cursor)}
	open := t.items[t.head:]
	last := len(open)
	for last > 0 && !open[last-1].done {
		last--
	}
	// Behind the last event that is done, nothing needs to be remembered.
	if last == 0 {
		return p
	}
	from := p.Floor + 1
	for i := 0; i < last; {
		seq, n := open[i].ref.Seq, 1
		for i+n < last && open[i+n].ref.Seq == seq {
			n++
		}
		if group := open[i : i+n]; slices.ContainsFunc(group, pending) {
			p.add(from, seq-1)
			p.addEvents(group)
			from = seq + 1
		}
		i += n
	}
	upTo := min(open[last-1].ref.Seq, cursor)
	// The newest seq may still have an event behind `last` that is not done.
	if last < len(open) && open[last].ref.Seq == upTo && upTo >= from {
		p.addEvents(sameSeq(open[:last]))
		upTo--
	}
	p.add(from, upTo)
	return p
}

func pending(it *item) bool { return !it.done }

// sameSeq returns the tail of items with the last one's seq.
func sameSeq(items []*item) []*item {
	seq := items[len(items)-1].ref.Seq
	i := len(items)
	for i > 0 && items[i-1].ref.Seq == seq {
		i--
	}
	return items[i:]
}

func (p *Progress) add(first, last uint64) {
	if first <= last {
		p.Done = append(p.Done, SeqRange{first, last})
	}
}

func (p *Progress) addEvents(items []*item) {
	for _, it := range items {
		if it.done {
			p.DoneEvents = append(p.DoneEvents, it.ref)
		}
	}
}

// doneBefore is what a lane had done above its floor when it was stored, so that catching up does not send it again.
type doneBefore struct {
	ranges []SeqRange
	events []EventRef
}

func newDoneBefore(p Progress) doneBefore {
	d := doneBefore{ranges: slices.Clone(p.Done), events: slices.Clone(p.DoneEvents)}
	slices.SortFunc(d.events, compareRefs)
	return d
}

// contains reports whether the event was done.
func (d *doneBefore) contains(seq uint64, typ string) bool {
	if len(d.ranges) == 0 && len(d.events) == 0 {
		return false
	}
	i, _ := slices.BinarySearchFunc(d.ranges, seq, func(r SeqRange, s uint64) int { return cmp.Compare(r.Last, s) })
	if i < len(d.ranges) && d.ranges[i].First <= seq {
		return true
	}
	_, ok := slices.BinarySearchFunc(d.events, EventRef{seq, typ}, compareRefs)
	return ok
}

// last returns the last seq of it; 0 if there is none.
func (d *doneBefore) last() uint64 {
	seq := uint64(0)
	if n := len(d.ranges); n > 0 {
		seq = d.ranges[n-1].Last
	}
	if n := len(d.events); n > 0 {
		seq = max(seq, d.events[n-1].Seq)
	}
	return seq
}

// passed forgets what lies at or below seq.
func (d *doneBefore) passed(seq uint64) {
	for len(d.ranges) > 0 && d.ranges[0].Last <= seq {
		d.ranges = d.ranges[1:]
	}
	d.events = slices.DeleteFunc(d.events, func(e EventRef) bool { return e.Seq <= seq })
}

// merge adds to p what of d lies above its floor: reached again or not, only this remembers it.
func (d *doneBefore) merge(p *Progress) {
	d.passed(p.Floor)
	for _, r := range d.ranges {
		p.add(max(r.First, p.Floor+1), r.Last)
	}
	p.DoneEvents = append(p.DoneEvents, d.events...)
}

func compareRefs(a, b EventRef) int {
	return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Type, b.Type))
}
