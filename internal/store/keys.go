package store

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"time"
)

const (
	keyPrefix     = "rhk_"
	keyIDSize     = 10
	keySecretSize = 32
	keySize       = len(keyPrefix) + keyIDSize + 1 + keySecretSize
	// lastUsedEvery is how often the last use of a key is written at most.
	lastUsedEvery = time.Minute
	// maxKnownKeys bounds the verified keys in memory; one more takes the place of any other.
	maxKnownKeys = 1024
)

// KeyRecord is an API key without its secret, of which the store has a digest only.
type KeyRecord struct {
	ID, Name, Scope, Tenant string
	CreatedAt               time.Time
	// ExpiresAt zero is never.
	ExpiresAt time.Time
	// LastUsedAt is right to about a minute; zero is never.
	LastUsedAt time.Time
}

func (r *KeyRecord) expired(at time.Time) bool {
	return !r.ExpiresAt.IsZero() && !at.Before(r.ExpiresAt)
}

// CreateKey makes an API key, sets the record's ID and CreatedAt, and returns the key. It cannot be had again.
func (s *Store) CreateKey(ctx context.Context, r *KeyRecord) (string, error) {
	r.ID, r.CreatedAt, r.LastUsedAt = RandomText(keyIDSize), now(), time.Time{}
	key := keyPrefix + r.ID + "_" + RandomText(keySecretSize)
	sum := sha256.Sum256([]byte(key))
	err := s.update(ctx, "store API key "+r.ID, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO api_keys (id, name, scope, tenant, sha256, created_ms, expires_ms, last_used_ms)
			VALUES (?, ?, ?, ?, ?, ?, ?, 0)`, r.ID, r.Name, r.Scope, r.Tenant, sum[:], millis(r.CreatedAt), millis(r.ExpiresAt))
		return err
	})
	if err != nil {
		return "", err
	}
	return key, nil
}

const keyColumns = `id, name, scope, tenant, created_ms, expires_ms, last_used_ms`

// Keys returns at most limit API keys in order of their ids, those behind after.
func (s *Store) Keys(ctx context.Context, after string, limit int) ([]KeyRecord, error) {
	var out []KeyRecord
	err := s.query(ctx, "load API keys", `SELECT `+keyColumns+` FROM api_keys WHERE id > ? ORDER BY id LIMIT ?`, []any{after, limit},
		func(rows *sql.Rows) error {
			r, err := scanKey(rows)
			out = append(out, r)
			return err
		})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func scanKey(row scanner, more ...any) (KeyRecord, error) {
	var r KeyRecord
	var created, expires, used int64
	if err := row.Scan(append([]any{&r.ID, &r.Name, &r.Scope, &r.Tenant, &created, &expires, &used}, more...)...); err != nil {
		return KeyRecord{}, err
	}
	r.CreatedAt, r.ExpiresAt, r.LastUsedAt = fromMillis(created), fromMillis(expires), fromMillis(used)
	return r, nil
}

// DeleteKey removes a key; when it returns no request can use it any more. It fails with ErrNotFound if there is none.
func (s *Store) DeleteKey(ctx context.Context, id string) error {
	err := s.update(ctx, "delete API key "+id, func(tx *sql.Tx) error {
		found, err := one(tx.ExecContext(ctx, `DELETE FROM api_keys WHERE id = ?`, id))
		if err == nil && !found {
			return ErrNotFound
		}
		return err
	})
	// Also after an error: a commit that failed may have been made.
	s.known.forget(id)
	return err
}

// Authenticate returns whose key it is; false if there is none like it, or it has expired. Most calls ask the memory alone; once a
// minute for each key the use is written down.
func (s *Store) Authenticate(ctx context.Context, key string) (KeyRecord, bool, error) {
	id, ok := keyID(key)
	if !ok {
		return KeyRecord{}, false, nil
	}
	sum, at := sha256.Sum256([]byte(key)), now()
	k, found, generation := s.known.get(id)
	if !found {
		var err error
		if k, found, err = s.loadKey(ctx, id); err != nil || !found {
			return KeyRecord{}, false, err
		}
	}
	if subtle.ConstantTimeCompare(k.sum[:], sum[:]) != 1 || k.record.expired(at) {
		return KeyRecord{}, false, nil
	}
	if s.known.use(generation, k, at) {
		s.noteUse(ctx, id, at)
	}
	return k.record, true, nil
}

// keyID returns the id in a key, false if it has not the form of one.
func keyID(key string) (string, bool) {
	rest, ok := strings.CutPrefix(key, keyPrefix)
	if !ok || len(key) != keySize || rest[keyIDSize] != '_' || !IsRandomText(rest[keyIDSize+1:], keySecretSize) {
		return "", false
	}
	return rest[:keyIDSize], IsRandomText(rest[:keyIDSize], keyIDSize)
}

func (s *Store) loadKey(ctx context.Context, id string) (knownKey, bool, error) {
	var k knownKey
	var sum []byte
	var err error
	k.record, err = scanKey(s.reader.QueryRowContext(ctx, `SELECT `+keyColumns+`, sha256 FROM api_keys WHERE id = ?`, id), &sum)
	if errors.Is(err, sql.ErrNoRows) {
		return knownKey{}, false, nil
	}
	if err != nil {
		return knownKey{}, false, s.failed("load API key "+id, err)
	}
	copy(k.sum[:], sum)
	return k, true, nil
}

// noteUse writes when a key was used. That it cannot be written keeps nobody out.
func (s *Store) noteUse(ctx context.Context, id string, at time.Time) {
	err := s.update(ctx, "note the use of API key "+id, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE api_keys SET last_used_ms = ? WHERE id = ? AND last_used_ms < ?`, millis(at), id, millis(at))
		return err
	})
	if err != nil && ctx.Err() == nil {
		s.log.Warn("use of an API key not written", "key", id, "err", err)
	}
}

// knownKey is a key that was verified.
type knownKey struct {
	sum    [sha256.Size]byte
	record KeyRecord
}

// knownKeys are the keys in memory. The zero value is ready to use.
type knownKeys struct {
	mu   sync.Mutex
	keys map[string]knownKey
	// generation counts what was forgotten, so that what was read before does not come in after.
	generation uint64
}

func (c *knownKeys) get(id string) (knownKey, bool, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.keys[id]
	return k, ok, c.generation
}

// use keeps a verified key, unless keys were forgotten since it was looked for, and reports whether its use is to be written.
func (c *knownKeys) use(generation uint64, k knownKey, at time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have, ok := c.keys[k.record.ID]; ok {
		k = have // its last use may be newer
	}
	write := at.Sub(k.record.LastUsedAt) >= lastUsedEvery
	if generation != c.generation {
		return write
	}
	if write {
		k.record.LastUsedAt = at
	}
	if c.keys == nil {
		c.keys = map[string]knownKey{}
	}
	if _, ok := c.keys[k.record.ID]; !ok && len(c.keys) >= maxKnownKeys {
		for id := range c.keys {
			delete(c.keys, id)
			break
		}
	}
	c.keys[k.record.ID] = k
	return write
}

func (c *knownKeys) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.keys, id)
	c.generation++
}
