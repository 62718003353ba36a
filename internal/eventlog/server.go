package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Defaults of Options.
const (
	DefaultMaxPayload = 4 << 20
	DefaultRingBytes  = 16 << 20
	// maxMaxPayload is the largest message that the server takes without complaint.
	maxMaxPayload = 8<<20 - headerRoom
	// minRetention is the server's own limit.
	minRetention = 100 * time.Millisecond
)

// Options say where and how the log is kept.
type Options struct {
	// Dir is the folder of the log; it belongs to one process at a time.
	Dir string
	// Retention is the age at which blocks expire.
	Retention time.Duration
	// MaxPayload is the number of bytes of a block that one message carries; 0 means DefaultMaxPayload.
	MaxPayload int
	// RingBytes bounds the fresh blocks of each log that are handed to readers in memory; 0 means DefaultRingBytes.
	RingBytes int64
	// Log takes the server's lines, mostly at debug level.
	Log *slog.Logger

	// Tests have small segments and little patience.
	segmentBytes  int64
	startPatience time.Duration
}

func (o *Options) check() error {
	if o.MaxPayload == 0 {
		o.MaxPayload = DefaultMaxPayload
	}
	if o.RingBytes == 0 {
		o.RingBytes = DefaultRingBytes
	}
	if o.segmentBytes == 0 {
		o.segmentBytes = defaultSegmentBytes
	}
	if o.startPatience == 0 {
		o.startPatience = startPatience
	}
	switch {
	case o.Dir == "":
		return errors.New("the log needs a folder")
	case o.Log == nil:
		return errors.New("the log needs a logger")
	case o.Retention < minRetention:
		return fmt.Errorf("retention of the log is %v, the least is %v", o.Retention, minRetention)
	case o.MaxPayload < 0 || o.MaxPayload > maxMaxPayload:
		return fmt.Errorf("payload limit of the log is %d bytes, it must be from 1 to %d", o.MaxPayload, maxMaxPayload)
	case o.RingBytes < 0:
		return fmt.Errorf("memory for fresh blocks is %d bytes", o.RingBytes)
	}
	return nil
}

// Server keeps the logs of one folder. Its methods may be called by many goroutines at once.
type Server struct {
	opts Options
	lock *os.File

	mu     sync.Mutex // held while the engine is started again
	engine *engine
	closed bool
	// stuck is set for good when an engine was abandoned.
	stuck error

	opening   sync.Mutex // held while a stream is opened or created
	streamsMu sync.Mutex
	streams   map[string]*stream
}

// Open takes the folder and starts the embedded server. It fails with ErrLocked if another process has the folder.
//
// The server recovers the log first. If ctx is done before it has, or if it makes no progress for minutes, which only damage
// explains (a RecoveryError, of kind ErrCorrupt), Open returns but the server is still at work, and cannot be stopped: the folder
// stays locked until the recovery or the process ends, so the process should end.
func Open(ctx context.Context, o Options) (*Server, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	e, err := startEngine(ctx, o)
	switch {
	case err != nil && e != nil:
		go e.bury(func() { lock.Close() })
		return nil, err
	case err != nil:
		lock.Close()
		return nil, err
	}
	return &Server{opts: o, lock: lock, engine: e, streams: map[string]*stream{}}, nil
}

// Close stops the embedded server, which saves its index, and gives the folder back. Writers and readers get ErrClosed. When
// ctx is done first, Close returns its error and the folder stays locked until the process ends.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.wakeAll()
	if s.engine != nil {
		s.engine.stop(ctx)
		s.engine = nil
	}
	if s.stuck != nil {
		return s.stuck
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("stop the log's server: %w", err)
	}
	if err := s.lock.Close(); err != nil {
		return fmt.Errorf("unlock log folder: %w", err)
	}
	return nil
}

// running returns the engine, and starts a new one in place of a broken one.
func (s *Server) running(ctx context.Context) (*engine, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if e := s.engine; e != nil {
		cause := context.Cause(e.broken)
		if cause == nil {
			return e, nil
		}
		s.opts.Log.Warn("start the log's server again after an error of the disk", "error", cause)
		// It must have ended before another one opens the folder, whether or not the caller still waits.
		e.stop(context.WithoutCancel(ctx))
		s.engine = nil
	}
	if s.stuck != nil {
		return nil, s.stuck
	}
	// A caller who no longer waits is no reason to give the recovery up.
	e, err := startEngine(context.WithoutCancel(ctx), s.opts)
	if err != nil && e != nil {
		s.stuck = err
		go e.bury(func() { s.lock.Close() })
		return nil, err
	}
	if err != nil {
		return nil, diskError(s.opts.Dir, err)
	}
	s.engine = e
	return e, nil
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) wakeAll() {
	s.streamsMu.Lock()
	defer s.streamsMu.Unlock()
	for _, st := range s.streams {
		st.mu.Lock()
		st.broadcast()
		st.mu.Unlock()
	}
}
