package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

const (
	// sealVersion is the first byte of what is sealed. Another form needs another version.
	sealVersion = 1
	sealKeySize = 32
	sealIDSize  = 8
	// sealHead is the version and the key's id.
	sealHead = 1 + sealIDSize
)

// What may keep a sealed record from being read.
var (
	// ErrUnknownKey: a record was sealed with a key that was not given; the error is an *UnknownKeyError.
	ErrUnknownKey = errors.New("encryption key is missing")
	// ErrNoSealer: the store was given no Sealer, and the call needs one.
	ErrNoSealer = errors.New("the store has no encryption key; set encryption.keys or encryption.key_file")
	// ErrBroken: a sealed record is damaged, or stands where another one belongs.
	ErrBroken = errors.New("encrypted record is damaged or is not this one")
)

// UnknownKeyError says which key is missing. Its id is derived from the key and tells nothing of it.
type UnknownKeyError struct {
	// Record is what cannot be opened.
	Record string
	// KeyID of the missing key.
	KeyID string
	// Known are the ids of the keys that were given.
	Known []string
}

func (e *UnknownKeyError) Error() string {
	return fmt.Sprintf("%s: %v: it was sealed with key %s, the keys given are %s; put that key back behind the others and start again",
		e.Record, ErrUnknownKey, e.KeyID, strings.Join(e.Known, ", "))
}

// Is makes errors.Is(err, ErrUnknownKey) true.
func (e *UnknownKeyError) Is(target error) bool { return target == ErrUnknownKey }

// Key seals and opens. It is immutable, and prints its id and nothing else.
type Key struct{ k *sealKey }

type sealKey struct {
	id   [sealIDSize]byte
	aead cipher.AEAD
}

// NewKey returns the key of 32 secret bytes, of which it keeps a copy.
func NewKey(raw []byte) (Key, error) {
	if len(raw) != sealKeySize {
		return Key{}, fmt.Errorf("an encryption key has %d bytes, not %d", sealKeySize, len(raw))
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return Key{}, fmt.Errorf("make an encryption key: %w", err)
	}
	k := &sealKey{}
	// The nonce is drawn for each record and stands before the ciphertext.
	if k.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return Key{}, fmt.Errorf("make an encryption key: %w", err)
	}
	sum := sha256.Sum256(append([]byte("rowhook encryption key id\x00"), raw...))
	copy(k.id[:], sum[:])
	return Key{k}, nil
}

// ID names the key: the beginning of a digest of it, 16 hexadecimal characters.
func (k Key) ID() string {
	if k.k == nil {
		return "(no key)"
	}
	return hex.EncodeToString(k.k.id[:])
}

// Format writes the id for every verb: without it some would print the fields.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "key "+k.ID()) }

// LogValue returns the id, for package slog.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.ID()) }

// Sealer encrypts what must not stand on the disk in clear, with AES-256-GCM. It may be used by many goroutines at once.
type Sealer struct {
	first *sealKey
	keys  map[[sealIDSize]byte]*sealKey
	ids   []string
}

// NewSealer returns a Sealer that seals with the first key and opens with all of them.
func NewSealer(keys ...Key) (*Sealer, error) {
	s := &Sealer{keys: map[[sealIDSize]byte]*sealKey{}}
	for _, k := range keys {
		if k.k == nil {
			return nil, errors.New("make a sealer: one of the encryption keys is empty")
		}
		if s.first == nil {
			s.first = k.k
		}
		s.keys[k.k.id] = k.k
		s.ids = append(s.ids, k.ID())
	}
	if s.first == nil {
		return nil, ErrNoSealer
	}
	return s, nil
}

// Seal encrypts a record. name says which record it is: what was sealed under one name does not open under another, so that
// somebody who can write to the disk cannot put one in the place of another.
func (s *Sealer) Seal(name string, plain []byte) []byte {
	head := append([]byte{sealVersion}, s.first.id[:]...)
	return s.first.aead.Seal(head, nil, plain, sealData(head, name))
}

// Open decrypts what Seal returned under the same name. The error is an *UnknownKeyError if the key was not given, and wraps
// ErrBroken if the bytes are not what was sealed.
func (s *Sealer) Open(name string, sealed []byte) ([]byte, error) {
	if len(sealed) < sealHead || sealed[0] != sealVersion {
		return nil, fmt.Errorf("%s: %w: it has no head of version %d", name, ErrBroken, sealVersion)
	}
	id := [sealIDSize]byte(sealed[1:sealHead])
	k, ok := s.keys[id]
	if !ok {
		return nil, &UnknownKeyError{Record: name, KeyID: hex.EncodeToString(id[:]), Known: s.ids}
	}
	plain, err := k.aead.Open(nil, nil, sealed[sealHead:], sealData(sealed[:sealHead], name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, ErrBroken)
	}
	return plain, nil
}

// sealData is what is authenticated beside the record itself. The head has one length, so nothing can move into the name.
func sealData(head []byte, name string) []byte {
	return append(append(make([]byte, 0, len(head)+len(name)), head...), name...)
}

// current reports whether it was sealed with the first key.
func (s *Sealer) current(sealed []byte) bool {
	return len(sealed) >= sealHead && sealed[0] == sealVersion && [sealIDSize]byte(sealed[1:sealHead]) == s.first.id
}

// SetSealer gives the store what encrypts the secrets of endpoints and stored answers. It may be called again, when the keys change.
func (s *Store) SetSealer(sealer *Sealer) { s.sealer.Store(sealer) }

func (s *Store) sealing() (*Sealer, error) {
	if sealer := s.sealer.Load(); sealer != nil {
		return sealer, nil
	}
	return nil, ErrNoSealer
}

// resealBatch is how many records are sealed anew in one transaction.
const resealBatch = 200

// Reseal encrypts everything with the Sealer's first key that another one sealed, and returns how many records that were.
// Afterwards the other keys are not needed any more. After an error the records before it are sealed anew; it may be called again.
func (s *Store) Reseal(ctx context.Context) (int, error) {
	sealer, err := s.sealing()
	if err != nil {
		return 0, fmt.Errorf("encrypt with the first key: %w", err)
	}
	total := 0
	for _, t := range sealedTables() {
		for after := int64(0); ; {
			n, last, err := s.resealBatch(ctx, sealer, t, after)
			total += n
			if err != nil {
				return total, err
			}
			if last == 0 {
				break
			}
			after = last
		}
	}
	return total, nil
}

// sealedTable is a table with a column that is sealed. The records are walked by their row ids, which do not change.
type sealedTable struct {
	what, list, put string
	name            func(a, b string) string
}

func sealedTables() []sealedTable {
	return []sealedTable{
		{
			what: "secrets of endpoints",
			list: `SELECT rowid, id, '', secrets FROM endpoints WHERE rowid > ? ORDER BY rowid LIMIT ?`,
			put:  `UPDATE endpoints SET secrets = ? WHERE rowid = ?`,
			name: func(id, _ string) string { return endpointRecord(id) },
		},
		{
			what: "stored answers",
			list: `SELECT rowid, key_id, idem_key, body FROM idempotency WHERE rowid > ? AND length(body) > 0 ORDER BY rowid LIMIT ?`,
			put:  `UPDATE idempotency SET body = ? WHERE rowid = ?`,
			name: answerRecord,
		},
	}
}

// sealed is one record as it stands.
type sealed struct {
	row   int64
	name  string
	bytes []byte
}

// resealBatch seals the next records after a row anew; last is 0 if there are no more.
func (s *Store) resealBatch(ctx context.Context, sealer *Sealer, t sealedTable, after int64) (n int, last int64, err error) {
	err = s.update(ctx, "encrypt the "+t.what+" with the first key", func(tx *sql.Tx) error {
		n, last = 0, 0
		records, err := t.page(ctx, tx, after)
		if err != nil {
			return err
		}
		for _, r := range records {
			last = r.row
			if sealer.current(r.bytes) {
				continue
			}
			plain, err := sealer.Open(r.name, r.bytes)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, t.put, sealer.Seal(r.name, plain), r.row); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	return n, last, nil
}

func (t sealedTable) page(ctx context.Context, tx *sql.Tx, after int64) ([]sealed, error) {
	rows, err := tx.QueryContext(ctx, t.list, after, resealBatch)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []sealed
	for rows.Next() {
		var r sealed
		var a, b string
		if err := rows.Scan(&r.row, &a, &b, &r.bytes); err != nil {
			return nil, err
		}
		r.name = t.name(a, b)
		out = append(out, r)
	}
	return out, rows.Err()
}
