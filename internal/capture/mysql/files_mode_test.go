package mysql

import (
	"testing"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// A source goes on as it began, and stops where the server does not let it.
func TestGTIDModeChanges(t *testing.T) {
	t.Parallel()
	srv := withoutGTIDs(t)
	name, db := dbservertest.Database(t, srv)
	exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY)", "SET GLOBAL enforce_gtid_consistency = ON")
	r := replica(t, config(srv, name+".*"))
	first := attach(t, r, AtNow)
	exec(t, db, "INSERT INTO t VALUES (1)", "SET GLOBAL gtid_mode = OFF_PERMISSIVE", "INSERT INTO t VALUES (2)")
	if p := attach(t, r, AtNow); !p.ByFile() {
		t.Errorf("attached at %+v, want a place in a file", p)
	}
	exec(t, db, "SET GLOBAL gtid_mode = ON_PERMISSIVE", "INSERT INTO t VALUES (3)")
	permissive := attach(t, r, AtNow)
	if !permissive.ByFile() || permissive.GTIDSet != "" {
		t.Errorf("attached at %+v, want a place in a file", permissive)
	}
	feed := newLogFeed(t, change.MySQL, first)
	stop := follow(t, r, first, feed)
	feed.awaitRows(t, "insert t 1", "insert t 2", "insert t 3")
	exec(t, db, "SET GLOBAL gtid_mode = ON", "INSERT INTO t VALUES (4)")
	feed.awaitRows(t, "insert t 1", "insert t 2", "insert t 3", "insert t 4") // this connection is not asked again
	_ = stop()
	if feed.gtid.Flavor != "" || feed.tx.GTID != "" || feed.tx.FileCreated == 0 {
		t.Errorf("the last transaction is %+v, with GTID %+v; its place should name it", feed.tx, feed.gtid)
	}

	stopCode(t, ends(t, r, permissive, discard{}), CodeGTIDChanged, "ON_PERMISSIVE")
	byGTID := attach(t, r, AtNow)
	if byGTID.ByFile() || byGTID.GTIDSet == "" {
		t.Errorf("attached at %+v, want GTIDs", byGTID)
	}
	gtids := newLogFeed(t, change.MySQL, byGTID)
	_, end := start(t, r, byGTID, gtids)
	gtids.await(t, "packets", func() bool { return gtids.heard > 2 })
	exec(t, db, "SET GLOBAL gtid_mode = ON_PERMISSIVE", "SET GLOBAL gtid_mode = OFF_PERMISSIVE", "INSERT INTO t VALUES (5)")
	stopCode(t, end(), CodeNoGTID, "data_dir")
	stopCode(t, ends(t, r, byGTID, discard{}), CodeGTIDChanged, "SET PERSIST gtid_mode = ON;", "ON_PERMISSIVE")
	stop = follow(t, r, feed.position(), feed)
	feed.awaitRows(t, "insert t 1", "insert t 2", "insert t 3", "insert t 4", "insert t 5")
	_ = stop()

	// Transactions with GTIDs that were not read yet cannot be read any more: the server refuses to send them.
	exec(t, db, "SET GLOBAL gtid_mode = OFF_PERMISSIVE", "SET GLOBAL gtid_mode = OFF")
	stopCode(t, ends(t, r, permissive, discard{}), CodeGTIDChanged, "OFF_PERMISSIVE")
}

func TestAnotherKindOfServerLosesThePosition(t *testing.T) {
	t.Parallel()
	srv := dbservertest.Get(t, "mariadb")
	r := replica(t, config(srv, "a.b"))
	byFile := change.Position{File: "binlog.000001", FileCreated: 1, Offset: fileStart, Server: "x"}
	stopCode(t, ends(t, r, byFile, discard{}), CodePositionLost, "MySQL")
}

func TestCheckWarnsOfAServerWithoutGTIDs(t *testing.T) {
	t.Parallel()
	srv := withoutGTIDs(t)
	name, db := dbservertest.Database(t, srv)
	exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY)")
	found := check(t, config(srv, name+".t"))
	for _, f := range found {
		if f.Severity == Error {
			t.Errorf("%+v", f)
		}
	}
	f := finding(t, found, CodeGTIDMode, Warning)
	mentions(t, f.Message, "OFF", "failover", "ids", "stops")
	exec(t, db, f.SQL) // what it says turns GTIDs on, while the server runs
	finding(t, check(t, config(srv, name+".t")), CodeGTIDMode, OK)
	if p := attach(t, replica(t, config(srv, name+".t")), AtNow); p.ByFile() {
		t.Errorf("attached at %+v, want GTIDs", p)
	}
}
