package bench

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/rowhook/rowhook/internal/dbserver"
)

// ServerOptions say where a scenario makes its load.
type ServerOptions struct {
	// Kind is "mariadb" or "mysql". Empty means MariaDB, or what DSN names.
	Kind string
	// DSN names a server to use in place of a private one. Scenarios make a database of their own there and remove it.
	DSN string
	// Dir is the folder below which servers and logs are kept; empty means the system's temporary folder.
	Dir string
}

func (o ServerOptions) validate() error {
	switch dbserver.Kind(o.Kind) {
	case "", dbserver.MariaDB, dbserver.MySQL:
	default:
		return fmt.Errorf("--server is %q: use mariadb or mysql", o.Kind)
	}
	if o.DSN == "" {
		return nil
	}
	_, err := parseDSN(o.DSN)
	return err
}

// site is a server and a database of the scenario's own on it.
type site struct {
	kind     dbserver.Kind
	version  string
	private  *dbserver.Server // nil if the server was given
	cfg      *mysql.Config
	db       *sql.DB
	database string
	made     bool // the database exists
}

// openSite starts a private server, or connects to the given one, and makes the database.
func openSite(ctx context.Context, o ServerOptions, p *Progress, start dbserver.Options) (*site, error) {
	s := &site{kind: dbserver.Kind(o.Kind), database: "rowhook_bench_" + strings.ToLower(rand.Text()[:8])}
	if err := s.connect(ctx, o, p, start); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if err := s.makeDatabase(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// makeDatabase makes the database, which all further connections begin in.
func (s *site) makeDatabase(ctx context.Context) error {
	if _, err := s.db.ExecContext(ctx, "CREATE DATABASE "+s.database+" CHARACTER SET utf8mb4"); err != nil {
		return fmt.Errorf("make database %s: %w", s.database, err)
	}
	s.made = true
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("connect to database %s: %w", s.database, err)
	}
	s.cfg.DBName = s.database
	return s.openDB()
}

func (s *site) openDB() error {
	connector, err := mysql.NewConnector(s.cfg)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", s.cfg.Addr, err)
	}
	s.db = sql.OpenDB(connector)
	return nil
}

func (s *site) connect(ctx context.Context, o ServerOptions, p *Progress, start dbserver.Options) (err error) {
	if o.DSN != "" {
		if s.cfg, err = parseDSN(o.DSN); err != nil {
			return err
		}
	} else if err := s.start(ctx, o, p, start); err != nil {
		return err
	}
	s.cfg.Logger = &mysql.NopLogger{} // errors are returned, and say more
	if err := s.openDB(); err != nil {
		return err
	}
	if err := s.db.QueryRowContext(ctx, "SELECT @@version").Scan(&s.version); err != nil {
		return fmt.Errorf("connect to %s: %w", s.cfg.Addr, err)
	}
	kind := dbserver.MySQL
	if strings.Contains(s.version, "MariaDB") {
		kind = dbserver.MariaDB
	}
	if s.kind != "" && s.kind != kind {
		return fmt.Errorf("--server is %s, but the server at %s is %s (%s): leave --server out", s.kind, s.cfg.Addr, kind, s.version)
	}
	s.kind = kind
	return nil
}

func (s *site) start(ctx context.Context, o ServerOptions, p *Progress, start dbserver.Options) (err error) {
	if s.kind == "" {
		s.kind = dbserver.MariaDB
	}
	p.Step("starting a private %s", s.kind)
	start.Kind, start.Dir, start.Log = s.kind, o.Dir, slog.New(slog.NewTextHandler(p.w, nil))
	srv, err := dbserver.Start(ctx, start)
	if err != nil {
		return err
	}
	if s.cfg = srv.Config(); !srv.External() {
		s.private = srv
	}
	return nil
}

// close removes the database, or the server with it.
func (s *site) close() error {
	var errs []error
	if s.db != nil {
		if s.private == nil && s.made {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			_, err := s.db.ExecContext(ctx, "DROP DATABASE IF EXISTS "+s.database)
			errs = append(errs, err)
		}
		errs = append(errs, s.db.Close())
	}
	if s.private != nil {
		errs = append(errs, s.private.Close())
	}
	return errors.Join(errs...)
}

// exec runs statements one after another.
func (s *site) exec(ctx context.Context, statements ...string) error {
	for _, text := range statements {
		if _, err := s.db.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("%s: %w", firstWords(text), err)
		}
	}
	return nil
}

// firstWords is enough of a statement to know it by.
func firstWords(text string) string {
	words := strings.Fields(text)
	return strings.Join(words[:min(len(words), 3)], " ")
}

// describe adds what of the server decides its speed.
func (s *site) describe(ctx context.Context, f *Figures) error {
	where := "private"
	if s.private == nil {
		where = "given"
	}
	f.Add("server_version", s.version)
	f.Add("server_is", where)
	for _, name := range []string{"sync_binlog", "innodb_flush_log_at_trx_commit", "binlog_row_image", "binlog_row_metadata", "binlog_checksum"} {
		var value string
		if err := s.db.QueryRowContext(ctx, "SELECT @@GLOBAL."+name).Scan(&value); err != nil {
			return fmt.Errorf("ask for %s: %w", name, err)
		}
		f.Add(name, value)
	}
	return nil
}
