package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rowhook/rowhook/internal/capture"
	"github.com/rowhook/rowhook/internal/capture/mysql"
	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/eventlog"
	"github.com/rowhook/rowhook/internal/store"
)

// source is one source from its server to its lanes.
type source struct {
	name    string
	cfg     config.Source
	logger  *slog.Logger
	log     *eventlog.Log
	store   *store.Store
	replica *mysql.Replica
	capture *capture.Capture
	engine  *deliver.Engine

	margin atomic.Int64 // see watchPurge; nanoseconds

	mu      sync.Mutex
	state   sourceState
	problem error              // why it stopped; nil if an operator stopped it
	stop    context.CancelFunc // of the capture that runs
	start   chan struct{}      // closed to start a source that is stopped
}

// sourceState is whether a source is followed.
type sourceState string

const (
	sourceRunning sourceState = "running"
	// sourceReconnecting is a running source whose connection is lost.
	sourceReconnecting sourceState = "reconnecting"
	sourceStopped      sourceState = "stopped"
)

func (a *App) openSource(ctx context.Context, s config.Source, endpoints []*deliver.Endpoint) (*source, error) {
	l, err := a.pairLog(ctx, s)
	if err != nil {
		return nil, err
	}
	replica, err := NewReplica(s, l.ID(), a.log)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", s.Name, err)
	}
	ranges, err := a.rangesOf(ctx, s.Name, endpoints)
	if err != nil {
		return nil, err
	}
	version, _ := a.types.latest()
	src := &source{name: s.Name, cfg: s, logger: a.log, log: l, store: a.store, replica: replica, state: sourceRunning}
	src.margin.Store(int64(unknownMargin))
	if err := src.loadSkips(ctx); err != nil {
		return nil, err
	}
	src.capture = capture.New(capture.Options{
		Source: s.Name, Attach: string(s.Attach), FirstSeq: 1, TypesVersion: version, Log: a.log,
	}, follower{replica}, captureLog{l})
	src.engine = deliver.New(deliver.Options{
		Source: s.Name, Generation: uint64(s.Generation), Types: a.types, Endpoints: endpoints, Ranges: ranges,
		Claims: a.claims, LeaseTTL: leaseTTL, Schedule: a.cfg.Delivery.Retry, ProgressInterval: a.cfg.Delivery.ProgressInterval,
		Budget: a.budget, Drain: drain, Log: a.log,
	}, deliver.Deps{
		Log: deliverLog{l}, Store: a.store, Loader: loader{a.store}, Journal: a.journal, Leases: a.store, Client: a.client, Observer: a.metrics,
	})
	return src, nil
}

// run follows the source whenever it is started, until ctx ends. A source that cannot go on stops alone: the others, and the
// delivery of what its log holds, go on. failed hears of it and may end everything.
func (s *source) run(ctx context.Context, failed func(error) error) error {
	for {
		cctx, cancel := context.WithCancel(ctx)
		start := s.begin(cancel)
		if start == nil {
			s.clearStop(ctx)
			err := s.capture.Run(cctx)
			cancel()
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the end was asked for, and whatever broke off with it is captured again
			}
			if err := s.ended(ctx, err, failed); err != nil {
				return err
			}
			continue
		}
		cancel()
		select {
		case <-ctx.Done():
			return nil
		case <-start:
		}
	}
}

// begin notes how to stop the capture that is about to run, or returns what a stopped source waits for.
func (s *source) begin(stop context.CancelFunc) (start <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == sourceStopped {
		return s.start
	}
	s.stop = stop
	return nil
}

func (s *source) ended(ctx context.Context, err error, failed func(error) error) error {
	stop, isStop := errors.AsType[*capture.StopError](err)
	if err != nil && !isStop {
		return err // the log is lost to another writer, or damaged: nothing here can be trusted to go on
	}
	if isStop {
		s.tellVanished(ctx, stop)
		s.saveStop(ctx, stop) // before anybody can see the state
	}
	s.mu.Lock()
	if s.state != sourceStopped {
		s.state, s.problem, s.start = sourceStopped, err, make(chan struct{})
	}
	s.mu.Unlock()
	if err == nil {
		return nil
	}
	s.logger.Error("source stopped", "source", s.name, "code", stop.Code, "err", stop.Text(), "hint", stop.Hint)
	return failed(err)
}

// Stop stops following; Start goes on where it was.
func (s *source) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == sourceStopped {
		return
	}
	s.state, s.problem, s.start = sourceStopped, nil, make(chan struct{})
	if s.stop != nil {
		s.stop()
	}
	s.logger.Info("source stopped by an operator", "source", s.name)
}

// Start follows a stopped source again.
func (s *source) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != sourceStopped {
		return
	}
	s.state, s.problem = sourceRunning, nil
	close(s.start)
	s.logger.Info("source started by an operator", "source", s.name)
}

// status returns the source's state, and why it is not running.
func (s *source) status() (sourceState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == sourceRunning {
		if last := s.capture.Status().LastError; last != "" {
			return sourceReconnecting, errors.New(last)
		}
	}
	return s.state, s.problem
}

// allFailed ends the process once no source is left that could be followed; one that an operator stopped is waited for.
func (a *App) allFailed(err error) error {
	for _, s := range a.sources {
		if state, problem := s.status(); state != sourceStopped || problem == nil {
			return nil
		}
	}
	return err
}

// NewReplica returns the replica of a configured source; instance tells it from another installation's of the same name.
func NewReplica(s config.Source, instance string, log *slog.Logger) (*mysql.Replica, error) {
	return mysql.New(mysql.Config{
		Source: s.Name, Instance: instance, DSN: dsn(s), TLS: mysql.TLS{Mode: mysql.TLSMode(s.TLS.Mode), CA: s.TLS.CA, Cert: s.TLS.Cert, Key: s.TLS.Key},
		ServerID: s.ServerID, Heartbeat: s.Heartbeat, Tables: s.Tables, ExcludeColumns: s.ExcludeColumns, Log: log,
	})
}

func dsn(s config.Source) string {
	u := url.URL{Scheme: "mysql", User: url.UserPassword(s.User, s.Password.Reveal()), Host: s.Address, Path: "/"}
	return u.String()
}

// MismatchError says that the store and a source's log do not belong together.
type MismatchError struct {
	Source, Problem string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("the store and the log of source %s do not belong together: %s", e.Source, e.Problem)
}

// pairLog opens the source's log and makes sure that it is the one the store knows: with another, events would be lost or sent
// twice without anybody being told.
func (a *App) pairLog(ctx context.Context, s config.Source) (*eventlog.Log, error) {
	rec, known, err := a.store.Source(ctx, s.Name)
	if err != nil {
		return nil, err
	}
	l, err := a.logs.Stream(ctx, s.Name, rec.LogID)
	if errors.Is(err, eventlog.ErrWrongLog) {
		return nil, &MismatchError{s.Name, err.Error()}
	}
	if err != nil {
		return nil, fmt.Errorf("open the log of source %s: %w", s.Name, err)
	}
	next, _, _ := l.Tail()
	switch {
	case !known && next > 0:
		return nil, &MismatchError{s.Name, "the log has changes, the store has never seen it"}
	case known && rec.Seq >= max(next, 1):
		return nil, &MismatchError{s.Name, fmt.Sprintf("the store has seen seq %d, the log ends before seq %d", rec.Seq, next)}
	}
	err = a.store.SaveSource(ctx, store.SourceRecord{Name: s.Name, LogID: l.ID(), Generation: s.Generation})
	if errors.Is(err, store.ErrMismatch) {
		return nil, &MismatchError{s.Name, err.Error()}
	}
	return l, err
}

// copyInterval is how often the store's copy of (position, seq) is renewed.
const copyInterval = 10 * time.Second

// keepCopy writes the log's end into the store, so that a lost log can be told from a new one.
func (s *source) keepCopy(ctx context.Context, a *App) error {
	t := time.NewTicker(copyInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			if err := s.saveCopy(ctx, a.store); err != nil && ctx.Err() == nil {
				a.log.Warn("copy of the position not written", "source", s.name, "err", err)
			}
		}
	}
}

func (s *source) saveCopy(ctx context.Context, st *store.Store) error {
	next, pos, _ := s.log.Tail()
	if next <= 1 {
		return nil
	}
	b, err := pos.Marshal()
	if err != nil {
		return err
	}
	return st.SaveSource(ctx, store.SourceRecord{Name: s.name, LogID: s.log.ID(), Seq: next - 1, Position: b, Generation: s.cfg.Generation})
}

// follower is the replica as capture wants it.
type follower struct{ *mysql.Replica }

// Follow hands the writer to the replica.
func (f follower) Follow(ctx context.Context, from change.Position, w *capture.Writer) error {
	return f.Replica.Follow(ctx, from, w)
}

// captureLog is the log as capture wants it.
type captureLog struct{ *eventlog.Log }

// Last returns the header of the last block.
func (l captureLog) Last(ctx context.Context) (change.Header, bool, error) {
	_, h, ok, err := l.Log.Last(ctx)
	return h, ok, lasting(err)
}

// Append appends, and marks what another try cannot cure.
func (l captureLog) Append(ctx context.Context, block []byte, h change.Header) error {
	return lasting(l.Log.Append(ctx, block, h))
}

type lastingError struct{ error }

func (lastingError) Permanent() bool { return true }

func (e lastingError) Unwrap() error { return e.error }

func lasting(err error) error {
	if errors.Is(err, eventlog.ErrFenced) || errors.Is(err, eventlog.ErrCorrupt) || errors.Is(err, eventlog.ErrExpired) {
		return lastingError{err}
	}
	return err
}

// deliverLog is the log as delivery wants it.
type deliverLog struct{ *eventlog.Log }

// NextSeq returns the seq after the last change.
func (l deliverLog) NextSeq() uint64 {
	next, _, _ := l.Log.Tail()
	return next
}

// Reader returns a reader of blocks.
func (l deliverLog) Reader(seq uint64) deliver.BlockReader { return blockReader{l.Log.NewReader(seq)} }

type blockReader struct{ r *eventlog.Reader }

func (b blockReader) Next(ctx context.Context) ([]byte, error) {
	e, err := b.r.Next(ctx)
	if x, ok := errors.AsType[*eventlog.ExpiredError](err); ok {
		return nil, &deliver.ExpiredError{First: x.First}
	}
	if err != nil {
		return nil, err
	}
	return e.Block, nil
}

// loader is the store as delivery wants it at its start: what waits, with its payload, and what stands behind it.
type loader struct{ *store.Store }

// LoadExceptions leaves parked events in the store: a million of them must not fill the memory.
func (l loader) LoadExceptions(ctx context.Context, source string, f func(deliver.Exception) error) error {
	return l.Store.LoadExceptions(ctx, source, store.LoadOptions{States: []deliver.ExceptionState{deliver.Waiting, deliver.Behind}}, f)
}
