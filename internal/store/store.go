package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	_ "modernc.org/sqlite" // the driver
)

// readers is the number of connections for reading. Loading, queries of an operator and metrics rarely meet.
const readers = 4

// controlTables are small, and nothing works without them; the others may be large and are read page by page anyway.
const controlTables = "sources slots slot_progress endpoint_progress subscription_ranges endpoint_states endpoints api_subscriptions api_keys type_versions"

// Store is an open store. See the package comment for what it guarantees.
type Store struct {
	path   string // of the database
	lock   *os.File
	writer *sql.DB // one connection, so that writes take turns here and not by polling SQLite's lock
	reader *sql.DB
	stmt   statements
	sealer atomic.Pointer[Sealer]
	known  knownKeys
	log    *slog.Logger
}

// Open opens the store in dir and makes it, folder included, if there is none. It takes the folder for this process (a
// *LockedError names the one that holds it), brings the schema to this release's version, and ends the leases of earlier
// processes. The caller closes the store.
func Open(ctx context.Context, dir string, log *slog.Logger) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the store's folder: %w", classify(dir, err))
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", classify(dir, err))
	}
	s := &Store{path: filepath.Join(dir, FileName), lock: lock, log: log}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the store: %w", classify(s.path, err)), s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	if err := makePrivate(s.path); err != nil {
		return err
	}
	var err error
	if s.writer, err = sql.Open("sqlite", dsn(s.path, "_txlock=immediate", "cache_size(-16000)")); err != nil {
		return err
	}
	s.writer.SetMaxOpenConns(1)
	if err := migrate(ctx, s.writer, s.path, s.log); err != nil {
		return err
	}
	if err := s.check(ctx); err != nil {
		return err
	}
	if s.reader, err = sql.Open("sqlite", dsn(s.path, "", "cache_size(-4000)", "query_only(1)")); err != nil {
		return err
	}
	s.reader.SetMaxOpenConns(readers)
	s.reader.SetMaxIdleConns(readers)
	if err := s.stmt.prepare(ctx, s.writer); err != nil {
		return err
	}
	return s.endLeases(ctx)
}

// makePrivate makes the database, which holds row data, readable for its owner alone. SQLite gives its other files the same mode.
func makePrivate(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// dsn names the database and what every connection of a pool is set to.
func dsn(path, query string, pragmas ...string) string {
	q := []string{query}
	for _, p := range append([]string{"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		// A long read lets the WAL grow; afterwards the space goes back.
		"journal_size_limit(67108864)"}, pragmas...) {
		q = append(q, "_pragma="+url.QueryEscape(p))
	}
	u := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: strings.TrimPrefix(strings.Join(q, "&"), "&")}
	return u.String()
}

// check looks at the control tables' pages. A whole check would read gigabytes of attempts at each start.
func (s *Store) check(ctx context.Context) error {
	for table := range strings.FieldsSeq(controlTables) {
		var verdict string
		if err := s.writer.QueryRowContext(ctx, "PRAGMA quick_check("+table+")").Scan(&verdict); err != nil {
			return fmt.Errorf("check table %s: %w", table, err)
		}
		if verdict != "ok" {
			return classify(s.path, &damage{table: table, verdict: verdict})
		}
	}
	return nil
}

// Close closes the store and gives its folder back.
func (s *Store) Close() error {
	var errs []error
	if s.reader != nil {
		errs = append(errs, s.reader.Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.Close())
	}
	// Last: the next process may come in with the lock.
	errs = append(errs, s.lock.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the store: %w", err)
	}
	return nil
}

// update runs f in a write transaction.
func (s *Store) update(ctx context.Context, doing string, f func(*sql.Tx) error) error {
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return s.failed(doing, err)
	}
	if err := f(tx); err != nil {
		// SQLite has rolled back by itself after a full disk; then this says so, and there is nothing to add.
		_ = tx.Rollback()
		return s.failed(doing, err)
	}
	return s.failed(doing, tx.Commit())
}

// failed says what was being done when err happened; nil stays nil.
func (s *Store) failed(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, classify(s.path, err))
}

// query runs a query on a reading connection and calls scan for each row.
func (s *Store) query(ctx context.Context, doing, query string, args []any, scan func(*sql.Rows) error) error {
	rows, err := s.reader.QueryContext(ctx, query, args...)
	if err != nil {
		return s.failed(doing, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return s.failed(doing, err)
		}
	}
	return s.failed(doing, rows.Err())
}
