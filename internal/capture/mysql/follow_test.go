package mysql

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// logFeed is a Feed that keeps every committed row as text, and the position after it, as the log would.
type logFeed struct {
	mu      sync.Mutex
	changed chan struct{}
	rows    []string
	text    func(*change.Change) string
	ddl     []string // the schema changes, which are not among the rows
	commits int
	heard   int
	pos     change.Position
	set     *change.GTIDSet
	tx      change.Transaction
	gtid    change.GTID
	builder *change.Builder
	segment bool
}

func newLogFeed(t *testing.T, flavor change.Flavor, from change.Position) *logFeed {
	t.Helper()
	set, err := change.ParseGTIDSet(flavor, from.GTIDSet)
	if err != nil {
		t.Fatal(err)
	}
	return &logFeed{changed: make(chan struct{}, 1), pos: from, set: set, text: changeText}
}

func (f *logFeed) Server(id string) { f.locked(func() { f.pos.Server = id }) }

func (f *logFeed) Begin(tx change.Transaction, g change.GTID) error {
	f.locked(func() { f.tx, f.gtid, f.builder, f.segment = tx, g, change.NewBuilder("test", 1), false })
	return nil
}

func (f *logFeed) BeginRows(change.Op, *change.Table) (*change.Builder, uint64, error) {
	if !f.segment {
		f.builder.BeginSegment(&f.tx, 0, nil, true)
		f.segment = true
	}
	return f.builder, 0, nil
}

func (f *logFeed) Dropped() error { return nil }
func (f *logFeed) Wrote() error   { return nil }
func (f *logFeed) EndRows() error { return nil }

func (f *logFeed) Heard(time.Time) { f.locked(func() { f.heard++ }) }

func (f *logFeed) Moved(file string, created uint32, offset uint64) error {
	f.locked(func() { f.pos.File, f.pos.FileCreated, f.pos.Offset = file, created, offset })
	return nil
}

func (f *logFeed) Commit(file string, end uint64) error {
	var rows, ddl []string
	if f.segment {
		f.builder.EndSegment(true)
		b, err := f.builder.Finish(1, change.Position{})
		if err != nil {
			return err
		}
		blk, err := change.Parse(b)
		if err != nil {
			return err
		}
		err = blk.Each(func(c *change.Change) error {
			if c.Table.IsSchemaChange() {
				ddl = append(ddl, schemaChangeText(c))
				return nil
			}
			rows = append(rows, f.text(c))
			return nil
		})
		if err != nil {
			return err
		}
	}
	f.locked(func() {
		if f.set.Contains(f.gtid) && f.gtid.Flavor == change.MySQL {
			rows = append(rows, "twice: "+f.gtid.String())
		}
		f.set.Add(f.gtid)
		f.rows, f.ddl = append(f.rows, rows...), append(f.ddl, ddl...)
		f.commits++
		f.pos.File, f.pos.Offset, f.pos.GTIDSet, f.pos.CommitTime = file, end, f.set.String(), f.tx.CommitTime
	})
	return nil
}

// changeText is "insert t 1": operation, table and first column.
func changeText(c *change.Change) string {
	v, err := c.Row().Values(nil)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s %s %d", c.Op, c.Table.Name, v[0].Int())
}

func (f *logFeed) locked(do func()) {
	f.mu.Lock()
	do()
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

func (f *logFeed) position() change.Position {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pos
}

// await waits until ok says yes of the feed.
func (f *logFeed) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		f.mu.Lock()
		done := ok()
		f.mu.Unlock()
		if done {
			return
		}
		select {
		case <-f.changed:
		case <-deadline:
			t.Fatalf("still waiting for %s; rows so far: %q", what, f.rows)
		}
	}
}

func (f *logFeed) awaitRows(t *testing.T, want ...string) {
	t.Helper()
	f.await(t, fmt.Sprintf("%d rows", len(want)), func() bool { return len(f.rows) >= len(want) })
	f.mu.Lock()
	got := slices.Clone(f.rows)
	f.mu.Unlock()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("rows (-want +got):\n%s", diff)
	}
}

func config(srv *dbserver.Server, tables ...string) Config {
	// Tests share servers, which know their replicas by an id that the instance is a part of.
	return Config{Source: "test", Instance: rand.Text(), DSN: srv.DSN(""), Tables: tables, Heartbeat: time.Second, TLS: TLS{Mode: TLSDisabled}}
}

func replica(t *testing.T, cfg Config) *Replica {
	t.Helper()
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.settle = 200 * time.Millisecond
	return r
}

func attach(t *testing.T, r *Replica, at string) change.Position {
	t.Helper()
	p, err := r.Attach(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// follow runs Follow until the returned function is called, which returns its error.
func follow(t *testing.T, r *Replica, from change.Position, feed Feed) (stop func() error) {
	t.Helper()
	stop, _ = start(t, r, from, feed)
	return stop
}

// start is follow; end waits for a Follow that ends by itself.
func start(t *testing.T, r *Replica, from change.Position, feed Feed) (stop, end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Follow(ctx, from, feed) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() {
			cancel()
			select {
			case err = <-done:
			case <-time.After(5 * time.Second):
				t.Error("Follow does not end with its context")
			}
		})
		return err
	}
	t.Cleanup(func() { _ = stop() })
	end = func() error {
		t.Helper()
		once.Do(func() {
			select {
			case err = <-done:
			case <-time.After(20 * time.Second):
				t.Error("Follow goes on")
			}
			cancel()
		})
		return err
	}
	return stop, end
}

func exec(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func flavorOf(srv *dbserver.Server) change.Flavor { return change.Flavor(srv.Kind()) }

func TestFollowTakesEveryCommittedRowInOrder(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		name, db := dbservertest.Database(t, srv)
		exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY, v TEXT); CREATE TABLE other (id INT PRIMARY KEY); INSERT INTO t VALUES (1, 'before')")
		r := replica(t, config(srv, name+".t*"))
		from := attach(t, r, AtNow)
		exec(t, db,
			"INSERT INTO t VALUES (2, 'a'), (3, 'b')",
			"START TRANSACTION; UPDATE t SET v = 'c' WHERE id = 3; INSERT INTO other VALUES (1); DELETE FROM t WHERE id = 1; COMMIT",
			"START TRANSACTION; INSERT INTO t VALUES (9, 'x'); ROLLBACK",
			"START TRANSACTION; INSERT INTO t VALUES (4, 'x'); SAVEPOINT s; INSERT INTO t VALUES (9, 'x'); ROLLBACK TO s; COMMIT",
			"ALTER TABLE t ADD w INT", "INSERT INTO t VALUES (5, 'd', 1)",
			"CREATE TABLE tm (id INT PRIMARY KEY) ENGINE=MyISAM", "INSERT INTO tm VALUES (1), (2)",
			"CREATE TABLE ts AS SELECT 7 AS id", "TRUNCATE TABLE ts", "INSERT INTO tm SELECT 3",
		)
		feed := newLogFeed(t, flavorOf(srv), from)
		stop := follow(t, r, from, feed)
		want := []string{"insert t 2", "insert t 3", "update t 3", "delete t 1", "insert t 4", "insert t 5", "insert tm 1", "insert tm 2",
			"insert ts 7", "insert tm 3"}
		feed.awaitRows(t, want...)
		exec(t, db, "FLUSH BINARY LOGS", "INSERT INTO t VALUES (6, 'live', 2)")
		feed.awaitRows(t, append(want, "insert t 6")...)
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("Follow: %v", err)
		}
		checkPosition(t, db, srv, feed.position())
		if got := time.Since(time.UnixMicro(feed.position().CommitTime)); got < 0 || got > time.Minute {
			t.Errorf("commit time is %v ago", got)
		}
	})
}

// checkPosition compares file and offset with where the server says that its last transaction ends.
func checkPosition(t *testing.T, db *sql.DB, srv *dbserver.Server, p change.Position) {
	t.Helper()
	var begins, ends uint64
	rows, err := db.QueryContext(t.Context(), "SHOW BINLOG EVENTS IN '"+p.File+"'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var last sql.NullString
	for rows.Next() {
		var kind string
		if err := rows.Scan(new(string), &begins, &kind, new(string), &ends, &last); err != nil {
			t.Fatal(err)
		}
		if ends == p.Offset && (kind == "Xid" || kind == "Query") {
			return
		}
	}
	t.Errorf("no transaction ends at %s:%d", p.File, p.Offset)
}

func TestFollowGoesOnAfterKillAndRestart(t *testing.T) {
	t.Parallel()
	for _, kind := range dbserver.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			srv := dbservertest.Start(t, dbserver.Options{Kind: kind})
			name, db := dbservertest.Database(t, srv)
			exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY)")
			r := replica(t, config(srv, name+".*"))
			from := attach(t, r, AtNow)
			feed := newLogFeed(t, flavorOf(srv), from)

			_, end := start(t, r, from, feed)
			exec(t, db, "INSERT INTO t VALUES (1)")
			feed.awaitRows(t, "insert t 1")
			exec(t, db, "KILL "+dumpThread(t, db))
			temporary(t, end())

			_, end = start(t, r, feed.position(), feed)
			exec(t, db, "INSERT INTO t VALUES (2)")
			feed.awaitRows(t, "insert t 1", "insert t 2")
			if err := srv.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			temporary(t, end())

			exec(t, db, "INSERT INTO t VALUES (3)")
			if err := srv.Kill(); err != nil {
				t.Fatal(err)
			}
			temporary(t, ends(t, r, feed.position(), feed))
			if err := srv.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			exec(t, db, "INSERT INTO t VALUES (4)")
			follow(t, r, feed.position(), feed)
			feed.awaitRows(t, "insert t 1", "insert t 2", "insert t 3", "insert t 4")
		})
	}
}

// ends runs a Follow that ends by itself.
func ends(t *testing.T, r *Replica, from change.Position, feed Feed) error {
	t.Helper()
	_, end := start(t, r, from, feed)
	return end()
}

func temporary(t *testing.T, err error) {
	t.Helper()
	var s *StopError
	if err == nil || errors.As(err, &s) || errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want one that another try may cure", err)
	}
}

func dumpThread(t *testing.T, db *sql.DB) string {
	t.Helper()
	var id string
	if err := db.QueryRowContext(t.Context(), "SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'").Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

func stopCode(t *testing.T, err error, code string, mentions ...string) {
	t.Helper()
	var s *StopError
	if !errors.As(err, &s) || s.Code != code {
		t.Errorf("err = %v, want a stop with code %s", err, code)
		return
	}
	for _, m := range mentions {
		if !strings.Contains(s.Error()+s.Hint, m) {
			t.Errorf("%q and its hint %q do not mention %q", s, s.Hint, m)
		}
	}
}

func TestPurgedBinlogIsAPositionLost(t *testing.T) {
	t.Parallel()
	for _, kind := range dbserver.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			srv := dbservertest.Start(t, dbserver.Options{Kind: kind})
			name, db := dbservertest.Database(t, srv)
			exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY)")
			r := replica(t, config(srv, name+".*"))
			old := attach(t, r, AtNow)
			exec(t, db, "INSERT INTO t VALUES (1)", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (2)")
			now := attach(t, r, AtNow)
			purgeTo(t, db, now.File)
			stopCode(t, ends(t, r, old, discard{}), CodePositionLost, "purged")

			earliest := attach(t, r, AtEarliest)
			feed := newLogFeed(t, flavorOf(srv), earliest)
			stop := follow(t, r, earliest, feed)
			feed.awaitRows(t, "insert t 2")
			_ = stop() // MariaDB resets no binlog that somebody reads

			reset := "RESET MASTER"
			if kind == dbserver.MySQL {
				reset = "RESET BINARY LOGS AND GTIDS"
			}
			exec(t, db, reset)
			stopCode(t, ends(t, r, now, discard{}), CodePositionLost, "lacks transactions")
		})
	}
}

// purgeTo purges until it is done: MariaDB keeps a file until its engine no longer needs it, and says nothing.
func purgeTo(t *testing.T, db *sql.DB, file string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		exec(t, db, "PURGE BINARY LOGS TO '"+file+"'")
		rows, err := (&session{db: db}).table(t.Context(), "SHOW BINARY LOGS")
		if err != nil {
			t.Fatal(err)
		}
		if rows[0]["log_name"] == file {
			return
		}
		<-tick.C
	}
	t.Fatal("the server does not purge its binlogs")
}

func TestFollowStopsAtAStatement(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		name, db := dbservertest.Database(t, srv)
		exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY)")
		r := replica(t, config(srv, name+".*"))
		from := attach(t, r, AtNow)
		exec(t, db, "SET SESSION binlog_format = 'STATEMENT'; INSERT INTO t VALUES (1); SET SESSION binlog_format = 'ROW'")
		stopCode(t, ends(t, r, from, discard{}), CodeStatementChange, "rowhook source skip", "binlog_format")
	})
}

func TestFollowStopsAtXA(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		name, db := dbservertest.Database(t, srv)
		exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE u (id INT PRIMARY KEY)")
		r := replica(t, config(srv, name+".t"))
		from := attach(t, r, AtNow)
		exec(t, db, "XA START 'u"+name+"'; INSERT INTO u VALUES (1); XA END 'u"+name+"'; XA PREPARE 'u"+name+"'; XA COMMIT 'u"+name+"'", "INSERT INTO t VALUES (1)")
		feed := newLogFeed(t, flavorOf(srv), from)
		stop := follow(t, r, from, feed)
		feed.awaitRows(t, "insert t 1")
		_ = stop()
		exec(t, db, "XA START 't"+name+"'; INSERT INTO t VALUES (2); XA END 't"+name+"'; XA PREPARE 't"+name+"'; XA COMMIT 't"+name+"'")
		stopCode(t, ends(t, r, feed.position(), feed), CodeXA)
		if len(feed.rows) != 1 {
			t.Errorf("rows = %q, want only the first", feed.rows)
		}
	})
}

func TestFollowInflatesCompressedTransactions(t *testing.T) {
	t.Parallel()
	for kind, args := range map[dbserver.Kind][]string{
		dbserver.MySQL:   {"--binlog-transaction-compression=ON"},
		dbserver.MariaDB: {"--log-bin-compress=ON", "--log-bin-compress-min-len=10"},
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			srv := dbservertest.Start(t, dbserver.Options{Kind: kind, Args: args})
			name, db := dbservertest.Database(t, srv)
			exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY, v TEXT)")
			r := replica(t, config(srv, name+".*"))
			from := attach(t, r, AtNow)
			var want []string
			var values []string
			for i := range 2000 {
				want = append(want, fmt.Sprintf("insert t %d", i))
				values = append(values, fmt.Sprintf("(%d, '%s')", i, strings.Repeat("x", 100)))
			}
			exec(t, db, "INSERT INTO t VALUES "+strings.Join(values, ","), "DELETE FROM t WHERE id = 7")
			feed := newLogFeed(t, flavorOf(srv), from)
			follow(t, r, from, feed)
			feed.awaitRows(t, append(want, "delete t 7")...)
		})
	}
}

func TestIdleServerIsHeard(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		name, _ := dbservertest.Database(t, srv)
		r := replica(t, config(srv, name+".*"))
		from := attach(t, r, AtNow)
		feed := newLogFeed(t, flavorOf(srv), from)
		follow(t, r, from, feed)
		feed.await(t, "packets", func() bool { return feed.heard > 5 })
	})
}

func TestFrozenServerEndsFollowInTime(t *testing.T) {
	t.Parallel()
	for _, kind := range dbserver.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			srv := dbservertest.Start(t, dbserver.Options{Kind: kind})
			name, db := dbservertest.Database(t, srv)
			exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY)")
			r := replica(t, config(srv, name+".*"))
			from := attach(t, r, AtNow)
			feed := newLogFeed(t, flavorOf(srv), from)
			_, end := start(t, r, from, feed)
			exec(t, db, "INSERT INTO t VALUES (1)")
			feed.awaitRows(t, "insert t 1")
			if err := srv.Pause(); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			temporary(t, end())
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("three missed heartbeats of 1 s were noticed after %v", took)
			}
			if err := srv.Resume(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestTaggedGTIDs(t *testing.T) {
	t.Parallel()
	srv := dbservertest.Get(t, dbserver.MySQL)
	name, db := dbservertest.Database(t, srv)
	exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY)")
	r := replica(t, config(srv, name+".*"))
	from := attach(t, r, AtNow)
	exec(t, db, "SET gtid_next = 'AUTOMATIC:rowhook_test'; INSERT INTO t VALUES (1); SET gtid_next = 'AUTOMATIC'", "INSERT INTO t VALUES (2)")
	feed := newLogFeed(t, change.MySQL, from)
	stop := follow(t, r, from, feed)
	feed.awaitRows(t, "insert t 1", "insert t 2")
	_ = stop()
	pos := feed.position()
	if !strings.Contains(pos.GTIDSet, ":rowhook_test:") {
		t.Errorf("GTID set %q has no tag", pos.GTIDSet)
	}
	exec(t, db, "INSERT INTO t VALUES (3)")
	follow(t, r, pos, feed)
	feed.awaitRows(t, "insert t 1", "insert t 2", "insert t 3")
}

func TestLogHoldsNoPassword(t *testing.T) {
	t.Parallel()
	srv := dbservertest.Get(t, dbserver.MySQL)
	var out strings.Builder
	cfg := config(srv, "a.b")
	cfg.DSN = "mysql://nobody:s3cr3t-word@" + srv.Addr() + "/"
	cfg.Log = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	err := ends(t, replica(t, cfg), change.Position{}, discard{})
	stopCode(t, err, CodeAccessDenied, "nobody")
	if strings.Contains(out.String()+err.Error(), "s3cr3t") {
		t.Error("the password is in the log or in the error")
	}
}
