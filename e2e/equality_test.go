package e2e

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rowhook/rowhook/examples/sakila"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// Sakila's whole load, whose triggers write further tables, is in the log as it is in the tables.
func TestEqualityOfSakila(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		name, _ := dbservertest.Database(t, srv)
		p := newRecording(t, srv, name, "")
		loadSakila(t, srv, name, "schema.sql")
		m := newMirror(t, srv, name)
		loadSakila(t, srv, name, "data.sql")
		p.caughtUp()
		p.stop()
		p.play(m.apply)
		m.finish()
		m.equal()
		if m.applied < 40_000 {
			t.Errorf("only %d changes were applied", m.applied)
		}
	})
}

// loadSakila runs one of Sakila's two files in the database.
func loadSakila(t *testing.T, srv *dbserver.Server, database, file string) {
	t.Helper()
	db, err := srv.Open(database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The files leave their settings in the session.
	defer func() { _ = conn.Raw(func(any) error { return driver.ErrBadConn }) }()
	text, err := os.ReadFile(filepath.Join("..", "examples", "sakila", file))
	if err != nil {
		t.Fatal(err)
	}
	for _, piece := range sakila.Pieces(withoutDatabase(string(text))) {
		must(t, conn, piece)
	}
	must(t, conn, "COMMIT")
}

// withoutDatabase leaves out the lines of a script that would make another database of it.
func withoutDatabase(text string) string {
	var kept strings.Builder
	for line := range strings.Lines(strings.ReplaceAll(text, "sakila.", "")) {
		if !strings.HasPrefix(line, "USE sakila") && !strings.Contains(line, "SCHEMA IF EXISTS sakila") && !strings.HasPrefix(line, "CREATE SCHEMA") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// pauseFor waits so many milliseconds.
func pauseFor(ctx context.Context, ms int) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Duration(ms) * time.Millisecond):
		return nil
	}
}

// Random transactions on random tables of all types, with every sort of key and image, while the capture is killed again and again.
func TestEqualityOfRandomTables(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		equalityOfRandomTables(t, srv, 6, 250, 5)
	})
}

func equalityOfRandomTables(t *testing.T, srv *dbserver.Server, tables, transactions, kills int) {
	t.Helper()
	from := seed(t)
	r := rand.New(rand.NewPCG(from, 1))
	name, db := dbservertest.Database(t, srv)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	made := randomTables(t, db, srv.Kind(), r, tables)
	conn.Close()
	p := newRecording(t, srv, name, "")
	m := newMirror(t, srv, name)
	load := startRandomLoad(t.Context(), db, made, from, transactions)
	p.killAtRandom(r, kills)
	load.finish(t)
	p.caughtUp()
	p.stop()
	p.play(m.apply)
	m.finish()
	m.equal()
	if m.applied < transactions {
		t.Errorf("only %d changes were applied", m.applied)
	}
}

// killAtRandom kills and restarts the capture so many times.
func (p *recording) killAtRandom(r *rand.Rand, kills int) {
	p.t.Helper()
	for range kills {
		_ = pauseFor(p.t.Context(), 50+r.IntN(900))
		p.daemon.mustRun()
		p.daemon.kill()
		p.start()
	}
}

// Tables are altered while they are written to: plainly, and as gh-ost and pt-online-schema-change do, by a copy that is swapped in.
func TestEqualityOfAlteredTables(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		name, db := dbservertest.Database(t, srv)
		must(t, db, "CREATE TABLE a (id INT AUTO_INCREMENT PRIMARY KEY, v INT NOT NULL, w VARCHAR(20) CHARACTER SET latin1)")
		p := newRecording(t, srv, name, "")
		m := newMirror(t, srv, name)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- writeTo(ctx, db) }()
		alter := func(statement string, tables ...string) {
			m.expect(statement, tables...)
			must(t, db, statement)
			_ = pauseFor(t.Context(), 100)
		}
		alter("ALTER TABLE a ADD COLUMN x INT NOT NULL DEFAULT 7 AFTER v", "a")
		alter("ALTER TABLE a DROP COLUMN w, ADD COLUMN y DECIMAL(20,4) NULL", "a")
		alter("ALTER TABLE a RENAME COLUMN x TO z", "a")
		alter("ALTER TABLE a ADD COLUMN first VARCHAR(300) NOT NULL DEFAULT 'é' FIRST", "a")
		p.daemon.kill() // the next ones are in the backlog
		alter("CREATE TABLE _a_gho LIKE a", "_a_gho")
		alter("ALTER TABLE _a_gho ADD COLUMN ghost BIGINT NULL", "_a_gho")
		for _, trigger := range []string{
			"CREATE TRIGGER gi AFTER INSERT ON a FOR EACH ROW REPLACE INTO _a_gho (id, first, v, z, y) VALUES (NEW.id, NEW.first, NEW.v, NEW.z, NEW.y)",
			"CREATE TRIGGER gu AFTER UPDATE ON a FOR EACH ROW REPLACE INTO _a_gho (id, first, v, z, y) VALUES (NEW.id, NEW.first, NEW.v, NEW.z, NEW.y)",
			"CREATE TRIGGER gd AFTER DELETE ON a FOR EACH ROW DELETE FROM _a_gho WHERE id = OLD.id",
		} {
			must(t, db, trigger)
		}
		must(t, db, "INSERT IGNORE INTO _a_gho (id, first, v, z, y) SELECT id, first, v, z, y FROM a LOCK IN SHARE MODE")
		p.start()
		alter("RENAME TABLE a TO _a_del, _a_gho TO a", "a", "_a_del", "_a_gho")
		_ = pauseFor(t.Context(), 300)
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		must(t, db, "DROP TRIGGER gi; DROP TRIGGER gu; DROP TRIGGER gd")
		alter("DROP TABLE _a_del", "_a_del")
		p.caughtUp()
		p.stop()
		p.play(m.apply)
		m.finish()
		m.equal()
	})
}

// writeTo changes table a until ctx ends, with columns that are always there.
func writeTo(ctx context.Context, db *sql.DB) error {
	r := rand.New(rand.NewPCG(1, 2))
	for ctx.Err() == nil {
		s := []string{"INSERT INTO a (v) VALUES (%d)", "INSERT INTO a (v) VALUES (%d), (1), (2)", "UPDATE a SET v = v + 1 WHERE id %% 7 = %d LIMIT 3",
			"DELETE FROM a WHERE v %% 11 = %d LIMIT 2"}[r.IntN(4)]
		if _, err := db.ExecContext(ctx, fmt.Sprintf(s, r.IntN(20))); err != nil && ctx.Err() == nil && !passing(err) {
			return err
		}
	}
	return nil
}
