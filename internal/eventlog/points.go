package eventlog

import "slices"

// maxPoints bounds the memory of points to 64 KiB for each log.
const maxPoints = 4096

// point says that no change from nextSeq on lies before the end of the message with sequence stream.
type point struct{ stream, nextSeq uint64 }

// points are places learnt while appending, reading and searching; they shorten the next search.
type points struct {
	sorted []point
	stride uint64 // sequences between two points that appending adds
}

func byStream(p point, seq uint64) int {
	switch {
	case p.stream < seq:
		return -1
	case p.stream > seq:
		return 1
	}
	return 0
}

func (p *points) add(stream, nextSeq uint64) {
	i, found := slices.BinarySearchFunc(p.sorted, stream, byStream)
	if found {
		return
	}
	p.sorted = slices.Insert(p.sorted, i, point{stream, nextSeq})
	if len(p.sorted) > maxPoints {
		for i := range maxPoints / 2 {
			p.sorted[i] = p.sorted[2*i]
		}
		p.sorted = p.sorted[:maxPoints/2]
		p.stride = max(1, p.stride) * 2
	}
}

// addSparse adds a point unless there is one near before it.
func (p *points) addSparse(stream, nextSeq uint64) {
	if i, _ := slices.BinarySearchFunc(p.sorted, stream, byStream); i > 0 && stream-p.sorted[i-1].stream < max(64, p.stride) {
		return
	}
	p.add(stream, nextSeq)
}

// narrow shrinks [lo, hi], in which the first message with nextSeq > seq is searched.
func (p *points) narrow(lo, hi, seq uint64) (uint64, uint64) {
	i, _ := slices.BinarySearchFunc(p.sorted, seq, func(q point, seq uint64) int {
		if q.nextSeq <= seq {
			return -1
		}
		return 1
	})
	if i < len(p.sorted) {
		hi = max(lo, min(hi, p.sorted[i].stream))
	}
	if i > 0 {
		lo = min(hi, max(lo, p.sorted[i-1].stream+1))
	}
	return lo, hi
}
