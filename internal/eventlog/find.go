package eventlog

import "context"

// find returns the stream sequence from which to read for the change with seq from: that of its block, or of what comes next
// if the change is yet to come. It reads about log2(messages) messages, fewer with what appends and earlier searches taught.
func (st *stream) find(ctx context.Context, e *engine, from uint64) (uint64, error) {
	st.mu.Lock()
	t := st.tail
	at, ok := st.ring.find(from)
	st.mu.Unlock()
	if ok {
		return at, nil
	}
	if !t.known || from >= t.header.NextSeq() {
		return t.end + 1, nil
	}
	first, err := st.fetch(ctx, e, 1, 1)
	if err != nil {
		return 0, err
	}
	if len(first) == 0 || first[0].firstWhole() > from {
		return 0, st.expired(from, first)
	}
	return st.search(ctx, e, first[0].seq, t.last, from)
}

func (st *stream) expired(wanted uint64, first []message) error {
	err := &ExpiredError{Source: st.source, Wanted: wanted}
	if len(first) > 0 {
		err.First = first[0].firstWhole()
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	err.First = st.nextSeq()
	return err
}

// search returns the first message in [lo, hi] whose block ends after seq.
func (st *stream) search(ctx context.Context, e *engine, lo, hi, seq uint64) (uint64, error) {
	st.mu.Lock()
	lo, hi = st.points.narrow(lo, hi, seq)
	st.mu.Unlock()
	for lo < hi {
		mid := lo + (hi-lo)/2
		ms, err := st.fetch(ctx, e, mid, 1)
		if err != nil {
			return 0, err
		}
		if len(ms) == 0 || ms[0].seq > hi {
			return 0, &CorruptError{Source: st.source, StreamSeq: mid, Reason: "the message is missing"}
		}
		// Messages expire from the front while this runs; then the one found is the first there is.
		m := ms[0]
		if m.mark.part == m.mark.parts {
			st.mu.Lock()
			st.points.add(m.seq, m.mark.nextSeq())
			st.mu.Unlock()
		}
		if m.mark.nextSeq() > seq {
			if m.seq > mid {
				return m.seq, nil
			}
			hi = mid
		} else {
			lo = m.seq + 1
		}
	}
	return lo, nil
}
