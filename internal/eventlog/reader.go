package eventlog

import (
	"context"
	"fmt"
)

// readTries bounds how long a reader waits for a server that cannot be reached: about two minutes.
const readTries = 32

// Reader reads the blocks of a log in order. It belongs to one goroutine at a time.
type Reader struct {
	st *stream
	// from is the seq of the next change wanted; 0 before the first block means the oldest.
	from uint64
	// at is the stream sequence to read next, once it is known.
	at    uint64
	found bool
	ahead []message
}

// NewReader returns a reader that starts at the block with change seq from; 0 means the oldest change there is. It does no
// input or output, and needs no closing.
func (l *Log) NewReader(from uint64) *Reader { return &Reader{st: l.st, from: from} }

// Next waits for the next block that holds changes from the wanted seq on, or that holds none and only moves the position.
//
// It fails with an ExpiredError if the wanted change is no longer in the log; a new reader may start at its First. It fails with
// ErrCorrupt where the log is damaged, with ErrClosed after Server.Close, and with ctx's error when ctx is done.
func (r *Reader) Next(ctx context.Context) (*Entry, error) {
	for try := 1; ; try++ {
		e, err := r.next(ctx)
		if err == nil {
			return e, nil
		}
		if ctx.Err() != nil || lasting(err) || try == readTries {
			return nil, fmt.Errorf("read source %s from seq %d: %w", r.st.source, r.from, err)
		}
		// The server is being started again, or a disk is slow: the read ahead may have been cut off.
		r.ahead = nil
		if err := pause(ctx, try); err != nil {
			return nil, fmt.Errorf("read source %s from seq %d: %w", r.st.source, r.from, err)
		}
	}
}

func (r *Reader) next(ctx context.Context) (*Entry, error) {
	if err := r.locate(ctx); err != nil {
		return nil, err
	}
	for {
		e, err := r.step(ctx)
		if err != nil {
			return nil, err
		}
		if e == nil {
			continue
		}
		r.at = e.last + 1
		if e.Header.NextSeq() <= r.from && e.Header.Changes > 0 || e.Header.NextSeq() < r.from {
			continue
		}
		if r.from == 0 {
			r.from = e.Header.FirstSeq
		}
		if e.Header.FirstSeq > r.from {
			return nil, r.gap(ctx, e.StreamSeq, e.Header.FirstSeq)
		}
		r.from = e.Header.NextSeq()
		return e, nil
	}
}

// gap is called when what comes after the last block read, at a stream sequence, starts too late, at seq first.
func (r *Reader) gap(ctx context.Context, at, first uint64) error {
	eng, err := r.st.srv.running(ctx)
	if err != nil {
		return err
	}
	oldest, err := r.st.fetch(ctx, eng, 1, 1)
	if err != nil {
		return err
	}
	if len(oldest) == 0 || oldest[0].firstWhole() > r.from {
		return r.st.expired(r.from, oldest)
	}
	return &CorruptError{Source: r.st.source, StreamSeq: at, Reason: fmt.Sprintf("changes %d to %d are missing before it", r.from, first-1)}
}

func (r *Reader) locate(ctx context.Context) error {
	if r.found {
		return nil
	}
	eng, err := r.st.srv.running(ctx)
	if err != nil {
		return err
	}
	if r.from == 0 {
		r.at, r.found = 1, true
		return nil
	}
	if r.at, err = r.st.find(ctx, eng, r.from); err != nil {
		return err
	}
	r.found = true
	return nil
}

// step returns the next block from the ring, or from the disk, or waits and returns nil.
func (r *Reader) step(ctx context.Context) (*Entry, error) {
	r.st.mu.Lock()
	wake, end := r.st.wake, r.st.tail.last
	e, near := r.st.ring.at(r.at)
	r.st.mu.Unlock()
	if e != nil {
		r.ahead = nil
		return e, nil
	}
	if !near && r.at <= end {
		return r.read(ctx, end)
	}
	r.ahead = nil
	// Close wakes the readers after it has set its mark, so one that looks first cannot miss it.
	if r.st.srv.isClosed() {
		return nil, ErrClosed
	}
	select {
	case <-wake:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// read returns the next whole block up to sequence end from the disk, nil if there is none.
func (r *Reader) read(ctx context.Context, end uint64) (*Entry, error) {
	eng, err := r.st.srv.running(ctx)
	if err != nil {
		return nil, err
	}
	var group []message
	for seq := r.at; seq <= end; seq++ {
		m, err := r.message(ctx, eng, seq)
		if err != nil {
			return nil, err
		}
		if m == nil { // expired, up to the end
			r.at = end + 1
			return nil, nil
		}
		seq = m.seq
		if n := len(group); n > 0 && (group[n-1].seq+1 != m.seq || !group[n-1].mark.precedes(m.mark)) {
			group = nil // cut short by a crash
		}
		if m.mark.seal > 0 {
			// Every change before a seal is in front of it.
			if r.from > 0 && r.from < m.mark.firstSeq {
				return nil, r.gap(ctx, m.seq, m.mark.firstSeq)
			}
			continue
		}
		if len(group) == 0 && m.mark.part > 1 {
			continue
		}
		if group = append(group, *m); m.mark.part == m.mark.parts {
			return r.st.entry(group)
		}
	}
	r.at = end + 1
	return nil, nil
}

// message returns the message with this sequence, or the first one after it if it has expired; nil if all have.
func (r *Reader) message(ctx context.Context, eng *engine, seq uint64) (*message, error) {
	for len(r.ahead) > 0 && r.ahead[0].seq < seq {
		r.ahead = r.ahead[1:]
	}
	if len(r.ahead) == 0 {
		ahead, err := r.st.fetch(ctx, eng, seq, fetchMessages)
		if err != nil {
			return nil, err
		}
		r.ahead = ahead
	}
	if len(r.ahead) > 0 && r.ahead[0].seq == seq {
		m := r.ahead[0]
		r.ahead[0] = message{}
		r.ahead = r.ahead[1:]
		return &m, nil
	}
	return r.afterHole(ctx, eng, seq)
}

// afterHole tells messages that expired, which are always the first ones, from one that is missing in the middle.
func (r *Reader) afterHole(ctx context.Context, eng *engine, seq uint64) (*message, error) {
	c, err := r.st.refresh(ctx, eng)
	if err != nil {
		return nil, err
	}
	if c.msgs() > 0 && c.first() <= seq {
		return nil, &CorruptError{Source: r.st.source, StreamSeq: seq, Reason: "the message is missing or its checksum is wrong"}
	}
	if c.msgs() == 0 {
		st := r.st
		st.mu.Lock()
		next := st.nextSeq()
		st.mu.Unlock()
		if r.from > 0 && r.from < next {
			return nil, r.st.expired(r.from, nil)
		}
		return nil, nil
	}
	ms, err := r.st.fetch(ctx, eng, c.first(), 1)
	if err != nil || len(ms) == 0 {
		return nil, err
	}
	r.ahead = nil
	return &ms[0], nil
}
