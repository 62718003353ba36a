package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/rowhook/rowhook/internal/deliver"
)

// LoadSlots returns how far the slots' readers have come in a source, in order of the slots. A slot that never wrote is not there.
func (s *Store) LoadSlots(ctx context.Context, source string) ([]deliver.SlotProgress, error) {
	var out []deliver.SlotProgress
	err := s.query(ctx, "load the slots of source "+source,
		`SELECT slot, read_seq FROM slot_progress WHERE source = ? ORDER BY slot`, []any{source}, func(rows *sql.Rows) error {
			p := deliver.SlotProgress{Source: source}
			if err := rows.Scan(&p.Slot, &p.ReadSeq); err != nil {
				return err
			}
			out = append(out, p)
			return nil
		})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// LoadProgress returns the progress of the endpoints that are not in step with their slot, in order of their names.
func (s *Store) LoadProgress(ctx context.Context, source string) ([]deliver.EndpointProgress, error) {
	var out []deliver.EndpointProgress
	err := s.query(ctx, "load the progress of source "+source,
		`SELECT endpoint, record FROM endpoint_progress WHERE source = ? ORDER BY endpoint`, []any{source}, func(rows *sql.Rows) error {
			p := deliver.EndpointProgress{Source: source}
			var record sql.RawBytes
			if err := rows.Scan(&p.Endpoint, &record); err != nil {
				return err
			}
			var err error
			if p.Progress, err = deliver.UnmarshalProgress(record); err != nil {
				return fmt.Errorf("endpoint %s: %w", p.Endpoint, err)
			}
			out = append(out, p)
			return nil
		})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Expired returns the ranges that endpoints lost to retention, in order of endpoints and seqs.
func (s *Store) Expired(ctx context.Context, source string) ([]deliver.ExpiredRange, error) {
	var out []deliver.ExpiredRange
	err := s.query(ctx, "load the expired ranges of source "+source,
		`SELECT endpoint, first_seq, last_seq FROM expired WHERE source = ? ORDER BY endpoint, first_seq`, []any{source},
		func(rows *sql.Rows) error {
			e := deliver.ExpiredRange{Source: source}
			if err := rows.Scan(&e.Endpoint, &e.First, &e.Last); err != nil {
				return err
			}
			out = append(out, e)
			return nil
		})
	if err != nil {
		return nil, err
	}
	return out, nil
}
