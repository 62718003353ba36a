package mysql

import (
	"fmt"
	"testing"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// xa runs statements in an XA transaction, which ends as each of the endings says.
func xa(id, statements string, endings ...string) string {
	text := fmt.Sprintf("XA START '%s'; %s; XA END '%s'", id, statements, id)
	for _, e := range endings {
		text += fmt.Sprintf("; XA "+e, "'"+id+"'")
	}
	return text
}

func TestXAOfOtherTablesStopsNobody(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		name, db := dbservertest.Database(t, srv)
		exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE u (id INT PRIMARY KEY)")
		r := replica(t, config(srv, name+".t"))
		from := attach(t, r, AtNow)
		exec(t, db,
			xa(name+"1", "INSERT INTO u VALUES (1)", "PREPARE %s", "ROLLBACK %s"), "INSERT INTO t VALUES (1)",
			xa(name+"2", "INSERT INTO u VALUES (2)", "PREPARE %s", "COMMIT %s"), "INSERT INTO t VALUES (2)",
			xa(name+"3", "INSERT INTO u VALUES (3)", "COMMIT %s ONE PHASE"), "INSERT INTO t VALUES (3)",
			xa(name+"4", "INSERT INTO t VALUES (9)", "ROLLBACK %s"), "INSERT INTO t VALUES (4)",
		)
		feed := newLogFeed(t, flavorOf(srv), from)
		stop := follow(t, r, from, feed)
		want := []string{"insert t 1", "insert t 2", "insert t 3", "insert t 4"}
		feed.awaitRows(t, want...)
		exec(t, db, "INSERT INTO t VALUES (5)")
		feed.awaitRows(t, append(want, "insert t 5")...)
		_ = stop()

		// It goes on behind each of them.
		exec(t, db, "INSERT INTO t VALUES (6)")
		follow(t, r, feed.position(), feed)
		feed.awaitRows(t, append(want, "insert t 5", "insert t 6")...)
	})
}

// Rows that may yet be rolled back are refused before one of them is in the log.
func TestXAOfAFollowedTableStops(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		for i, endings := range [][]string{{"PREPARE %s", "ROLLBACK %s"}, {"PREPARE %s", "COMMIT %s"}} {
			name, db := dbservertest.Database(t, srv)
			exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY)")
			r := replica(t, config(srv, name+".t"))
			from := attach(t, r, AtNow)
			exec(t, db, "INSERT INTO t VALUES (1)", xa(fmt.Sprintf("%s-%d", name, i), "INSERT INTO t VALUES (2)", endings...), "INSERT INTO t VALUES (3)")
			feed := newLogFeed(t, flavorOf(srv), from)
			stopCode(t, ends(t, r, from, feed), CodeXA, name+".t")
			feed.awaitRows(t, "insert t 1")
		}
	})
}

func TestXAInOnePhase(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		name, db := dbservertest.Database(t, srv)
		exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY)")
		r := replica(t, config(srv, name+".t"))
		from := attach(t, r, AtNow)
		exec(t, db, xa(name, "INSERT INTO t VALUES (1)", "COMMIT %s ONE PHASE"), "INSERT INTO t VALUES (2)")
		feed := newLogFeed(t, flavorOf(srv), from)
		if srv.Kind() == dbserver.MySQL { // whether it is one phase stands behind its rows
			stopCode(t, ends(t, r, from, feed), CodeXA)
			return
		}
		follow(t, r, from, feed)
		feed.awaitRows(t, "insert t 1", "insert t 2")
	})
}

func TestDomainsOfGTIDs(t *testing.T) {
	t.Parallel()
	srv := dbservertest.Start(t, dbserver.Options{Kind: dbserver.MariaDB})
	name, db := dbservertest.Database(t, srv)
	exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY)")
	r := replica(t, config(srv, name+".*"))
	from := attach(t, r, AtNow)
	var want []string
	write := func(id, domain int) {
		exec(t, db, fmt.Sprintf("SET SESSION gtid_domain_id = %d; INSERT INTO t VALUES (%d)", domain, id))
		want = append(want, fmt.Sprintf("insert t %d", id))
	}
	for id := range 6 {
		write(id, id%3)
	}
	feed := newLogFeed(t, change.MariaDB, from)
	stop := follow(t, r, from, feed)
	feed.awaitRows(t, want...)
	_ = stop()
	for id := 6; id < 12; id++ { // 4 stands for a domain that begins while nobody follows
		write(id, id%2*4)
	}
	exec(t, db, "FLUSH BINARY LOGS")
	write(12, 1)
	follow(t, r, feed.position(), feed)
	feed.awaitRows(t, want...)
}

func TestChecksumsOffAndOn(t *testing.T) {
	t.Parallel()
	for _, kind := range dbserver.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			srv := dbservertest.Start(t, dbserver.Options{Kind: kind, Args: []string{"--binlog-checksum=NONE"}})
			name, db := dbservertest.Database(t, srv)
			exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY)")
			r := replica(t, config(srv, name+".*"))
			from := attach(t, r, AtNow)
			exec(t, db, "INSERT INTO t VALUES (1)")
			feed := newLogFeed(t, flavorOf(srv), from)
			stop := follow(t, r, from, feed)
			feed.awaitRows(t, "insert t 1")
			exec(t, db, "SET GLOBAL binlog_checksum = CRC32", "INSERT INTO t VALUES (2)")
			feed.awaitRows(t, "insert t 1", "insert t 2")
			_ = stop()
			exec(t, db, "INSERT INTO t VALUES (3)", "SET GLOBAL binlog_checksum = NONE", "INSERT INTO t VALUES (4)")
			follow(t, r, feed.position(), feed)
			feed.awaitRows(t, "insert t 1", "insert t 2", "insert t 3", "insert t 4")
		})
	}
}

func TestPartialJSONIsRefused(t *testing.T) {
	t.Parallel()
	srv := dbservertest.Get(t, dbserver.MySQL)
	name, db := dbservertest.Database(t, srv)
	exec(t, db, `CREATE TABLE t (id INT PRIMARY KEY, j JSON); INSERT INTO t VALUES (1, '{"a": 1, "long": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}')`)
	r := replica(t, config(srv, name+".t"))
	from := attach(t, r, AtNow)
	exec(t, db, "SET SESSION binlog_row_value_options = 'PARTIAL_JSON'; UPDATE t SET j = JSON_SET(j, '$.a', 2); SET SESSION binlog_row_value_options = ''")
	stopCode(t, ends(t, r, from, discard{}), CodeUnsupportedColumn, name+".t", "binlog_row_value_options")
}

// Names are lower case in the binlog of such a server, however they are written in statements.
func TestNamesInLowerCase(t *testing.T) {
	t.Parallel()
	srv := dbservertest.Start(t, dbserver.Options{Kind: dbserver.MariaDB, Args: []string{"--lower-case-table-names=1"}})
	name, db := dbservertest.Database(t, srv)
	exec(t, db, "CREATE TABLE Docs (Id INT PRIMARY KEY)")
	r := replica(t, config(srv, name+".docs"))
	from := attach(t, r, AtNow)
	exec(t, db, "INSERT INTO DOCS VALUES (1)", "ALTER TABLE DoCs ADD v INT", "INSERT INTO docs VALUES (2, 3)", "RENAME TABLE DOCS TO Other, Other TO Docs", "INSERT INTO Docs VALUES (4, 5)")
	feed := newRowFeed(t, change.MariaDB, from)
	follow(t, r, from, feed)
	feed.awaitRows(t, "insert docs [Id]: Id=1", "insert docs [Id]: Id=2 v=3", "insert docs [Id]: Id=4 v=5")
	if len(feed.ddl) != 2 {
		t.Errorf("schema changes: %q", feed.ddl)
	}
}
