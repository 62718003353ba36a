package eventlog

import "context"

// broadcast wakes every waiting reader; mu is held.
func (st *stream) broadcast() {
	close(st.wake)
	st.wake = make(chan struct{})
}

// appended makes a block that is durable known to the readers.
func (st *stream) appended(e *Entry) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if e.last <= st.tail.end {
		return // a reread of the tail has found it first
	}
	st.tail = tail{end: e.last, last: e.last, known: true, header: e.Header, appended: e.Appended}
	st.size += int64(len(e.Block))
	st.points.addSparse(e.last, e.Header.NextSeq())
	st.ring.push(e)
	st.broadcast()
}

// refresh asks the server for the chain, and takes note of segments that are new.
func (st *stream) refresh(ctx context.Context, e *engine) (chain, error) {
	for try := 1; ; try++ {
		c, err := st.list(ctx, e)
		if err != nil {
			return nil, err
		}
		if len(c) == 0 {
			return nil, &CorruptError{Source: st.source, Reason: "its segments are gone"}
		}
		// A long list comes in pages, between which segments may be created and deleted.
		if err := c.check(st.source); err != nil && try == 3 {
			return nil, err
		} else if err != nil {
			continue
		}
		st.take(c)
		return c, nil
	}
}

func (st *stream) take(c chain) {
	newest := c[len(c)-1]
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.segs) > 0 && newest.number <= st.segs.newest().number {
		return // what is known here is as new, or newer
	}
	var s segments
	for _, g := range c {
		if len(st.segs) == 0 || g.number >= st.segs[0].number {
			s = append(s, g.segment)
		}
	}
	st.extend(s, int64(newest.state.Bytes))
}

// nextSeq is that of the next change, as far as it can be told after the last block has expired; mu is held.
func (st *stream) nextSeq() uint64 {
	if st.tail.known || len(st.segs) == 0 {
		return st.tail.header.NextSeq()
	}
	return st.segs.newest().first
}

// setEmpty keeps what is known of the last block: its seq goes on after it has expired.
func (st *stream) setEmpty(end uint64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if end > st.tail.end {
		st.tail = tail{end: end, last: end}
		st.ring.clear(end + 1)
	}
	if st.ring.floor == 0 {
		st.ring.floor = end + 1
	}
}

func (st *stream) setTail(n end) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if n.seq <= st.tail.end {
		return
	}
	t := tail{end: n.seq, last: st.tail.last, known: st.tail.known, header: st.tail.header, appended: st.tail.appended}
	if n.block != nil {
		t.last, t.known, t.header, t.appended = n.block.last, true, n.block.Header, n.block.Appended
	}
	st.tail = t
	st.ring.clear(n.seq + 1)
	st.broadcast()
}
