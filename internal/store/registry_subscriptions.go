package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rowhook/rowhook/internal/deliver"
)

// SubscriptionRecord is a subscription that the API made. What it covers of each source stands in its ranges.
type SubscriptionRecord struct {
	// ID is never used twice, and names the ranges' Subscription.
	ID string
	// Endpoint is the id of one that the API made.
	Endpoint    string
	Description string
	// Types are change.Glob patterns.
	Types   []string
	Subject string
	// Paused subscriptions have ended their ranges; the next one begins where they end.
	Paused bool
	// Version is 1 at first and grows with each change. A range carries the version that it was made with.
	Version              uint64
	CreatedAt, UpdatedAt time.Time
}

const subscriptionColumns = `id, endpoint, description, types, subject, paused, version, created_ms, updated_ms`

// CreateSubscription stores a new subscription and its ranges in one transaction, and sets its version and times. It fails with
// ErrNotFound if there is no such endpoint or it is being deleted.
func (s *Store) CreateSubscription(ctx context.Context, r *SubscriptionRecord, ranges []deliver.Range) error {
	types, err := json.Marshal(r.Types)
	if err != nil {
		return fmt.Errorf("store subscription %s: %w", r.ID, err)
	}
	at := now()
	err = s.update(ctx, "store subscription "+r.ID, func(tx *sql.Tx) error {
		if err := checkEndpointVersion(ctx, tx, r.Endpoint, 0); err != nil {
			return fmt.Errorf("endpoint %s: %w", r.Endpoint, err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO api_subscriptions (`+subscriptionColumns+`) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?)`,
			r.ID, r.Endpoint, r.Description, string(types), r.Subject, r.Paused, millis(at), millis(at)); err != nil {
			return err
		}
		return s.putRanges(ctx, tx, ranges)
	})
	if err != nil {
		return err
	}
	r.Version, r.CreatedAt, r.UpdatedAt = 1, at, at
	return nil
}

// UpdateSubscription stores a changed subscription if its version is still r.Version, with the ranges that the change ended and
// began, in one transaction, and sets the next version and the time. Endpoint and CreatedAt do not change. It fails with a
// *VersionError, or with ErrNotFound.
func (s *Store) UpdateSubscription(ctx context.Context, r *SubscriptionRecord, ranges []deliver.Range) error {
	types, err := json.Marshal(r.Types)
	if err != nil {
		return fmt.Errorf("store the change of subscription %s: %w", r.ID, err)
	}
	at := now()
	err = s.update(ctx, "store the change of subscription "+r.ID, func(tx *sql.Tx) error {
		if err := checkSubscriptionVersion(ctx, tx, r.ID, r.Version); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE api_subscriptions SET description = ?, types = ?, subject = ?, paused = ?,
			version = version + 1, updated_ms = ? WHERE id = ?`,
			r.Description, string(types), r.Subject, r.Paused, millis(at), r.ID); err != nil {
			return err
		}
		return s.putRanges(ctx, tx, ranges)
	})
	if err != nil {
		return err
	}
	r.Version++
	r.UpdatedAt = at
	return nil
}

func checkSubscriptionVersion(ctx context.Context, tx *sql.Tx, id string, version uint64) error {
	return checkVersion(tx.QueryRowContext(ctx, `SELECT version FROM api_subscriptions WHERE id = ?`, id), version)
}

// DeleteSubscription removes a subscription if it has this version (0 is any), and stores the ranges that ended with it, in one
// transaction: what they cover is delivered still. It fails with a *VersionError, or with ErrNotFound.
func (s *Store) DeleteSubscription(ctx context.Context, id string, version uint64, ranges []deliver.Range) error {
	return s.update(ctx, "delete subscription "+id, func(tx *sql.Tx) error {
		if err := checkSubscriptionVersion(ctx, tx, id, version); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM api_subscriptions WHERE id = ?`, id); err != nil {
			return err
		}
		return s.putRanges(ctx, tx, ranges)
	})
}

// APISubscription returns a subscription that the API made. It fails with ErrNotFound, also while its endpoint is being deleted.
func (s *Store) APISubscription(ctx context.Context, id string) (SubscriptionRecord, error) {
	r, err := scanSubscription(s.reader.QueryRowContext(ctx, `SELECT `+subscriptionColumns+` FROM api_subscriptions WHERE id = ?
		AND endpoint NOT IN (SELECT id FROM endpoints WHERE deleted_ms > 0)`, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return SubscriptionRecord{}, s.failed("load subscription "+id, err)
	}
	return r, nil
}

// APISubscriptions returns at most limit subscriptions in order of their ids, those behind after. endpoint, if set, keeps out
// those of others, and so does tenant.
func (s *Store) APISubscriptions(ctx context.Context, endpoint, tenant, after string, limit int) ([]SubscriptionRecord, error) {
	where, args := `WHERE s.id > ? AND e.deleted_ms = 0`, []any{after}
	if endpoint != "" {
		where, args = where+` AND s.endpoint = ?`, append(args, endpoint)
	}
	if tenant != "" {
		where, args = where+` AND e.tenant = ?`, append(args, tenant)
	}
	var out []SubscriptionRecord
	err := s.query(ctx, "load subscriptions", `SELECT s.id, s.endpoint, s.description, s.types, s.subject, s.paused, s.version, s.created_ms, s.updated_ms
		FROM api_subscriptions s JOIN endpoints e ON e.id = s.endpoint `+where+` ORDER BY s.id LIMIT ?`, append(args, limit),
		func(rows *sql.Rows) error {
			r, err := scanSubscription(rows)
			out = append(out, r)
			return err
		})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// CountAPISubscriptions counts the subscriptions that the API made, without those of endpoints that are being deleted.
func (s *Store) CountAPISubscriptions(ctx context.Context) (int, error) {
	return s.count(ctx, "count subscriptions", `SELECT COUNT(*) FROM api_subscriptions s JOIN endpoints e ON e.id = s.endpoint WHERE e.deleted_ms = 0`)
}

// CountEndpoints counts the endpoints that the API made, without those that are being deleted.
func (s *Store) CountEndpoints(ctx context.Context) (int, error) {
	return s.count(ctx, "count endpoints", `SELECT COUNT(*) FROM endpoints WHERE deleted_ms = 0`)
}

func (s *Store) count(ctx context.Context, doing, query string) (int, error) {
	var n int
	err := s.reader.QueryRowContext(ctx, query).Scan(&n)
	return n, s.failed(doing, err)
}

func scanSubscription(row scanner) (SubscriptionRecord, error) {
	var r SubscriptionRecord
	var types []byte
	var created, updated int64
	if err := row.Scan(&r.ID, &r.Endpoint, &r.Description, &types, &r.Subject, &r.Paused, &r.Version, &created, &updated); err != nil {
		return SubscriptionRecord{}, err
	}
	r.CreatedAt, r.UpdatedAt = fromMillis(created), fromMillis(updated)
	if err := strictJSON(types, &r.Types); err != nil {
		return SubscriptionRecord{}, fmt.Errorf("subscription %s: %w", r.ID, err)
	}
	return r, nil
}

// RangesOf returns what the versions of one subscription cover of one source, in order of the versions. endpoint and subscription
// are as in deliver.Range.
func (s *Store) RangesOf(ctx context.Context, source, endpoint, subscription string) ([]deliver.Range, error) {
	return s.ranges(ctx, "load the ranges of subscription "+subscription, ` WHERE source = ? AND endpoint = ? AND subscription = ?`, source, endpoint, subscription)
}
