package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/rowhook/rowhook/internal/deliver"
)

// AttemptsOfEvent returns an event's attempts to all endpoints in the order they were recorded.
func (s *Store) AttemptsOfEvent(ctx context.Context, eventID string) ([]deliver.Attempt, error) {
	return s.attempts(ctx, "load the attempts of event "+eventID, `WHERE event_id = ? ORDER BY id`, eventID)
}

// AttemptsOfEndpoint returns an endpoint's latest attempts, at most limit, newest first.
func (s *Store) AttemptsOfEndpoint(ctx context.Context, endpoint string, limit int) ([]deliver.Attempt, error) {
	return s.attempts(ctx, "load the attempts of endpoint "+endpoint, `WHERE endpoint = ? ORDER BY id DESC LIMIT ?`, endpoint, limit)
}

func (s *Store) attempts(ctx context.Context, doing, where string, args ...any) ([]deliver.Attempt, error) {
	var out []deliver.Attempt
	err := s.query(ctx, doing, `SELECT `+attemptColumns+` FROM attempts `+where, args, func(rows *sql.Rows) error {
		var a deliver.Attempt
		var sum sql.RawBytes
		if err := rows.Scan(&a.EventID, &a.Endpoint, &a.Source, &a.Seq, &a.Type, &a.Attempt, &a.Epoch, &a.StartedUS, &a.DurationUS,
			&a.Status, &a.Outcome, &a.Cause, &a.Error, &sum); err != nil {
			return err
		}
		copy(a.BodySHA256[:], sum)
		out = append(out, a)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// CountAttempts counts all recorded attempts by outcome. It reads the whole table.
func (s *Store) CountAttempts(ctx context.Context) (map[string]uint64, error) {
	counts := map[string]uint64{}
	err := s.query(ctx, "count attempts", `SELECT outcome, COUNT(*) FROM attempts GROUP BY outcome`, nil, func(rows *sql.Rows) error {
		var outcome string
		var n uint64
		if err := rows.Scan(&outcome, &n); err != nil {
			return err
		}
		counts[outcome] = n
		return nil
	})
	if err != nil {
		return nil, err
	}
	return counts, nil
}

// findAttempt looks for one send. The plus keeps SQLite from choosing the index by endpoint, which would look at all of an
// endpoint's attempts.
const findAttempt = `SELECT COUNT(*) FROM attempts WHERE event_id = ? AND +endpoint = ? AND attempt = ? AND epoch = ?`

// MissingAttempts returns those of the sends that have no recorded attempt: a crash came between the send and its record.
func (s *Store) MissingAttempts(ctx context.Context, sends []deliver.Send) ([]deliver.Send, error) {
	const doing = "look for the attempts of journaled sends"
	find, err := s.reader.PrepareContext(ctx, findAttempt)
	if err != nil {
		return nil, s.failed(doing, err)
	}
	defer find.Close()
	var missing []deliver.Send
	for _, send := range sends {
		var n int
		if err := find.QueryRowContext(ctx, send.EventID, send.Endpoint, send.Attempt, send.Epoch).Scan(&n); err != nil {
			return nil, s.failed(doing, err)
		}
		if n == 0 {
			missing = append(missing, send)
		}
	}
	return missing, nil
}

// Prune removes attempts that started before the given time, at most max of them, oldest records first, and returns how
// many it removed. Fewer than max means that it is done for now. Commits wait while it runs, so max should be some thousands.
func (s *Store) Prune(ctx context.Context, before time.Time, max int) (int, error) {
	var n int64
	err := s.update(ctx, fmt.Sprintf("prune attempts before %s", before.UTC().Format(time.RFC3339)), func(tx *sql.Tx) error {
		// Ids follow time but for a request's length, so it is enough to look at the smallest ids; no index by time is needed.
		r, err := tx.ExecContext(ctx, `DELETE FROM attempts WHERE id IN (SELECT id FROM attempts ORDER BY id LIMIT ?) AND started_us < ?`,
			max, before.UnixMicro())
		if err != nil {
			return err
		}
		n, err = r.RowsAffected()
		return err
	})
	if err != nil {
		return 0, err
	}
	return int(n), nil
}
