package capture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"github.com/rowhook/rowhook/internal/change"
)

// StopError stops a source for good: going on would lose or invent changes. People get its code, message and hint.
type StopError struct {
	// Code is a short stable name, such as "position_lost".
	Code string
	// Source is the name of the source that stopped; Run fills it in.
	Source string
	// Message says what is wrong, with which thing.
	Message string
	// Hint says what to type next.
	Hint string
	// At is the transaction that it stopped at, if passing over that one is a way to go on.
	At *Skip
	// Vanished are transactions that were captured and are gone; nil if none are.
	Vanished *Vanished
	Err      error
}

// Error returns code, message and cause.
func (e *StopError) Error() string { return e.Code + ": " + e.what() }

// Text is Error without the code, beginning with the source.
func (e *StopError) Text() string {
	if e.Source != "" {
		return "source " + e.Source + ": " + e.what()
	}
	return e.what()
}

func (e *StopError) what() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *StopError) Unwrap() error { return e.Err }

// Source is a server followed as a replica.
type Source interface {
	// Flavor asks the server which family it is of.
	Flavor(ctx context.Context) (change.Flavor, error)
	// Attach returns the position to begin with: "now" or "earliest".
	Attach(ctx context.Context, at string) (change.Position, error)
	// Follow reads from the position on and feeds w until ctx ends or the connection fails. A StopError means that trying
	// again cannot help.
	Follow(ctx context.Context, from change.Position, w *Writer) error
}

// Log is the durable log of one source.
type Log interface {
	Appender
	// Last returns the header of the last whole block; ok is false if the log is empty.
	Last(ctx context.Context) (h change.Header, ok bool, err error)
}

// Options of a Capture.
type Options struct {
	Source string
	// Attach is where a new log begins: "now" or "earliest".
	Attach string
	// FirstSeq of a new log; 1 unless an older log was lost.
	FirstSeq uint64
	// TypesVersion of the event types to begin with; that of the log's last block if it is larger.
	TypesVersion uint64
	Log          *slog.Logger
}

// Capture follows one source into its log.
type Capture struct {
	opts    Options
	source  Source
	log     Log
	stats   Stats
	retries atomic.Uint64
	lost    atomic.Pointer[loss]

	mu     sync.Mutex // guards what follows, and is taken before a writer's own lock
	wanted uint64     // version of the event types
	writer *Writer    // of the connection there is; else nil
}

// New returns a Capture.
func New(opts Options, source Source, log Log) *Capture {
	return &Capture{opts: opts, source: source, log: log, wanted: opts.TypesVersion}
}

// retry bounds of a lost connection: the first retry is near, because most are restarts of the server or cut connections.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 15 * time.Second
)

// Run follows the source until ctx ends, or until a StopError or the loss of the log to another writer stops it. Lost
// connections are retried without end, with backoff and jitter: the binlog keeps what is to come.
func (c *Capture) Run(ctx context.Context) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = firstRetry, lastRetry
	for {
		progressed, err := c.follow(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end was asked for, and whatever broke off with it is captured again
		}
		if s, ok := errors.AsType[*StopError](err); ok {
			s.Source = c.opts.Source
		}
		if stops(err) {
			return fmt.Errorf("source %s: %w", c.opts.Source, err)
		}
		if progressed {
			wait.Reset()
		}
		pause := wait.NextBackOff()
		c.note(err)
		c.opts.Log.Warn("source lost, trying again", "source", c.opts.Source, "err", err, "pause", pause)
		if !sleep(ctx, pause) {
			return nil
		}
	}
}

func (c *Capture) note(err error) {
	c.retries.Add(1)
	c.lost.Store(&loss{err.Error(), time.Now()})
}

// permanent is implemented by errors of the log that another try cannot cure: fenced, corrupt.
type permanent interface{ Permanent() bool }

func stops(err error) bool {
	if _, ok := errors.AsType[*StopError](err); ok {
		return true
	}
	p, ok := errors.AsType[interface {
		error
		permanent
	}](err)
	return ok && p.Permanent()
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// follow is one connection's life. It reports whether anything was appended.
func (c *Capture) follow(ctx context.Context) (progressed bool, err error) {
	last, err := c.resume(ctx)
	if err != nil {
		return false, err
	}
	flavor, err := c.source.Flavor(ctx)
	if err != nil {
		return false, err
	}
	w, err := NewWriter(flavor, last, c.log)
	if err != nil {
		return false, err
	}
	w.stats = &c.stats
	w.stats.TypesVersion.Store(last.TypesVersion)
	before := c.stats.Blocks.Load()
	if err := c.following(w); err != nil {
		return false, err
	}
	defer c.notFollowing()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.Run(gctx) })
	g.Go(func() error {
		if err := c.source.Follow(gctx, last.Position, w); err != nil {
			return err
		}
		return errSourceEnded
	})
	err = g.Wait()
	return c.stats.Blocks.Load() > before, err
}

// resume returns the header to go on after: that of the last block, or of a first one that records the attach point.
func (c *Capture) resume(ctx context.Context) (change.Header, error) {
	h, ok, err := c.log.Last(ctx)
	if err != nil {
		return change.Header{}, fmt.Errorf("read the last block: %w", err)
	}
	if ok {
		return h, nil
	}
	pos, err := c.source.Attach(ctx, c.opts.Attach)
	if err != nil {
		return change.Header{}, fmt.Errorf("attach: %w", err)
	}
	h = change.Header{Source: c.opts.Source, FirstSeq: c.opts.FirstSeq, Position: pos, TypesVersion: c.typesVersion()}
	builder := change.NewBuilder(c.opts.Source, 0)
	builder.SetTypesVersion(h.TypesVersion)
	b, err := builder.Finish(h.FirstSeq, pos)
	if err != nil {
		return change.Header{}, err
	}
	if err := c.log.Append(ctx, b, h); err != nil {
		return change.Header{}, fmt.Errorf("append the first position: %w", err)
	}
	c.opts.Log.Info("attached", "source", c.opts.Source, "at", c.opts.Attach, "gtid", pos.GTIDSet, "file", pos.File, "pos", pos.Offset)
	return h, nil
}

// Status is what an operator asks of a source.
type Status struct {
	Changes, Blocks, Bytes, Retries uint64
	LastHeard                       time.Time
	CommitTime                      time.Time
	LastError                       string
	// TypesVersion of the event types that the log ends with, as far as it was read or written.
	TypesVersion uint64
}

// Status returns what happened since the start, over all connections.
func (c *Capture) Status() Status {
	s := Status{
		Changes: c.stats.Changes.Load(), Blocks: c.stats.Blocks.Load(), Bytes: c.stats.Bytes.Load(), Retries: c.retries.Load(),
		LastHeard: time.UnixMicro(c.stats.LastHeard.Load()), CommitTime: time.UnixMicro(c.stats.CommitTime.Load()),
		TypesVersion: c.stats.TypesVersion.Load(),
	}
	if l := c.lost.Load(); l != nil && !s.LastHeard.After(l.at) {
		s.LastError = l.err
	}
	return s
}

// loss is a connection that was lost, until the source is heard again.
type loss struct {
	err string
	at  time.Time
}
