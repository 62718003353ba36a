package eventlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// makeRoom closes the newest segment when it is full, and makes sure that there is one to append to.
//
// The seal is fenced as every append is, so a writer that holds a place before it is refused by the closed segment; the next
// segment goes on with the sequence after the seal, so one that holds a place in the chain's past is refused there too.
func (l *Log) makeRoom(ctx context.Context) error {
	st := l.st
	st.mu.Lock()
	t, newest := st.tail, st.segs.newest()
	open, size := st.sealed == 0, st.size
	st.mu.Unlock()
	if open {
		full := l.begun == stepSeal || l.begun == stepNone && st.full(newest, size)
		// A place that is not the end, or an end without a block, is not one to seal: what comes next is not known.
		if !full || t.end != l.place || !t.known {
			return nil
		}
		l.wrote, l.begun = true, stepSeal
		m := mark{firstSeq: t.header.NextSeq(), part: 1, parts: 1, writer: l.writer, seal: newest.number + 1}
		if l.importing { // times in the log stay in order
			m.appended = t.appended.UnixMicro()
		}
		if err := l.put(ctx, nil, m, l.place); err != nil {
			return fmt.Errorf("close segment %d: %w", newest.number, err)
		}
		l.place, l.begun = l.place+1, stepNone
		st.closed(newest, l.place, m)
	}
	if err := st.succeed(ctx); err != nil {
		return err
	}
	st.dropSpent(ctx)
	return nil
}

// At start the server reads the last file of every segment into memory. A segment is therefore closed soon after a file has begun,
// which is at most maxFile long; but not much later than it is due.
const (
	smallFile = 2 << 20
	maxFile   = 8 << 20
)

func (st *stream) full(g segment, size int64) bool {
	limit := st.srv.opts.segmentBytes
	return size >= limit && (size >= limit+2*maxFile || lastFile(st.srv.opts.Dir, g.name) < smallFile)
}

// closed makes a seal that is durable known.
func (st *stream) closed(g segment, seq uint64, m mark) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.segs.newest().number != g.number {
		return // somebody has found the seal, and gone on
	}
	st.sealed, st.next = seq, newSegment(st.source, m.seal, seq, m.firstSeq)
	st.tail.end = max(st.tail.end, seq)
}

// succeed creates the segment after a sealed one; without a seal it does nothing. Any number may try at once.
func (st *stream) succeed(ctx context.Context) error {
	st.mu.Lock()
	sealed, next := st.sealed, st.next
	st.mu.Unlock()
	if sealed == 0 {
		return nil
	}
	e, err := st.srv.running(ctx)
	if err != nil {
		return err
	}
	if err := st.create(ctx, e, next); err != nil {
		return fmt.Errorf("begin segment %d: %w", next.number, err)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.segs.newest().number < next.number {
		st.extend(append(st.segs[:len(st.segs):len(st.segs)], next), 0)
	}
	return nil
}

// extend replaces the chain by one with a newer end, whose newest segment holds size bytes; mu is held.
func (st *stream) extend(s segments, size int64) {
	for _, g := range s {
		if g.number > 1 && !st.segs.has(g.number) {
			st.points.add(g.base, g.first)
		}
	}
	st.segs, st.size, st.sealed, st.next = s, size, 0, segment{}
}

// create makes the stream of a segment, or accepts the one that another has made.
func (st *stream) create(ctx context.Context, e *engine, g segment) error {
	js, err := e.js.CreateStream(ctx, g.config(st))
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamNameInUse {
		js, err = e.js.Stream(ctx, g.name)
	}
	if err != nil {
		return st.createFailed(ctx, e, err)
	}
	c := js.CachedInfo().Config
	if got, err := parseSegment(st.source, c); err != nil || got != g || c.Metadata[idKey] != st.id {
		return &CorruptError{Source: st.source, StreamSeq: g.base + 1, Reason: fmt.Sprintf("segment %d is there already, and another one", g.number)}
	}
	if err := syncSegment(st.srv.opts.Dir, g.name); err != nil {
		e.fail(err)
		return err
	}
	return nil
}

// createFailed has the server started again: only then what it left of the segment can be cleared away.
func (st *stream) createFailed(ctx context.Context, e *engine, err error) error {
	if ctx.Err() != nil {
		return err
	}
	e.checkAlive()
	if cause := context.Cause(e.broken); cause != nil {
		return diskError(st.srv.opts.Dir, cause)
	}
	err = withErrno(err)
	e.fail(err)
	return diskError(st.srv.opts.Dir, err)
}

// dropSpent deletes the oldest segments while their blocks have expired. What cannot be deleted now is tried again at the next
// roll, so an error is not the caller's.
func (st *stream) dropSpent(ctx context.Context) {
	for {
		st.mu.Lock()
		s := st.segs
		st.mu.Unlock()
		if len(s) < 2 {
			return
		}
		dropped, err := st.dropOldest(ctx, s)
		if err != nil {
			st.srv.opts.Log.Warn("delete an expired segment of the log", "source", st.source, "segment", s[0].number, "error", err)
		}
		if !dropped || err != nil {
			return
		}
	}
}

func (st *stream) dropOldest(ctx context.Context, s segments) (bool, error) {
	e, err := st.srv.running(ctx)
	if err != nil {
		return false, err
	}
	js, err := e.js.Stream(ctx, s[0].name)
	gone := errors.Is(err, jetstream.ErrStreamNotFound)
	if err != nil && !gone {
		return false, err
	}
	if !gone && !(segmentState{state: js.CachedInfo().State}).spent(s[1].base) {
		return false, nil
	}
	// Readers must not be sent to it any more before it goes.
	st.mu.Lock()
	if st.segs[0].number == s[0].number {
		st.segs = st.segs[1:]
	}
	st.mu.Unlock()
	if gone {
		return true, nil
	}
	if err := e.js.DeleteStream(ctx, s[0].name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return false, err
	}
	return true, nil
}

// list asks the server for the chain; it is empty if there is no log.
func (st *stream) list(ctx context.Context, e *engine) (chain, error) {
	var c chain
	l := e.js.ListStreams(ctx, jetstream.WithStreamListSubject("log."+st.source+".*"))
	for i := range l.Info() {
		if i.Config.Metadata[idKey] == "" || i.Config.Metadata[sourceKey] != st.source {
			return nil, st.wrongLog("of this source", "the stream "+i.Config.Name+" there was not made by Rowhook")
		}
		g, err := parseSegment(st.source, i.Config)
		if err != nil {
			return nil, fmt.Errorf("log of source %s: %w", st.source, err)
		}
		c = append(c, segmentState{g, i.Config, i.State})
	}
	if err := l.Err(); err != nil {
		return nil, fmt.Errorf("ask for the state of the log of source %s: %w", st.source, err)
	}
	return c, nil
}
