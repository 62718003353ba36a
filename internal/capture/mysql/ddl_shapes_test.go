package mysql

import (
	"slices"
	"strings"
	"testing"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// shapes is a backlog of statements, and the rows of the followed tables as they were when they were written.
type shapes struct {
	name   string
	tables []string // of the test's schema
	before []string // done before the source attaches
	run    []string
	rows   []string
	ddl    int // schema changes
}

func allShapes() []shapes {
	return []shapes{
		{
			name: "alter in a backlog", tables: []string{"t"}, before: []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(10))"},
			run: []string{
				"INSERT INTO t VALUES (1, 2, 'x')", "ALTER TABLE t ADD c INT NOT NULL DEFAULT 7 AFTER id", "INSERT INTO t VALUES (2, 3, 4, 'y')",
				"ALTER TABLE t DROP a, CHANGE b a TEXT", "INSERT INTO t VALUES (3, 4, 'z')", "ALTER TABLE t CHANGE c a2 BIGINT UNSIGNED NOT NULL, RENAME COLUMN a TO c",
				"UPDATE t SET a2 = 18446744073709551615 WHERE id = 3", "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (a2)", "DELETE FROM t WHERE id = 3",
			},
			rows: []string{
				"insert t [id]: id=1 a=2 b=x", "insert t [id]: id=2 c=3 a=4 b=y", "insert t [id]: id=3 c=4 a=z",
				"update t [id]: id=3 a2=18446744073709551615 c=z",
				"delete t [a2]: id=3 a2=18446744073709551615 c=z",
			},
			ddl: 4,
		},
		{
			name: "rename, swap, drop and recreate", tables: []string{"a", "b"},
			before: []string{"CREATE TABLE a (id INT PRIMARY KEY); CREATE TABLE b (x VARCHAR(5), y INT)"},
			run: []string{
				"INSERT INTO a VALUES (1); INSERT INTO b VALUES ('p', 2)", "RENAME TABLE a TO tmp, b TO a, tmp TO b", "INSERT INTO a VALUES ('q', 3); INSERT INTO b VALUES (4)",
				"RENAME TABLE b TO hidden", "INSERT INTO hidden VALUES (5)", "ALTER TABLE hidden RENAME TO b", "INSERT INTO b VALUES (6)",
				"DROP TABLE a", "CREATE TABLE a (only DATE)", "INSERT INTO a VALUES ('2026-01-02')",
			},
			rows: []string{
				"insert a [id]: id=1", "insert b []: x=p y=2", "insert a []: x=q y=3", "insert b [id]: id=4", "insert b [id]: id=6", "insert a []: only=2026-01-02",
			},
			ddl: 5,
		},
		{
			name: "ghost tables that are not followed", tables: []string{"t"}, before: ghostBefore, run: ghostRun,
			rows: []string{"insert t [id]: id=2 v=b", "insert t [id]: id=3 v=c w=NULL", "update t [id]: id=1 v=a w=9"}, ddl: 1,
		},
		{
			name: "ghost tables that are followed", tables: []string{"*"}, before: ghostBefore, run: ghostRun,
			rows: []string{
				"insert _t_gho [id]: id=1 v=a w=NULL", "insert t [id]: id=2 v=b", "insert _t_gho [id]: id=2 v=b w=NULL",
				"insert t [id]: id=3 v=c w=NULL", "update t [id]: id=1 v=a w=9",
			}, ddl: 6,
		},
		{
			name: "a copy filled by triggers", tables: []string{"t"}, before: []string{"CREATE TABLE t (id INT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a')"},
			run: []string{
				"CREATE TABLE _t_new LIKE t", "ALTER TABLE _t_new ADD w INT",
				"CREATE TRIGGER t_ins AFTER INSERT ON t FOR EACH ROW REPLACE INTO _t_new (id, v) VALUES (NEW.id, NEW.v)",
				"INSERT INTO t VALUES (2, 'b')", "INSERT IGNORE INTO _t_new (id, v) SELECT id, v FROM t",
				"RENAME TABLE t TO _t_old, _t_new TO t", "DROP TRIGGER IF EXISTS t_ins", "DROP TABLE IF EXISTS _t_old", "INSERT INTO t VALUES (3, 'c', 7)",
			},
			rows: []string{"insert t [id]: id=2 v=b", "insert t [id]: id=3 v=c w=7"}, ddl: 1,
		},
		{
			name: "exchange of a partition", tables: []string{"p"},
			before: []string{"CREATE TABLE p (id INT, v INT) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20)); CREATE TABLE other (id INT, v INT)"},
			run: []string{
				"INSERT INTO p VALUES (1, 2), (11, 12)", "INSERT INTO other VALUES (3, 4)", "ALTER TABLE p EXCHANGE PARTITION p0 WITH TABLE other",
				"INSERT INTO p VALUES (5, 6)", "UPDATE p SET v = 7 WHERE id = 3", "ALTER TABLE p DROP PARTITION p1", "DELETE FROM p",
			},
			rows: []string{
				"insert p []: id=1 v=2", "insert p []: id=11 v=12", "insert p []: id=5 v=6", "update p []: id=3 v=7", "delete p []: id=3 v=7", "delete p []: id=5 v=6",
			},
			ddl: 2,
		},
		{
			name: "strange names", tables: []string{"*"},
			before: []string{"CREATE TABLE `a.b``c d` (`select` INT PRIMARY KEY, `größe \"x\"` INT)"},
			run: []string{
				"INSERT INTO `a.b``c d` VALUES (1, 2)", "ALTER TABLE `a.b``c d` ADD `日本` INT COMMENT 'RENAME TO x'", "INSERT INTO `a.b``c d` VALUES (3, 4, 5)",
				"RENAME TABLE `a.b``c d` TO `-- #/*'`", "INSERT INTO `-- #/*'` VALUES (6, 7, 8)", "SET NAMES latin1", "CREATE TABLE `\xe9t\xe9` (\xe9 INT)", "INSERT INTO `\xe9t\xe9` VALUES (1)", "SET NAMES utf8mb4",
			},
			rows: []string{
				"insert a.b`c d [select]: select=1 größe \"x\"=2", "insert a.b`c d [select]: select=3 größe \"x\"=4 日本=5",
				"insert -- #/*' [select]: select=6 größe \"x\"=7 日本=8", "insert été []: é=1",
			},
			ddl: 3,
		},
		{
			name: "names that differ in case", tables: []string{"t"}, before: []string{"CREATE TABLE t (id INT); CREATE TABLE T (x TEXT)"},
			run:  []string{"INSERT INTO T VALUES ('no')", "INSERT INTO t VALUES (1)", "ALTER TABLE T ADD y INT", "INSERT INTO t VALUES (2)"},
			rows: []string{"insert t []: id=1", "insert t []: id=2"},
		},
		{
			name: "tables made from tables, and emptied", tables: []string{"*"}, before: []string{"CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1), (2)"},
			run: []string{
				"CREATE TABLE u AS SELECT id, id * 2 AS d FROM t", "CREATE TABLE v LIKE u", "INSERT INTO v VALUES (7, 8)", "TRUNCATE TABLE v", "INSERT INTO v VALUES (9, 10)",
				"CREATE UNIQUE INDEX i ON v (d)", "UPDATE v SET d = 11",
			},
			rows: []string{"insert u []: id=1 d=2", "insert u []: id=2 d=4", "insert v []: id=7 d=8", "insert v []: id=9 d=10", "update v [d]: id=9 d=11"},
			ddl:  4,
		},
	}
}

var (
	ghostBefore = []string{"CREATE TABLE t (id INT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a')"}
	ghostRun    = []string{
		"CREATE TABLE _t_gho LIKE t", "CREATE TABLE _t_ghc (id BIGINT AUTO_INCREMENT PRIMARY KEY)", "ALTER TABLE _t_gho ADD w INT", "INSERT IGNORE INTO _t_gho (id, v) SELECT id, v FROM t",
		"INSERT INTO t VALUES (2, 'b')", "REPLACE INTO _t_gho (id, v) VALUES (2, 'b')", "CREATE TABLE _t_del (id INT)", "DROP TABLE _t_del",
		"RENAME TABLE t TO _t_del, _t_gho TO t", "INSERT INTO t (id, v) VALUES (3, 'c')", "UPDATE t SET w = 9 WHERE id = 1",
	}
)

// TestRowsKeepTheirShape reads each backlog after all its statements are done, twice: from its start, and from the middle.
func TestRowsKeepTheirShape(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		for _, tc := range allShapes() {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel()
				tc.check(t, srv)
			})
		}
	})
}

func (tc *shapes) check(t *testing.T, srv *dbserver.Server) {
	name, db := dbservertest.Database(t, srv)
	db.SetMaxOpenConns(1) // for SET NAMES
	exec(t, db, tc.before...)
	cfg := config(srv, patterns(name, tc.tables)...)
	cfg.Instance = name // many follow one server at once, each with an id of its own
	r := replica(t, cfg)
	from := attach(t, r, AtNow)
	exec(t, db, tc.run[:len(tc.run)/2]...)
	middle := attach(t, r, AtNow)
	exec(t, db, tc.run[len(tc.run)/2:]...)

	feed := newRowFeed(t, flavorOf(srv), from)
	stop := follow(t, r, from, feed)
	feed.awaitRows(t, tc.rows...)
	feed.await(t, "the schema changes", func() bool { return len(feed.ddl) >= tc.ddl })
	_ = stop()
	if len(feed.ddl) != tc.ddl {
		t.Errorf("%d schema changes, want %d: %s", len(feed.ddl), tc.ddl, strings.Join(feed.ddl, "\n"))
	}
	checkMiddle(t, r, srv, middle, tc.rows)
}

func patterns(schema string, tables []string) (out []string) {
	for _, t := range tables {
		out = append(out, schema+"."+t)
	}
	return out
}

func checkMiddle(t *testing.T, r *Replica, srv *dbserver.Server, middle change.Position, rows []string) {
	t.Helper()
	end, err := change.ParseGTIDSet(flavorOf(srv), attach(t, r, AtNow).GTIDSet)
	if err != nil {
		t.Fatal(err)
	}
	rest := newRowFeed(t, flavorOf(srv), middle)
	stop := follow(t, r, middle, rest)
	rest.await(t, "the end", func() bool { return rest.set.Covers(end) })
	_ = stop()
	if n := len(rest.rows); n > len(rows) || !slices.Equal(rest.rows, rows[len(rows)-n:]) {
		t.Errorf("from the middle on: %q, want the end of %q", rest.rows, rows)
	}
}
