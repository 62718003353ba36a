package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
)

// TypeFile is a file of event types as it was.
type TypeFile struct {
	Path    string `json:"path"`
	Content []byte `json:"content"`
}

// PutTypes stores a set of event types as the next version, unless the latest has the same files in the same order: then it
// returns that one. Going back to an older set is a new version too, because versions only grow along a log. Versions begin at 1.
func (s *Store) PutTypes(ctx context.Context, files []TypeFile) (version uint64, created bool, err error) {
	if files == nil {
		files = []TypeFile{}
	}
	text, err := json.Marshal(files)
	if err != nil {
		return 0, false, fmt.Errorf("store event types: %w", err)
	}
	sum := sha256.Sum256(text)
	err = s.update(ctx, "store event types", func(tx *sql.Tx) error {
		var have []byte
		version, created = 0, false
		err := tx.QueryRowContext(ctx, `SELECT version, sha256 FROM type_versions ORDER BY version DESC LIMIT 1`).Scan(&version, &have)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err == nil && bytes.Equal(have, sum[:]) {
			return nil
		}
		version, created = version+1, true
		_, err = tx.ExecContext(ctx, `INSERT INTO type_versions (version, sha256, files, created_ms) VALUES (?, ?, ?, ?)`,
			version, sum[:], string(text), millis(now()))
		return err
	})
	if err != nil {
		return 0, false, err
	}
	return version, created, nil
}

// Types returns the files of a version of the event types. It fails with ErrNotFound if there is none.
func (s *Store) Types(ctx context.Context, version uint64) ([]TypeFile, error) {
	_, files, err := s.types(ctx, fmt.Sprintf("load version %d of the event types", version), `WHERE version = ?`, version)
	return files, err
}

// LatestTypes returns the newest version of the event types and its files. It fails with ErrNotFound if there is none.
func (s *Store) LatestTypes(ctx context.Context) (uint64, []TypeFile, error) {
	return s.types(ctx, "load the latest event types", `ORDER BY version DESC LIMIT 1`)
}

func (s *Store) types(ctx context.Context, doing, where string, args ...any) (uint64, []TypeFile, error) {
	var version uint64
	var sum, text []byte
	err := s.reader.QueryRowContext(ctx, `SELECT version, sha256, files FROM type_versions `+where, args...).Scan(&version, &sum, &text)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return 0, nil, s.failed(doing, err)
	}
	if have := sha256.Sum256(text); !bytes.Equal(sum, have[:]) {
		return 0, nil, s.failed(doing, &damage{table: "type_versions", verdict: "the files are not those that were stored"})
	}
	var files []TypeFile
	if err := strictJSON(text, &files); err != nil {
		return 0, nil, s.failed(doing, err)
	}
	return version, files, nil
}
