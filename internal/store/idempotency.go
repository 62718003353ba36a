package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	// answerRetention is how long a repeated request gets the first one's answer.
	answerRetention = 24 * time.Hour
	// answerTakeover is after how long a request without an answer is taken for one that a crash has ended.
	answerTakeover = 2 * time.Minute
	// maxAnswer bounds the body of a stored answer.
	maxAnswer = 64 << 10
)

// ErrTooLarge says that an answer is larger than what is stored.
var ErrTooLarge = errors.New("answer is too large to be stored")

// Answer is an answer as it was given the first time. Status 0 says that there is none yet.
type Answer struct {
	Status  int
	Headers map[string]string
	// Body has at most 64 KiB. It is encrypted on the disk.
	Body []byte
}

// answerRecord is the name that an answer is sealed under. A key's id has no space in it.
func answerRecord(keyID, key string) string { return "answer " + keyID + " " + key }

// BeginAnswer notes that a request with this idempotency key is being worked on, and returns nil. If there was one in the last
// 24 h it returns that one's answer, and whether it was the same request. One that has had no answer for 2 minutes, because the
// process died, is begun anew by the same request. Of many calls at once one gets nil.
func (s *Store) BeginAnswer(ctx context.Context, keyID, key string, request [sha256.Size]byte) (answer *Answer, same bool, err error) {
	at := now()
	err = s.update(ctx, "look for the first answer to a repeated request", func(tx *sql.Tx) error {
		answer, same = nil, false
		a, digest, created, err := s.answer(ctx, tx, keyID, key)
		if err != nil {
			return err
		}
		same = digest == request
		if a != nil && created.After(at.Add(-answerRetention)) && !(same && a.Status == 0 && created.Before(at.Add(-answerTakeover))) {
			answer = a
			return nil
		}
		same = false
		_, err = tx.ExecContext(ctx, `INSERT INTO idempotency (key_id, idem_key, request, status, headers, body, created_ms) VALUES (?, ?, ?, 0, '{}', x'', ?)
			ON CONFLICT (key_id, idem_key) DO UPDATE SET request = excluded.request, status = 0, headers = '{}', body = x'', created_ms = excluded.created_ms`,
			keyID, key, request[:], millis(at))
		return err
	})
	if err != nil {
		return nil, false, err
	}
	return answer, same, nil
}

// answer returns what is stored under the key, nil if nothing is.
func (s *Store) answer(ctx context.Context, tx *sql.Tx, keyID, key string) (*Answer, [sha256.Size]byte, time.Time, error) {
	var a Answer
	var digest [sha256.Size]byte
	var request, headers, body []byte
	var created int64
	err := tx.QueryRowContext(ctx, `SELECT request, status, headers, body, created_ms FROM idempotency WHERE key_id = ? AND idem_key = ?`, keyID, key).
		Scan(&request, &a.Status, &headers, &body, &created)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, digest, time.Time{}, nil
	}
	if err != nil {
		return nil, digest, time.Time{}, err
	}
	copy(digest[:], request)
	if a.Status == 0 {
		return &a, digest, fromMillis(created), nil
	}
	if err := strictJSON(headers, &a.Headers); err != nil {
		return nil, digest, time.Time{}, err
	}
	sealer, err := s.sealing()
	if err != nil {
		return nil, digest, time.Time{}, err
	}
	a.Body, err = sealer.Open(answerRecord(keyID, key), body)
	return &a, digest, fromMillis(created), err
}

// FinishAnswer stores the answer to a request that was begun, for 24 h from its beginning; nil forgets the request, so that it may
// be tried again. It fails with ErrTooLarge for a body of more than 64 KiB; the request then stands as begun.
func (s *Store) FinishAnswer(ctx context.Context, keyID, key string, a *Answer) error {
	const doing = "store an answer for repeated requests"
	if a == nil {
		return s.update(ctx, "forget a request", func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `DELETE FROM idempotency WHERE key_id = ? AND idem_key = ? AND status = 0`, keyID, key)
			return err
		})
	}
	if len(a.Body) > maxAnswer {
		return fmt.Errorf("%s: %w: %d bytes", doing, ErrTooLarge, len(a.Body))
	}
	headers, err := json.Marshal(a.Headers)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	sealer, err := s.sealing()
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return s.update(ctx, doing, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE idempotency SET status = ?, headers = ?, body = ? WHERE key_id = ? AND idem_key = ? AND status = 0`,
			a.Status, string(headers), sealer.Seal(answerRecord(keyID, key), a.Body), keyID, key)
		return err
	})
}

// PruneAnswers removes answers that are older than 24 h, at most max of them, and returns how many it removed.
func (s *Store) PruneAnswers(ctx context.Context, max int) (int, error) {
	var n int64
	err := s.update(ctx, "prune stored answers", func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `DELETE FROM idempotency WHERE rowid IN (SELECT rowid FROM idempotency WHERE created_ms <= ? ORDER BY created_ms LIMIT ?)`,
			millis(now().Add(-answerRetention)), max)
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
