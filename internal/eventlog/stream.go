package eventlog

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rowhook/rowhook/internal/change"
)

const (
	idKey     = "rowhook-log-id"
	sourceKey = "rowhook-source"
	// minDuplicates is the server's least window; start-up reads all of it.
	minDuplicates = 100 * time.Millisecond
)

// stream is what the writers and readers of one source's log share.
type stream struct {
	srv                       *Server
	source, name, subject, id string

	// refreshing serialises reads of the tail.
	refreshing sync.Mutex

	mu     sync.Mutex
	tail   tail
	ring   ring
	points points
	wake   chan struct{} // closed, and replaced, when there is something new
}

// tail is the end of the log as far as it is known to be durable.
type tail struct {
	// end is the last sequence of the stream, last that of the last whole block; a torn group may lie between.
	end, last uint64
	// known is false while the log has no block to continue.
	known    bool
	header   change.Header
	appended time.Time
}

// Stream opens the log of a source, and creates it if expected is empty. With expected it fails with ErrWrongLog unless the log
// has that ID. Each returned Log is a writer of its own.
func (s *Server) Stream(ctx context.Context, source, expected string) (*Log, error) {
	if err := checkName(source); err != nil {
		return nil, err
	}
	st, err := s.stream(ctx, source, expected)
	if err != nil {
		return nil, err
	}
	if expected != "" && st.id != expected {
		return nil, st.wrongLog(expected, "it is log "+st.id)
	}
	writer, err := randomName()
	if err != nil {
		return nil, err
	}
	return &Log{st: st, writer: writer}, nil
}

func (s *Server) stream(ctx context.Context, source, expected string) (*stream, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	s.streamsMu.Lock()
	st := s.streams[source]
	s.streamsMu.Unlock()
	if st != nil {
		return st, nil
	}
	st, err := s.open(ctx, source, expected)
	if err != nil {
		return nil, err
	}
	s.streamsMu.Lock()
	s.streams[source] = st
	s.streamsMu.Unlock()
	return st, nil
}

func (s *Server) open(ctx context.Context, source, expected string) (*stream, error) {
	e, err := s.running(ctx)
	if err != nil {
		return nil, err
	}
	st := &stream{srv: s, source: source, name: "log_" + source, subject: "log." + source, wake: make(chan struct{})}
	st.ring.limit = s.opts.RingBytes
	js, err := e.js.Stream(ctx, st.name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound) && expected != "":
		return nil, st.wrongLog(expected, "the folder has no log of this source")
	case errors.Is(err, jetstream.ErrStreamNotFound):
		js, err = st.create(ctx, e)
	}
	if err != nil {
		return nil, fmt.Errorf("open log of source %s: %w", source, diskError(s.opts.Dir, err))
	}
	if err := st.adopt(ctx, e, js.CachedInfo().Config); err != nil {
		return nil, err
	}
	if _, err := st.readEnd(ctx); err != nil {
		return nil, err
	}
	return st, nil
}

func (st *stream) wrongLog(expected, is string) error {
	return fmt.Errorf("%w: source %s in %s: the store knows log %s, %s; bring back the folder that belongs to the store, or attach the source anew",
		ErrWrongLog, st.source, st.srv.opts.Dir, expected, is)
}

func (st *stream) create(ctx context.Context, e *engine) (jetstream.Stream, error) {
	id, err := randomName()
	if err != nil {
		return nil, err
	}
	return e.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: st.name, Subjects: []string{st.subject}, Storage: jetstream.FileStorage, Replicas: 1,
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, MaxConsumers: -1,
		MaxAge: st.srv.opts.Retention, Duplicates: minDuplicates, AllowDirect: true, DenyDelete: true, DenyPurge: true,
		Metadata: map[string]string{idKey: id, sourceKey: st.source},
	})
}

// adopt checks that the stream keeps what a log promises, and brings its retention up to date.
func (st *stream) adopt(ctx context.Context, e *engine, c jetstream.StreamConfig) error {
	st.id = c.Metadata[idKey]
	if st.id == "" || c.Metadata[sourceKey] != st.source {
		return st.wrongLog("of this source", "the stream there was not made by Rowhook")
	}
	if c.Storage != jetstream.FileStorage || c.PersistMode != jetstream.DefaultPersistMode || !c.AllowDirect {
		return fmt.Errorf("log of source %s is not kept on disk synchronously (storage %v, persist mode %v): refusing to use it", st.source, c.Storage, c.PersistMode)
	}
	if c.MaxAge == st.srv.opts.Retention {
		return nil
	}
	c.MaxAge = st.srv.opts.Retention
	if _, err := e.js.UpdateStream(ctx, c); err != nil {
		return fmt.Errorf("set retention of the log of source %s: %w", st.source, diskError(st.srv.opts.Dir, err))
	}
	return nil
}

func checkName(source string) error {
	ok := source != "" && len(source) <= 100
	for _, r := range source {
		ok = ok && (r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	}
	if !ok {
		return fmt.Errorf("source name %q: use letters, digits, - and _, at most 100", source)
	}
	return nil
}

const writerLen = 16

func randomName() (string, error) {
	b := make([]byte, writerLen/2)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("make a random name: %w", err)
	}
	return hex.EncodeToString(b), nil
}

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
	st.points.addSparse(e.last, e.Header.NextSeq())
	st.ring.push(e)
	st.broadcast()
}

func (st *stream) info(ctx context.Context, e *engine) (jetstream.StreamState, error) {
	js, err := e.js.Stream(ctx, st.name)
	if err != nil {
		return jetstream.StreamState{}, fmt.Errorf("ask for the state of the log of source %s: %w", st.source, err)
	}
	return js.CachedInfo().State, nil
}

// end is the end of the log at one moment.
type end struct {
	// seq is the last sequence of the stream, writer the one who wrote that message.
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
	state, err := st.info(ctx, e)
	if err != nil {
		return end{}, err
	}
	out := end{seq: state.LastSeq, expired: state.FirstSeq > 1}
	if state.Msgs == 0 {
		st.setEmpty(state.LastSeq)
		return out, nil
	}
	for seq := state.LastSeq; seq >= state.FirstSeq && out.block == nil; seq-- {
		m, err := st.one(ctx, e, seq)
		if err != nil {
			return end{}, err
		}
		if out.writer == "" {
			out.writer = m.mark.writer
		}
		if out.block, err = st.wholeEndingAt(ctx, e, m); err != nil {
			return end{}, err
		}
	}
	st.setTail(out)
	return out, nil
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
	if m.mark.part != m.mark.parts || uint64(m.mark.parts) > m.seq {
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
