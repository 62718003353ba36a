package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Stop is where a source stopped, at one transaction.
type Stop struct {
	Source string
	// GTID of the transaction; empty if the source has none.
	GTID string
	// File and Offset are where it begins, in the binlog file that was created at that second of the Unix epoch (0 with GTIDs).
	File        string
	Offset      uint64
	FileCreated uint32
	// Seq of the next change of the log then.
	Seq     uint64
	Code    string
	Message string
	At      time.Time
}

// Skip is a gap in a log: a transaction that an operator gave up.
type Skip struct {
	Stop
	Reason string
	// By is who did it: an API key's id, or the socket.
	By string
}

// SaveStop stores where a source has stopped, in place of what was stored of it before.
func (s *Store) SaveStop(ctx context.Context, p Stop) error {
	return s.update(ctx, "save the stop of source "+p.Source, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO stops (source, gtid, file, file_offset, file_created, seq, code, message, stopped_ms)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, p.Source, p.GTID, p.File, p.Offset, p.FileCreated, p.Seq, p.Code, p.Message, millis(p.At))
		return err
	})
}

// ClearStop forgets where a source has stopped.
func (s *Store) ClearStop(ctx context.Context, source string) error {
	return s.update(ctx, "forget the stop of source "+source, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM stops WHERE source = ?`, source)
		return err
	})
}

// LastStop returns where a source has stopped. It fails with ErrNotFound if it has not, or was started since.
func (s *Store) LastStop(ctx context.Context, source string) (Stop, error) {
	p := Stop{Source: source}
	var ms int64
	err := s.reader.QueryRowContext(ctx, `SELECT gtid, file, file_offset, file_created, seq, code, message, stopped_ms FROM stops WHERE source = ?`, source).
		Scan(&p.GTID, &p.File, &p.Offset, &p.FileCreated, &p.Seq, &p.Code, &p.Message, &ms)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Stop{}, s.failed("load the stop of source "+source, err)
	}
	p.At = fromMillis(ms)
	return p, nil
}

// AddSkip stores a gap, and forgets the stop that it cures. A gap that is there already stays as it is.
func (s *Store) AddSkip(ctx context.Context, k Skip) error {
	return s.update(ctx, "record a gap of source "+k.Source, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO skips (source, gtid, file, file_offset, file_created, seq, code, message, reason, made_by, made_ms)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			k.Source, k.GTID, k.File, k.Offset, k.FileCreated, k.Seq, k.Code, k.Message, k.Reason, k.By, millis(k.At))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM stops WHERE source = ?`, k.Source)
		return err
	})
}

// Skips returns a source's gaps, oldest first.
func (s *Store) Skips(ctx context.Context, source string) ([]Skip, error) {
	doing := "list the gaps of source " + source
	rows, err := s.reader.QueryContext(ctx, `SELECT gtid, file, file_offset, file_created, seq, code, message, reason, made_by, made_ms FROM skips
		WHERE source = ? ORDER BY made_ms, seq`, source)
	if err != nil {
		return nil, s.failed(doing, err)
	}
	defer rows.Close()
	var out []Skip
	for rows.Next() {
		k := Skip{Stop: Stop{Source: source}}
		var ms int64
		if err := rows.Scan(&k.GTID, &k.File, &k.Offset, &k.FileCreated, &k.Seq, &k.Code, &k.Message, &k.Reason, &k.By, &ms); err != nil {
			return nil, s.failed(doing, err)
		}
		k.At = fromMillis(ms)
		out = append(out, k)
	}
	return out, s.failed(doing, rows.Err())
}
