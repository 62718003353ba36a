package eventlog

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rowhook/rowhook/internal/change"
)

// minDuplicates is the server's least window; start-up reads all of it.
const minDuplicates = 100 * time.Millisecond

// stream is what the writers and readers of one source's log share.
type stream struct {
	srv        *Server
	source, id string

	// refreshing serialises reads of the tail.
	refreshing sync.Mutex

	mu     sync.Mutex
	tail   tail
	ring   ring
	points points
	wake   chan struct{} // closed, and replaced, when there is something new
	segs   segments
	// size is the number of bytes in the newest segment, as far as blocks are known.
	size int64
	// sealed is the sequence of the newest segment's seal, and next the segment that must follow; 0 while it takes blocks.
	sealed uint64
	next   segment
}

// tail is the end of the log as far as it is known to be durable.
type tail struct {
	// end is the last sequence of the log, last that of the last whole block; a torn group or a seal may lie between.
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
	st := s.newStream(source)
	c, err := st.list(ctx, e)
	if err == nil {
		err = e.checkFolders(source)
	}
	switch {
	case err != nil:
	case len(c) == 0 && expected != "":
		return nil, st.wrongLog(expected, "the folder has no log of this source")
	case len(c) == 0:
		err = st.begin(ctx, e)
	default:
		err = st.adopt(ctx, e, c)
	}
	if err != nil {
		return nil, fmt.Errorf("open log of source %s: %w", source, err)
	}
	if _, err := st.readEnd(ctx); err != nil {
		return nil, err
	}
	st.dropSpent(ctx)
	return st, nil
}

func (s *Server) newStream(source string) *stream {
	st := &stream{srv: s, source: source, wake: make(chan struct{})}
	st.ring.limit = s.opts.RingBytes
	return st
}

func (st *stream) wrongLog(expected, is string) error {
	return fmt.Errorf("%w: source %s in %s: the store knows log %s, %s; bring back the folder that belongs to the store, or attach the source anew",
		ErrWrongLog, st.source, st.srv.opts.Dir, expected, is)
}

// begin creates a log.
func (st *stream) begin(ctx context.Context, e *engine) error {
	var err error
	if st.id, err = randomName(); err != nil {
		return err
	}
	return st.create(ctx, e, newSegment(st.source, 1, 0, 0))
}

// adopt checks that the streams keep what a log promises, and brings their retention up to date.
func (st *stream) adopt(ctx context.Context, e *engine, all chain) error {
	st.id = all[0].config.Metadata[idKey]
	if unfinished(st.id) {
		return fmt.Errorf("%w: its import was not finished; empty the folder %s and restore it again", ErrWrongLog, st.srv.opts.Dir)
	}
	for _, s := range all {
		c := s.config
		if c.Metadata[idKey] != st.id {
			return st.wrongLog(st.id, fmt.Sprintf("segment %d is of log %s", s.number, c.Metadata[idKey]))
		}
		if c.Storage != jetstream.FileStorage || c.PersistMode != jetstream.DefaultPersistMode || !c.AllowDirect {
			return fmt.Errorf("segment %d is not kept on disk synchronously (storage %v, persist mode %v): refusing to use it", s.number, c.Storage, c.PersistMode)
		}
		if c.MaxAge == st.srv.opts.Retention {
			continue
		}
		c.MaxAge = st.srv.opts.Retention
		if _, err := e.js.UpdateStream(ctx, c); err != nil {
			return fmt.Errorf("set retention of segment %d: %w", s.number, diskError(st.srv.opts.Dir, err))
		}
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
