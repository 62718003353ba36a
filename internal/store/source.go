package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// SourceRecord pairs a source's log with the store.
type SourceRecord struct {
	Name string
	// LogID names the log that the store belongs to.
	LogID string
	// Seq and Position are a copy of the log's end, so that a lost log can be continued without using a seq twice.
	Seq      uint64
	Position []byte
	// Generation of the source's ids.
	Generation uint32
}

// Source returns what is stored of a source; false if it is not known.
func (s *Store) Source(ctx context.Context, name string) (SourceRecord, bool, error) {
	r, err := source(ctx, s.reader, name)
	if errors.Is(err, sql.ErrNoRows) {
		return SourceRecord{}, false, nil
	}
	if err != nil {
		return SourceRecord{}, false, s.failed("load source "+name, err)
	}
	return r, true, nil
}

type rowQuerier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func source(ctx context.Context, q rowQuerier, name string) (SourceRecord, error) {
	r := SourceRecord{Name: name}
	err := q.QueryRowContext(ctx, `SELECT log_id, seq, position, generation FROM sources WHERE name = ?`, name).
		Scan(&r.LogID, &r.Seq, &r.Position, &r.Generation)
	return r, err
}

// SaveSource stores r. The seq and its position only move forward: a smaller seq than the stored one leaves both as they are. A
// log other than the stored one is refused with ErrMismatch.
func (s *Store) SaveSource(ctx context.Context, r SourceRecord) error {
	return s.update(ctx, "save source "+r.Name, func(tx *sql.Tx) error {
		have, err := source(ctx, tx, r.Name)
		switch {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return err
		case have.LogID != r.LogID:
			return s.mismatch(have, r)
		case have.Seq > r.Seq:
			r.Seq, r.Position = have.Seq, have.Position
		}
		if r.Position == nil {
			r.Position = []byte{}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO sources (name, log_id, seq, position, generation, saved_ms) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET seq = excluded.seq, position = excluded.position,
				generation = excluded.generation, saved_ms = excluded.saved_ms`,
			r.Name, r.LogID, r.Seq, r.Position, r.Generation, time.Now().UnixMilli())
		return err
	})
}

func (s *Store) mismatch(have, given SourceRecord) error {
	return &Error{
		Kind: ErrMismatch, Path: s.path,
		Err: fmt.Errorf("source %s: the store was written beside log %s up to seq %d, this log is %s at seq %d",
			given.Name, have.LogID, have.Seq, given.LogID, given.Seq),
		Hint: "start Rowhook with the log and the store that were used together, or move both away to begin anew",
	}
}
