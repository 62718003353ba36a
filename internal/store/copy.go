package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// FileName is the name of the database in the store's folder.
const FileName = "rowhook.db"

// Copy writes a consistent copy of the database, as it is at one moment, to a path where nothing is yet. Writes go on meanwhile.
func (s *Store) Copy(ctx context.Context, path string) (err error) {
	if err := makePrivate(path); err != nil {
		return fmt.Errorf("copy the store: %w", classify(path, err))
	}
	// A connection of its own: those for reading refuse to write anything, also elsewhere.
	db, err := sql.Open("sqlite", dsn(s.path, "", "cache_size(-4000)"))
	if err != nil {
		return fmt.Errorf("copy the store: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", path)
	return s.failed("copy the store", err)
}
