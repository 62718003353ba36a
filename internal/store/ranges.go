package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/rowhook/rowhook/internal/deliver"
)

const rangeColumns = `source, endpoint, subscription, version, types, subject, from_seq, live_seq, to_seq, backfilled`

// putRangeQuery keeps what only ever happens once: an end stays, and so does a backfill that is done. Whoever writes a range may hold
// an older copy of it than the engine has written since.
const putRangeQuery = `INSERT INTO subscription_ranges (` + rangeColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
	ON CONFLICT (source, endpoint, subscription, version) DO UPDATE SET types = excluded.types, subject = excluded.subject,
	from_seq = excluded.from_seq, live_seq = excluded.live_seq,
	to_seq = CASE excluded.to_seq WHEN 0 THEN to_seq ELSE excluded.to_seq END, backfilled = max(backfilled, excluded.backfilled)`

// Ranges returns what the versions of all subscriptions cover of a source, in the order in which they were first stored: of two backfills
// that could have an event, the older has it.
func (s *Store) Ranges(ctx context.Context, source string) ([]deliver.Range, error) {
	return s.ranges(ctx, "load the ranges of source "+source, ` WHERE source = ?`, source)
}

func (s *Store) ranges(ctx context.Context, doing, where string, args ...any) ([]deliver.Range, error) {
	var out []deliver.Range
	err := s.query(ctx, doing, `SELECT `+rangeColumns+` FROM subscription_ranges`+where+` ORDER BY rowid`, args,
		func(rows *sql.Rows) error {
			var r deliver.Range
			var types string
			err := rows.Scan(&r.Source, &r.Endpoint, &r.Subscription, &r.Version, &types, &r.Subject, &r.From, &r.LiveFrom, &r.To, &r.Backfilled)
			if err != nil {
				return err
			}
			if types != "" {
				if err := json.Unmarshal([]byte(types), &r.Types); err != nil {
					return fmt.Errorf("types of subscription %s, version %d: %w", r.Subscription, r.Version, err)
				}
			}
			out = append(out, r)
			return nil
		})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// PutRanges stores ranges, each in the place of one with the same source, endpoint, subscription and version; all of them or none. An
// end that is stored stays although the new one has none, and so does that its backfill is done.
func (s *Store) PutRanges(ctx context.Context, rs ...deliver.Range) error {
	if len(rs) == 0 {
		return nil
	}
	return s.update(ctx, "store ranges", func(tx *sql.Tx) error { return s.putRanges(ctx, tx, rs) })
}

// putRanges is PutRanges within a transaction of the caller.
func (s *Store) putRanges(ctx context.Context, tx *sql.Tx, rs []deliver.Range) error {
	stmt := tx.StmtContext(ctx, s.stmt.putRange)
	for i := range rs {
		if err := putRange(ctx, stmt, &rs[i]); err != nil {
			return err
		}
	}
	return nil
}

func putRange(ctx context.Context, stmt *sql.Stmt, r *deliver.Range) error {
	types, err := marshalTypes(r.Types)
	if err == nil {
		_, err = stmt.ExecContext(ctx, r.Source, r.Endpoint, r.Subscription, r.Version, types, r.Subject, r.From, r.LiveFrom, r.To, r.Backfilled)
	}
	if err != nil {
		return fmt.Errorf("version %d of subscription %s of endpoint %s: %w", r.Version, r.Subscription, r.Endpoint, err)
	}
	return nil
}

func marshalTypes(types []string) (string, error) {
	if len(types) == 0 {
		return "", nil
	}
	b, err := json.Marshal(types)
	return string(b), err
}

// ForgetRanges removes the ranges, of every source, that keep says no to, with the progress of their backfills, and returns them. It
// is for ranges that no running engine has.
func (s *Store) ForgetRanges(ctx context.Context, keep func(deliver.Range) bool) ([]deliver.Range, error) {
	all, err := s.ranges(ctx, "load the ranges", "")
	if err != nil {
		return nil, err
	}
	var gone []deliver.Range
	for _, r := range all {
		if !keep(r) {
			gone = append(gone, r)
		}
	}
	if len(gone) == 0 {
		return nil, nil
	}
	err = s.update(ctx, "forget ranges", func(tx *sql.Tx) error {
		for i := range gone {
			r := &gone[i]
			if _, err := tx.ExecContext(ctx, `DELETE FROM subscription_ranges WHERE source = ? AND endpoint = ? AND subscription = ? AND version = ?`,
				r.Source, r.Endpoint, r.Subscription, r.Version); err != nil {
				return err
			}
			if _, err := tx.StmtContext(ctx, s.stmt.clearProgress).ExecContext(ctx, r.Source, r.LaneName()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return gone, nil
}
