package mysql

import (
	"fmt"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// withoutGTIDs starts a MySQL server of the test's own.
func withoutGTIDs(t *testing.T, args ...string) *dbserver.Server {
	t.Helper()
	return dbservertest.Start(t, dbserver.Options{Kind: dbserver.MySQL, Args: append([]string{"--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"}, args...)})
}

func TestFollowByFile(t *testing.T) {
	t.Parallel()
	srv := withoutGTIDs(t)
	name, db := dbservertest.Database(t, srv)
	exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY, v TEXT); CREATE TABLE other (id INT PRIMARY KEY); INSERT INTO t VALUES (1, 'before')")
	r := replica(t, config(srv, name+".t*"))
	from := attach(t, r, AtNow)
	if ago := time.Since(time.Unix(int64(from.FileCreated), 0)); !from.ByFile() || from.GTIDSet != "" || ago < 0 || ago > time.Minute {
		t.Fatalf("attached at %+v, want a file created now, and no GTIDs", from)
	}
	exec(t, db, "INSERT INTO t VALUES (2, 'a'), (3, 'b')",
		"START TRANSACTION; UPDATE t SET v = 'c' WHERE id = 3; INSERT INTO other VALUES (1); DELETE FROM t WHERE id = 1; COMMIT",
		"ALTER TABLE t ADD w INT", "CREATE TABLE tm (id INT PRIMARY KEY) ENGINE=MyISAM", "INSERT INTO tm VALUES (1), (2)",
		"CREATE TABLE ts AS SELECT 7 AS id", "TRUNCATE TABLE ts")
	feed := newLogFeed(t, change.MySQL, from)
	stop := follow(t, r, from, feed)
	want := []string{"insert t 2", "insert t 3", "update t 3", "delete t 1", "insert tm 1", "insert tm 2", "insert ts 7"}
	feed.awaitRows(t, want...)
	exec(t, db, "FLUSH BINARY LOGS", "INSERT INTO t VALUES (6, 'live', 2)")
	want = append(want, "insert t 6")
	feed.awaitRows(t, want...)
	_ = stop()
	checkPosition(t, db, srv, feed.position())
	if got := time.Since(time.UnixMicro(feed.position().CommitTime)); got < 0 || got > time.Minute {
		t.Errorf("commit time is %v ago", got)
	}

	// From the earliest place the same rows come, and those from before.
	earliest := attach(t, r, AtEarliest)
	feed = newLogFeed(t, change.MySQL, earliest)
	follow(t, r, earliest, feed)
	feed.awaitRows(t, append([]string{"insert t 1"}, want...)...)
}

func TestFollowByFileGoesOnAfterKillAndRestart(t *testing.T) {
	t.Parallel()
	srv := withoutGTIDs(t)
	name, db := dbservertest.Database(t, srv)
	exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY)")
	r := replica(t, config(srv, name+".*"))
	from := attach(t, r, AtNow)
	feed := newLogFeed(t, change.MySQL, from)

	_, end := start(t, r, from, feed)
	exec(t, db, "INSERT INTO t VALUES (1)")
	feed.awaitRows(t, "insert t 1")
	exec(t, db, "KILL "+dumpThread(t, db))
	temporary(t, end())

	_, end = start(t, r, feed.position(), feed)
	if err := srv.Restart(t.Context()); err != nil { // begins another file
		t.Fatal(err)
	}
	temporary(t, end())
	exec(t, db, "INSERT INTO t VALUES (2)")
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	exec(t, db, "INSERT INTO t VALUES (3)")
	follow(t, r, feed.position(), feed)
	feed.awaitRows(t, "insert t 1", "insert t 2", "insert t 3")
}

// The position follows the files of an idle server, or it would be lost when they are purged.
func TestPositionMovesWithTheFiles(t *testing.T) {
	t.Parallel()
	srv := withoutGTIDs(t)
	name, db := dbservertest.Database(t, srv)
	exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY)")
	r := replica(t, config(srv, name+".*"))
	from := attach(t, r, AtNow)
	feed := newLogFeed(t, change.MySQL, from)
	stop := follow(t, r, from, feed)
	exec(t, db, "FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
	now := attach(t, r, AtNow)
	feed.await(t, "the newest file", func() bool { return feed.pos.File == now.File })
	_ = stop()
	purgeTo(t, db, now.File)
	if p := feed.position(); p.FileCreated != now.FileCreated || p.Offset != fileStart {
		t.Errorf("position %+v, want the start of %s, created at %d", p, now.File, now.FileCreated)
	}
	exec(t, db, "INSERT INTO t VALUES (1)")
	follow(t, r, feed.position(), feed)
	feed.awaitRows(t, "insert t 1")
	stopCode(t, ends(t, r, from, discard{}), CodePositionLost, from.File, "purged")
}

func TestPositionByFileIsLost(t *testing.T) {
	t.Parallel()
	srv := withoutGTIDs(t)
	name, db := dbservertest.Database(t, srv)
	exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY)")
	r := replica(t, config(srv, name+".*"))
	first := attach(t, r, AtEarliest)

	other := first
	other.Server = "00000000-0000-0000-0000-000000000000"
	stopCode(t, ends(t, r, other, discard{}), CodePositionLost, other.Server, "data_dir")

	beyond := first
	beyond.Offset = 1 << 20
	stopCode(t, ends(t, r, beyond, discard{}), CodePositionLost, "sync_binlog")
	beyond.Offset = 1 << 33
	stopCode(t, ends(t, r, beyond, discard{}), CodePositionLost, "sync_binlog")

	now := attach(t, r, AtNow)
	between := now
	between.Offset-- // no event begins here
	stopCode(t, ends(t, r, between, discard{}), CodePositionLost)

	// The same name, and longer than before, but another file.
	exec(t, db, "DO SLEEP(1.1)", "RESET BINARY LOGS AND GTIDS")
	for range 20 {
		exec(t, db, "INSERT INTO t VALUES (1)", "DELETE FROM t")
	}
	anew := attach(t, r, AtNow)
	if anew.File != first.File || anew.Offset < 1000 {
		t.Fatalf("after the reset the server is at %+v, before it was at %+v", anew, first)
	}
	stopCode(t, ends(t, r, first, discard{}), CodePositionLost, "reset", "created")
	middle := first
	middle.Offset = anew.Offset
	stopCode(t, ends(t, r, middle, discard{}), CodePositionLost, "reset", "created")
}

// The end of a transaction that was captured in part is gone with the end of its file: what comes next is not the rest of it.
func TestLostEndOfAPartialTransaction(t *testing.T) {
	t.Parallel()
	srv := withoutGTIDs(t)
	name, db := dbservertest.Database(t, srv)
	exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY)")
	r := replica(t, config(srv, name+".*"))
	from := attach(t, r, AtNow)
	from.Partial = &change.Partial{Rows: []change.TableRows{{Schema: name, Name: "t", Rows: 3}}}
	exec(t, db, "FLUSH BINARY LOGS", "INSERT INTO t VALUES (1), (2), (3), (4)")
	stopCode(t, ends(t, r, from, discard{}), CodePositionLost, "inside the transaction", "sync_binlog")
}

// Files that are reset while they are read are noticed: by an idle server, and by one that has begun further files since.
func TestResetWhileFollowing(t *testing.T) {
	t.Parallel()
	for _, files := range []int{0, 1} {
		t.Run(fmt.Sprint(files), func(t *testing.T) {
			t.Parallel()
			srv := withoutGTIDs(t)
			name, db := dbservertest.Database(t, srv)
			exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY)")
			r := replica(t, config(srv, name+".*"))
			from := attach(t, r, AtNow)
			feed := newLogFeed(t, change.MySQL, from)
			_, end := start(t, r, from, feed)
			var want []string
			for i := range 20 {
				exec(t, db, fmt.Sprintf("INSERT INTO t VALUES (%d)", i))
				want = append(want, fmt.Sprintf("insert t %d", i))
			}
			feed.awaitRows(t, want...)
			exec(t, db, "DO SLEEP(1.1)", "RESET BINARY LOGS AND GTIDS", "INSERT INTO t VALUES (100)")
			for i := range files {
				exec(t, db, "FLUSH BINARY LOGS", fmt.Sprintf("INSERT INTO t VALUES (%d)", 200+i))
			}
			stopCode(t, end(), CodePositionLost)
			feed.awaitRows(t, want...)
		})
	}
}
