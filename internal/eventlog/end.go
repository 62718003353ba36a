package eventlog

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rowhook/rowhook/internal/change"
)

// end is the end of the log at one moment.
type end struct {
	// seq is the last sequence of the log, writer the one who wrote that message.
	seq    uint64
	writer string
	// block is the last whole one, nil if there is none.
	block *Entry
	// expired is set when messages have expired; without it a log that has no block never had one.
	expired bool
}

// readEnd reads the end of the log: an earlier run of the process, or an append that nobody settled, may have moved it.
func (st *stream) readEnd(ctx context.Context) (end, error) {
	st.refreshing.Lock()
	defer st.refreshing.Unlock()
	e, err := st.srv.running(ctx)
	if err != nil {
		return end{}, err
	}
	c, err := st.refresh(ctx, e)
	if err != nil {
		return end{}, err
	}
	out := end{seq: c.last(), expired: c.first() > 1}
	if c.msgs() == 0 {
		st.setEmpty(out.seq)
		return out, nil
	}
	var last mark
	for seq, first := out.seq, c.first(); seq >= first && out.block == nil; seq-- {
		m, err := st.one(ctx, e, seq)
		if err != nil {
			return end{}, err
		}
		if out.writer == "" {
			out.writer = m.mark.writer
			last = m.mark
		}
		if out.block, err = st.wholeEndingAt(ctx, e, m); err != nil {
			return end{}, err
		}
	}
	st.setTail(out)
	if newest := c[len(c)-1]; last.seal > newest.number {
		st.closed(newest.segment, out.seq, last)
	}
	return out, st.succeed(ctx)
}

// one returns the message with this very sequence, which the stream says it has.
func (st *stream) one(ctx context.Context, e *engine, seq uint64) (message, error) {
	ms, err := st.fetch(ctx, e, seq, 1)
	if err != nil {
		return message{}, err
	}
	if len(ms) == 0 || ms[0].seq != seq {
		return message{}, &CorruptError{Source: st.source, StreamSeq: seq, Reason: "the message is missing"}
	}
	return ms[0], nil
}

// wholeEndingAt returns the block whose last message is m, nil if there is none.
func (st *stream) wholeEndingAt(ctx context.Context, e *engine, m message) (*Entry, error) {
	if m.mark.seal > 0 || m.mark.part != m.mark.parts || uint64(m.mark.parts) > m.seq {
		return nil, nil
	}
	group := []message{m}
	for range m.mark.parts - 1 {
		next := group[len(group)-1]
		p, err := st.one(ctx, e, next.seq-1)
		if errors.Is(err, ErrCorrupt) {
			return nil, nil // an earlier part has expired: the block is no longer whole
		}
		if err != nil {
			return nil, err
		}
		if !p.mark.precedes(next.mark) {
			return nil, nil
		}
		group = append(group, p)
	}
	slices.Reverse(group)
	return st.entry(group)
}

// entry joins the messages of a whole block and checks it.
func (st *stream) entry(group []message) (*Entry, error) {
	first, last := group[0], group[len(group)-1]
	block := first.data
	if len(group) > 1 {
		size := 0
		for _, m := range group {
			size += len(m.data)
		}
		block = make([]byte, 0, size)
		for _, m := range group {
			block = append(block, m.data...)
		}
	}
	bad := func(reason string) (*Entry, error) {
		return nil, &CorruptError{Source: st.source, StreamSeq: first.seq, Reason: reason}
	}
	if uint64(len(block)) != first.mark.bytes {
		return bad(fmt.Sprintf("the block has %d bytes, %d were written", len(block), first.mark.bytes))
	}
	h, err := change.ParseHeader(block)
	if err != nil {
		return bad(err.Error())
	}
	if h.FirstSeq != first.mark.firstSeq || h.Changes != first.mark.changes || h.Source != st.source {
		return bad("the block is not the one its message announces")
	}
	return &Entry{Block: block, Header: h, StreamSeq: first.seq, Appended: last.at, last: last.seq}, nil
}
