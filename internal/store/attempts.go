package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
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

// EndpointAttempts returns a page of an endpoint's attempts, newest first: at most limit of those that were recorded before the
// cursor; 0 begins at the newest. next is the cursor of the page that follows, 0 if this one is the last.
func (s *Store) EndpointAttempts(ctx context.Context, endpoint string, before int64, limit int) (page []deliver.Attempt, next int64, err error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	return s.attemptsPage(ctx, "load the attempts of endpoint "+endpoint, limit, `WHERE endpoint = ? AND id < ? ORDER BY id DESC LIMIT ?`, endpoint, before)
}

// EventAttempts returns a page of an event's attempts to all endpoints, oldest first: at most limit of those that were recorded
// after the cursor; 0 begins at the oldest. next is the cursor of the page that follows, 0 if this one is the last.
func (s *Store) EventAttempts(ctx context.Context, eventID string, after int64, limit int) (page []deliver.Attempt, next int64, err error) {
	return s.attemptsPage(ctx, "load the attempts of event "+eventID, limit, `WHERE event_id = ? AND id > ? ORDER BY id LIMIT ?`, eventID, after)
}

// attemptsPage asks for one more than a page, to know whether another follows.
func (s *Store) attemptsPage(ctx context.Context, doing string, limit int, where string, args ...any) ([]deliver.Attempt, int64, error) {
	page, ids, err := s.attemptsWithIDs(ctx, doing, where, append(args, limit+1)...)
	if err != nil {
		return nil, 0, err
	}
	if len(page) <= limit {
		return page, 0, nil
	}
	return page[:limit], ids[limit-1], nil
}

func (s *Store) attempts(ctx context.Context, doing, where string, args ...any) ([]deliver.Attempt, error) {
	out, _, err := s.attemptsWithIDs(ctx, doing, where, args...)
	return out, err
}

func (s *Store) attemptsWithIDs(ctx context.Context, doing, where string, args ...any) ([]deliver.Attempt, []int64, error) {
	var out []deliver.Attempt
	var ids []int64
	err := s.query(ctx, doing, `SELECT id, `+attemptColumns+` FROM attempts `+where, args, func(rows *sql.Rows) error {
		var a deliver.Attempt
		var id int64
		var sum sql.RawBytes
		if err := rows.Scan(&id, &a.EventID, &a.Endpoint, &a.Source, &a.Seq, &a.Type, &a.Attempt, &a.Epoch, &a.StartedUS, &a.DurationUS,
			&a.Status, &a.Outcome, &a.Cause, &a.Error, &sum); err != nil {
			return err
		}
		copy(a.BodySHA256[:], sum)
		out, ids = append(out, a), append(ids, id)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return out, ids, nil
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
