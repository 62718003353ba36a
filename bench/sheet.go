package bench

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"
)

// sheetTable is the table that all scenarios change: 12 columns of the common kinds, about 250 bytes a row.
const sheetTable = "sheet_rows"

const createSheet = `CREATE TABLE sheet_rows (
	id BIGINT NOT NULL PRIMARY KEY,
	sheet_id BIGINT NOT NULL,
	title VARCHAR(64) NOT NULL,
	owner VARCHAR(64) NOT NULL,
	color VARCHAR(64) NOT NULL,
	price DECIMAL(12,2) NOT NULL,
	updated_at DATETIME(6) NOT NULL,
	attrs JSON NOT NULL,
	state ENUM('new','open','done') NOT NULL,
	qty INT NOT NULL,
	note TEXT NOT NULL,
	archived TINYINT NOT NULL
)`

// sheetRow makes every value of a row from its number n, so that no two rows are alike and all servers hold the same.
const sheetRow = `n, n DIV 1000, CONCAT('row ', n, ' of the plan'), CONCAT('owner', n MOD 977, '@example.com'), CONCAT('shade-', CONV(n * 2654435761, 10, 16)),
	n MOD 1000000 + 0.25, '2026-01-31 13:37:00.123456' + INTERVAL n SECOND,
	CONCAT('{"w": ', n MOD 640, ', "tags": ["a", "b"], "wrap": true}'), 1 + n MOD 3, n MOD 5000,
	CONCAT('note ', n, ': please check the figures against the invoice before the end of the month, thanks'), 0`

// loadChunk is a transaction's worth of rows: large enough to be quick, small enough to be undone and reported.
const loadChunk = 100_000

// load fills the table of a site with rows 1..n. On a private server it stays out of the binlog, which nobody reads here.
func (s *site) load(ctx context.Context, n int, p *Progress) error {
	connector, err := mysql.NewConnector(s.cfg)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", s.cfg.Addr, err)
	}
	// A connection of its own, closed when done: what is set on it must not reach the UPDATE.
	conn := sql.OpenDB(connector)
	defer conn.Close()
	conn.SetMaxOpenConns(1)
	statements := []string{createSheet, "INSERT INTO sheet_rows SELECT " + sheetRow + " FROM (SELECT 1 AS n) AS first"}
	if s.private != nil {
		statements = append([]string{"SET SESSION sql_log_bin = 0"}, statements...)
	}
	for _, text := range statements {
		if _, err := conn.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("%s: %w", firstWords(text), err)
		}
	}
	for have := 1; have < n; {
		chunk := min(have, loadChunk, n-have)
		// The rows that are there count the new ones.
		_, err := conn.ExecContext(ctx, fmt.Sprintf("INSERT INTO sheet_rows SELECT %s FROM (SELECT id + %d AS n FROM sheet_rows WHERE id <= %d) AS more", sheetRow, have, chunk))
		if err != nil {
			return fmt.Errorf("load row %d: %w", have+1, err)
		}
		have += chunk
		p.Part("loading rows", have, n)
	}
	return nil
}

// updateAll changes two columns of every row in one transaction and returns how long the server took.
func (s *site) updateAll(ctx context.Context, n int) (time.Duration, error) {
	start := time.Now()
	res, err := s.db.ExecContext(ctx, "UPDATE sheet_rows SET qty = qty + 1, updated_at = updated_at + INTERVAL 1 DAY")
	if err != nil {
		return 0, fmt.Errorf("update %d rows: %w", n, err)
	}
	took := time.Since(start)
	return took, changed(res, n)
}

// changed holds a statement to the number of rows it had to change.
func changed(res sql.Result, n int) error {
	got, err := res.RowsAffected()
	if err == nil && got != int64(n) {
		err = fmt.Errorf("the server changed %d rows, not %d", got, n)
	}
	return err
}
