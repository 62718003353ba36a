package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// migrate brings the schema to this release's version, each step in a transaction of its own.
func migrate(ctx context.Context, db *sql.DB, path string, log *slog.Logger) error {
	steps, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, steps,
		goose.WithDisableGlobalRegistry(true), goose.WithTableName("schema_version"))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	if have > want {
		return &Error{Kind: ErrNewer, Path: path, Err: fmt.Errorf("schema %d, this release knows %d", have, want),
			Hint: "start the release that wrote it, or a newer one"}
	}
	done, err := p.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate the schema from version %d to %d: %w", have, want, err)
	}
	for _, r := range done {
		log.Info("store schema migrated", "step", r.Source.Version, "took", r.Duration)
	}
	return nil
}
