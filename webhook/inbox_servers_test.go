package webhook_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"

	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
	"github.com/rowhook/rowhook/webhook"
)

func TestMain(m *testing.M) {
	code := dbservertest.Run(m)
	if err := postgres.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping PostgreSQL:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// database is an empty database, or schema, of a test's own.
type database struct {
	*sql.DB
	dialect webhook.Dialect
}

// eachDatabase runs a test on every kind of database, for MySQL also with the driver's option that counts changed rows otherwise.
func eachDatabase(t *testing.T, test func(t *testing.T, db database)) {
	t.Helper()
	for _, kind := range dbserver.Kinds() {
		for _, option := range []string{"", "?clientFoundRows=true", "?interpolateParams=true&clientFoundRows=true"} {
			t.Run(string(kind)+option, func(t *testing.T) {
				t.Parallel()
				srv := dbservertest.Get(t, kind)
				name, _ := dbservertest.Database(t, srv)
				test(t, database{open(t, "mysql", srv.DSN(name)+option), webhook.MySQL})
			})
		}
	}
	t.Run("postgresql", func(t *testing.T) {
		t.Parallel()
		test(t, postgresSchema(t))
	})
	for _, option := range []string{"", "&_txlock=immediate"} {
		t.Run("sqlite"+option, func(t *testing.T) {
			t.Parallel()
			test(t, database{openSQLite(t, option), webhook.SQLite})
		})
	}
}

func openSQLite(t *testing.T, option string) *sql.DB {
	t.Helper()
	return open(t, "sqlite", "file:"+filepath.Join(t.TempDir(), "receiver.db")+"?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)"+option)
}

// postgresSchema makes a schema that the pool works in.
func postgresSchema(t *testing.T) database {
	t.Helper()
	dsn := postgres.get(t)
	name := "t_" + strings.ToLower(rand.Text())
	admin := openPGX(t, dsn)
	if _, err := admin.ExecContext(t.Context(), "CREATE SCHEMA "+name); err != nil {
		t.Fatal(err)
	}
	return database{openPGX(t, dsn+" search_path="+name), webhook.PostgreSQL}
}

func openPGX(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := openPostgres(dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func open(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func (db database) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func (db database) count(t *testing.T, query string, args ...any) int {
	t.Helper()
	n := 0
	if err := db.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// inbox makes an inbox and its tables.
func (db database) inbox(t *testing.T, o webhook.InboxOptions) *webhook.Inbox {
	t.Helper()
	o.Dialect = db.dialect
	in, err := webhook.NewInbox(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Create(t.Context(), db.DB); err != nil {
		t.Fatal(err)
	}
	return in
}

// levels are the isolation levels that differ in this database.
func (db database) levels() []sql.IsolationLevel {
	if db.dialect == webhook.SQLite {
		return []sql.IsolationLevel{sql.LevelDefault}
	}
	return []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable}
}

// begin begins a transaction that is rolled back at the test's end at the latest.
func (db database) begin(t *testing.T, level sql.IsolationLevel) *sql.Tx {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: level})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

// transact runs a transaction until the database does not ask for another try.
func (db database) transact(ctx context.Context, level sql.IsolationLevel, do func(*sql.Tx) error) error {
	for {
		tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: level})
		if err != nil {
			return err
		}
		if err = do(tx); err == nil {
			err = tx.Commit()
		} else if rollback := tx.Rollback(); rollback != nil {
			return errors.Join(err, rollback)
		}
		if !askedAgain(err) {
			return err
		}
	}
}

// askedAgain says whether a database asks for the transaction to be run again.
func askedAgain(err error) bool {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return e.Number == 1213 || e.Number == 1205 || e.Number == 1020 // deadlock, lock wait, changed since last read
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code == "40001" || e.Code == "40P01" // serialization failure, deadlock
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == 5 // busy
}

// place makes placeholders for the dialect out of question marks.
func (db database) place(statement string) string {
	if db.dialect != webhook.PostgreSQL {
		return statement
	}
	var b strings.Builder
	n := 0
	for _, r := range statement {
		if r == '?' {
			n++
			fmt.Fprintf(&b, "$%d", n)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
