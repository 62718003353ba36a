package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Subscription is where a subscription starts.
type Subscription struct {
	Source, Endpoint, Name string
	// DefinitionHash tells an edited definition from the one that From belongs to.
	DefinitionHash string
	// From is the first seq that the subscription is about.
	From uint64
}

// EnsureSubscription returns where a subscription starts. The first time, and when its definition is not the stored one (an edit is
// a new version with its own range), it stores from as its start and reports created.
func (s *Store) EnsureSubscription(ctx context.Context, source, endpoint, name, definitionHash string, from uint64) (stored uint64, created bool, err error) {
	err = s.update(ctx, "store subscription "+name+" of endpoint "+endpoint, func(tx *sql.Tx) error {
		var hash string
		err := tx.QueryRowContext(ctx, `SELECT definition_hash, from_seq FROM subscriptions WHERE source = ? AND endpoint = ? AND name = ?`,
			source, endpoint, name).Scan(&hash, &stored)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err == nil && hash == definitionHash {
			created = false
			return nil
		}
		stored, created = from, true
		_, err = tx.ExecContext(ctx, `INSERT INTO subscriptions (source, endpoint, name, definition_hash, from_seq, created_ms) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (source, endpoint, name) DO UPDATE SET
			definition_hash = excluded.definition_hash, from_seq = excluded.from_seq, created_ms = excluded.created_ms`,
			source, endpoint, name, definitionHash, from, time.Now().UnixMilli())
		return err
	})
	if err != nil {
		return 0, false, err
	}
	return stored, created, nil
}

// Subscriptions returns the stored subscriptions of a source, in order of endpoint and name.
func (s *Store) Subscriptions(ctx context.Context, source string) ([]Subscription, error) {
	var out []Subscription
	err := s.query(ctx, "load the subscriptions of source "+source,
		`SELECT endpoint, name, definition_hash, from_seq FROM subscriptions WHERE source = ? ORDER BY endpoint, name`, []any{source},
		func(rows *sql.Rows) error {
			sub := Subscription{Source: source}
			if err := rows.Scan(&sub.Endpoint, &sub.Name, &sub.DefinitionHash, &sub.From); err != nil {
				return err
			}
			out = append(out, sub)
			return nil
		})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ForgetSubscriptions removes the subscriptions of a source that keep says no to, and returns them. One that comes back later
// starts anew.
func (s *Store) ForgetSubscriptions(ctx context.Context, source string, keep func(Subscription) bool) ([]Subscription, error) {
	all, err := s.Subscriptions(ctx, source)
	if err != nil {
		return nil, err
	}
	var gone []Subscription
	for _, sub := range all {
		if !keep(sub) {
			gone = append(gone, sub)
		}
	}
	if len(gone) == 0 {
		return nil, nil
	}
	err = s.update(ctx, "forget subscriptions of source "+source, func(tx *sql.Tx) error {
		for _, sub := range gone {
			if _, err := tx.ExecContext(ctx, `DELETE FROM subscriptions WHERE source = ? AND endpoint = ? AND name = ? AND definition_hash = ?`,
				source, sub.Endpoint, sub.Name, sub.DefinitionHash); err != nil {
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
