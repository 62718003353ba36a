package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rowhook/rowhook/webhook"
)

// EndpointRecord is an endpoint that the API made.
type EndpointRecord struct {
	// ID is never used twice.
	ID          string
	Tenant      string
	URL         string
	Description string
	Settings    EndpointSettings
	// Secrets sign, the newest first. They are encrypted on the disk.
	Secrets []SigningSecret
	// Version is 1 at first and grows with each change.
	Version              uint64
	CreatedAt, UpdatedAt time.Time
	// Deleted is set once its deletion has begun.
	Deleted bool
}

// EndpointSettings are an endpoint's settings as they are stored.
type EndpointSettings struct {
	Concurrency int
	Timeout     time.Duration
	QueueBytes  int64
	Ordered     bool
}

// SigningSecret is a secret and until when it signs.
type SigningSecret struct {
	Secret webhook.Secret
	// ExpiresAt zero is never.
	ExpiresAt time.Time
}

// storedSettings is the JSON of EndpointSettings.
type storedSettings struct {
	Concurrency int   `json:"concurrency"`
	TimeoutMS   int64 `json:"timeout_ms"`
	QueueBytes  int64 `json:"queue_bytes"`
	Ordered     bool  `json:"ordered"`
}

// storedSecret is the JSON of a SigningSecret, before it is sealed.
type storedSecret struct {
	Secret    string `json:"secret"`
	ExpiresMS int64  `json:"expires_ms,omitempty"`
}

// endpointRecord is the name that an endpoint's secrets are sealed under.
func endpointRecord(id string) string { return "endpoint " + id }

const endpointColumns = `id, tenant, url, description, settings, secrets, version, created_ms, updated_ms, deleted_ms`

// CreateEndpoint stores a new endpoint and sets its version and times.
func (s *Store) CreateEndpoint(ctx context.Context, r *EndpointRecord) error {
	doing := "store endpoint " + r.ID
	settings, secrets, err := s.encodeEndpoint(r)
	if err != nil {
		return s.failed(doing, err)
	}
	at := now()
	err = s.update(ctx, doing, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO endpoints (`+endpointColumns+`, expires_ms) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, 0, ?)`,
			r.ID, r.Tenant, r.URL, r.Description, settings, secrets, millis(at), millis(at), nextExpiry(r.Secrets))
		return err
	})
	if err != nil {
		return err
	}
	r.Version, r.CreatedAt, r.UpdatedAt, r.Deleted = 1, at, at, false
	return nil
}

// UpdateEndpoint stores a changed endpoint if its version is still r.Version, and sets the next version and the time. Tenant and
// CreatedAt do not change. It fails with a *VersionError, or with ErrNotFound if there is no such endpoint or it is being deleted.
func (s *Store) UpdateEndpoint(ctx context.Context, r *EndpointRecord) error {
	doing := "store the change of endpoint " + r.ID
	settings, secrets, err := s.encodeEndpoint(r)
	if err != nil {
		return s.failed(doing, err)
	}
	at := now()
	err = s.update(ctx, doing, func(tx *sql.Tx) error {
		if err := checkEndpointVersion(ctx, tx, r.ID, r.Version); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE endpoints SET url = ?, description = ?, settings = ?, secrets = ?, expires_ms = ?,
			version = version + 1, updated_ms = ? WHERE id = ?`,
			r.URL, r.Description, settings, secrets, nextExpiry(r.Secrets), millis(at), r.ID)
		return err
	})
	if err != nil {
		return err
	}
	r.Version++
	r.UpdatedAt = at
	return nil
}

// checkEndpointVersion fails unless the endpoint has this version; 0 is any.
func checkEndpointVersion(ctx context.Context, tx *sql.Tx, id string, version uint64) error {
	return checkVersion(tx.QueryRowContext(ctx, `SELECT version FROM endpoints WHERE id = ? AND deleted_ms = 0`, id), version)
}

func checkVersion(row *sql.Row, wanted uint64) error {
	var have uint64
	err := row.Scan(&have)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	case err != nil:
		return err
	case wanted != 0 && have != wanted:
		return &VersionError{Have: have, Wanted: wanted}
	}
	return nil
}

// BeginDeleteEndpoint marks an endpoint as being deleted, if it has this version (0 is any): from then on it is listed as Deleted
// only. It fails with a *VersionError, or with ErrNotFound.
func (s *Store) BeginDeleteEndpoint(ctx context.Context, id string, version uint64) error {
	return s.update(ctx, "begin the deletion of endpoint "+id, func(tx *sql.Tx) error {
		if err := checkEndpointVersion(ctx, tx, id, version); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE endpoints SET deleted_ms = ? WHERE id = ?`, millis(now()), id)
		return err
	})
}

// DeleteEndpoint removes an endpoint's record and those of its subscriptions. Without one it does nothing.
func (s *Store) DeleteEndpoint(ctx context.Context, id string) error {
	return s.update(ctx, "delete endpoint "+id, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM endpoints WHERE id = ?`, id)
		return err
	})
}

// Endpoint returns an endpoint with its secrets. It fails with ErrNotFound, also while it is being deleted.
func (s *Store) Endpoint(ctx context.Context, id string) (EndpointRecord, error) {
	doing := "load endpoint " + id
	r, err := s.scanEndpoint(s.reader.QueryRowContext(ctx, `SELECT `+endpointColumns+` FROM endpoints WHERE id = ? AND deleted_ms = 0`, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return EndpointRecord{}, s.failed(doing, err)
	}
	return r, nil
}

// Endpoints returns at most limit endpoints in order of their ids, those behind after; tenant, if set, keeps out others. Those
// that are being deleted are left out.
func (s *Store) Endpoints(ctx context.Context, tenant, after string, limit int) ([]EndpointRecord, error) {
	where, args := `WHERE id > ? AND deleted_ms = 0`, []any{after}
	if tenant != "" {
		where, args = where+` AND tenant = ?`, append(args, tenant)
	}
	return s.endpoints(ctx, "load endpoints", where+` ORDER BY id LIMIT ?`, append(args, limit)...)
}

// DeletedEndpoints returns the ids of the endpoints whose deletion was begun and not finished.
func (s *Store) DeletedEndpoints(ctx context.Context) ([]string, error) {
	return s.strings(ctx, "load the endpoints that are being deleted", `SELECT id FROM endpoints WHERE deleted_ms > 0 ORDER BY id`)
}

// ExpiredSecrets returns the ids of at most limit endpoints of which a secret has ended before the given time.
func (s *Store) ExpiredSecrets(ctx context.Context, at time.Time, limit int) ([]string, error) {
	return s.strings(ctx, "look for secrets that have ended",
		`SELECT id FROM endpoints WHERE expires_ms > 0 AND expires_ms <= ? AND deleted_ms = 0 ORDER BY expires_ms LIMIT ?`, millis(at), limit)
}

// TenantCount is what belongs to a tenant.
type TenantCount struct {
	Tenant          string
	Endpoints, Keys int
}

// Tenants returns at most limit tenants that have endpoints or keys, in order of their names, those behind after.
func (s *Store) Tenants(ctx context.Context, after string, limit int) ([]TenantCount, error) {
	var out []TenantCount
	err := s.query(ctx, "load tenants", `SELECT tenant, SUM(endpoints), SUM(keys) FROM (
			SELECT tenant, COUNT(*) AS endpoints, 0 AS keys FROM endpoints WHERE tenant > ? AND deleted_ms = 0 GROUP BY tenant
			UNION ALL SELECT tenant, 0, COUNT(*) FROM api_keys WHERE tenant > ? GROUP BY tenant
		) GROUP BY tenant ORDER BY tenant LIMIT ?`, []any{after, after, limit}, func(rows *sql.Rows) error {
		var t TenantCount
		err := rows.Scan(&t.Tenant, &t.Endpoints, &t.Keys)
		out = append(out, t)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Store) strings(ctx context.Context, doing, query string, args ...any) ([]string, error) {
	var out []string
	err := s.query(ctx, doing, query, args, func(rows *sql.Rows) error {
		var text string
		err := rows.Scan(&text)
		out = append(out, text)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Store) endpoints(ctx context.Context, doing, where string, args ...any) ([]EndpointRecord, error) {
	var out []EndpointRecord
	err := s.query(ctx, doing, `SELECT `+endpointColumns+` FROM endpoints `+where, args, func(rows *sql.Rows) error {
		r, err := s.scanEndpoint(rows)
		out = append(out, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Store) scanEndpoint(row scanner) (EndpointRecord, error) {
	var r EndpointRecord
	var settings, secrets []byte
	var created, updated, deleted int64
	if err := row.Scan(&r.ID, &r.Tenant, &r.URL, &r.Description, &settings, &secrets, &r.Version, &created, &updated, &deleted); err != nil {
		return EndpointRecord{}, err
	}
	r.CreatedAt, r.UpdatedAt, r.Deleted = fromMillis(created), fromMillis(updated), deleted != 0
	if err := s.decodeEndpoint(&r, settings, secrets); err != nil {
		return EndpointRecord{}, fmt.Errorf("endpoint %s: %w", r.ID, err)
	}
	return r, nil
}

func (s *Store) encodeEndpoint(r *EndpointRecord) (settings string, secrets []byte, err error) {
	sealer, err := s.sealing()
	if err != nil {
		return "", nil, err
	}
	j, err := json.Marshal(storedSettings{
		Concurrency: r.Settings.Concurrency, TimeoutMS: r.Settings.Timeout.Milliseconds(), QueueBytes: r.Settings.QueueBytes, Ordered: r.Settings.Ordered,
	})
	if err != nil {
		return "", nil, err
	}
	stored := make([]storedSecret, len(r.Secrets))
	for i, k := range r.Secrets {
		stored[i] = storedSecret{Secret: k.Secret.Reveal(), ExpiresMS: millis(k.ExpiresAt)}
	}
	plain, err := json.Marshal(stored)
	if err != nil {
		return "", nil, err
	}
	return string(j), sealer.Seal(endpointRecord(r.ID), plain), nil
}

func (s *Store) decodeEndpoint(r *EndpointRecord, settings, secrets []byte) error {
	var j storedSettings
	if err := strictJSON(settings, &j); err != nil {
		return err
	}
	r.Settings = EndpointSettings{
		Concurrency: j.Concurrency, Timeout: time.Duration(j.TimeoutMS) * time.Millisecond, QueueBytes: j.QueueBytes, Ordered: j.Ordered,
	}
	sealer, err := s.sealing()
	if err != nil {
		return err
	}
	plain, err := sealer.Open(endpointRecord(r.ID), secrets)
	if err != nil {
		return err
	}
	var stored []storedSecret
	if err := strictJSON(plain, &stored); err != nil {
		return err
	}
	for _, k := range stored {
		secret, err := webhook.ParseSecret(k.Secret)
		if err != nil {
			return err
		}
		r.Secrets = append(r.Secrets, SigningSecret{Secret: secret, ExpiresAt: fromMillis(k.ExpiresMS)})
	}
	return nil
}

// nextExpiry is when the next of the secrets ends, 0 if none does.
func nextExpiry(secrets []SigningSecret) int64 {
	next := int64(0)
	for _, k := range secrets {
		if ms := millis(k.ExpiresAt); ms != 0 && (next == 0 || ms < next) {
			next = ms
		}
	}
	return next
}
