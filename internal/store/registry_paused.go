package store

import (
	"context"
	"database/sql"

	"github.com/rowhook/rowhook/internal/deliver"
)

// DeclaredSubscription names a subscription of the configuration.
type DeclaredSubscription struct {
	Endpoint, Name string
}

// SetPaused stores whether a declared subscription is paused, with the ranges that the change ended or began, in one transaction.
func (s *Store) SetPaused(ctx context.Context, d DeclaredSubscription, paused bool, ranges []deliver.Range) error {
	query := `DELETE FROM paused_subscriptions WHERE endpoint = ? AND name = ?`
	if paused {
		query = `INSERT OR IGNORE INTO paused_subscriptions (endpoint, name) VALUES (?, ?)`
	}
	return s.update(ctx, "store whether subscription "+d.Name+" of endpoint "+d.Endpoint+" is paused", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, query, d.Endpoint, d.Name); err != nil {
			return err
		}
		return s.putRanges(ctx, tx, ranges)
	})
}

// Paused returns the declared subscriptions that are paused, in order of endpoint and name.
func (s *Store) Paused(ctx context.Context) ([]DeclaredSubscription, error) {
	var out []DeclaredSubscription
	err := s.query(ctx, "load the subscriptions that are paused", `SELECT endpoint, name FROM paused_subscriptions ORDER BY endpoint, name`, nil,
		func(rows *sql.Rows) error {
			var d DeclaredSubscription
			err := rows.Scan(&d.Endpoint, &d.Name)
			out = append(out, d)
			return err
		})
	if err != nil {
		return nil, err
	}
	return out, nil
}
