package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/rowhook/rowhook/internal/capture"
	"github.com/rowhook/rowhook/internal/capture/mysql"
	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/internal/eventlog"
	"github.com/rowhook/rowhook/internal/store"
)

// queueBytes bounds the queues of all sources' lanes together; with the ring and the blocks in flight it stays well under the
// 256 MiB that a process may grow by.
const queueBytes = 96 << 20

// source is one source from its server to its lanes.
type source struct {
	name       string
	generation uint32
	log        *eventlog.Log
	capture    *capture.Capture
	engine     *deliver.Engine
}

func (a *App) openSource(ctx context.Context, s config.Source, endpoints []*deliver.Endpoint) (*source, error) {
	l, err := a.pairLog(ctx, s)
	if err != nil {
		return nil, err
	}
	replica, err := NewReplica(s, l.ID(), a.log)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", s.Name, err)
	}
	src := &source{name: s.Name, generation: s.Generation, log: l}
	src.capture = capture.New(capture.Options{Source: s.Name, Attach: string(s.Attach), FirstSeq: 1, Log: a.log}, follower{replica}, captureLog{l})
	ranges, err := a.subscribe(ctx, src, endpoints)
	if err != nil {
		return nil, err
	}
	src.engine = deliver.New(deliver.Options{
		Source: s.Name, Generation: uint64(s.Generation), Types: oneSet{a.types}, Endpoints: endpoints, Ranges: ranges,
		Claims: a.claims, LeaseTTL: leaseTTL, Schedule: a.cfg.Delivery.Retry, ProgressInterval: a.cfg.Delivery.ProgressInterval,
		Budget: a.budget, Drain: drain, Log: a.log,
	}, deliver.Deps{
		Log: deliverLog{l}, Store: a.store, Loader: loader{a.store}, Journal: a.journal, Leases: a.store, Client: a.client, Observer: a.metrics,
	})
	return src, nil
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
	return st.SaveSource(ctx, store.SourceRecord{Name: s.name, LogID: s.log.ID(), Seq: next - 1, Position: b, Generation: s.generation})
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

// oneSet reads every block with the same types.
type oneSet struct{ set *event.Set }

// Types returns the set.
func (o oneSet) Types(uint64) (*event.Set, error) { return o.set, nil }

// loader is the store as delivery wants it at its start: what waits, with its payload, and what stands behind it.
type loader struct{ *store.Store }

// LoadExceptions leaves parked events in the store: a million of them must not fill the memory.
func (l loader) LoadExceptions(ctx context.Context, source string, f func(deliver.Exception) error) error {
	return l.Store.LoadExceptions(ctx, source, store.LoadOptions{States: []deliver.ExceptionState{deliver.Waiting, deliver.Behind}}, f)
}
