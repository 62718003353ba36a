package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rowhook/rowhook/examples/sakila"
)

// loadSakila makes the database from schema.sql and data.sql in dir.
func loadSakila(ctx context.Context, db *sql.DB, dir string) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to load Sakila: %w", err)
	}
	// The files leave their settings in the session, autocommit among them, so the pool must not have it again.
	defer func() { _ = conn.Raw(func(any) error { return driver.ErrBadConn }) }()
	for _, name := range []string{"schema.sql", "data.sql"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("read Sakila (--sakila names its folder): %w", err)
		}
		for _, piece := range sakila.Pieces(string(text)) {
			if _, err := conn.ExecContext(ctx, piece); err != nil {
				return fmt.Errorf("load %s: %w", name, err)
			}
		}
	}
	// Sakila's payments end at 65535, which a busy shop reaches within hours.
	const widen = "COMMIT; SET AUTOCOMMIT=1; ALTER TABLE sakila.payment MODIFY payment_id INT UNSIGNED NOT NULL AUTO_INCREMENT"
	if _, err := conn.ExecContext(ctx, widen); err != nil {
		return fmt.Errorf("make room for payments: %w", err)
	}
	return nil
}
