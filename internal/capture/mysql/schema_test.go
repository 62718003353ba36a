package mysql

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// withoutNames are the arguments of a server whose binlog names no columns.
func withoutNames(kind dbserver.Kind) []string {
	if kind == dbserver.MariaDB {
		return []string{"--binlog-row-metadata=NO_LOG"}
	}
	return []string{"--binlog-row-metadata=MINIMAL"}
}

func eachWithoutNames(t *testing.T, test func(t *testing.T, srv *dbserver.Server, name string, db *sql.DB)) {
	t.Helper()
	for _, kind := range dbserver.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			srv := dbservertest.Start(t, dbserver.Options{Kind: kind, Args: withoutNames(kind)})
			name, db := dbservertest.Database(t, srv)
			test(t, srv, name, db)
		})
	}
}

func TestColumnsThatTheBinlogDoesNotName(t *testing.T) {
	t.Parallel()
	eachWithoutNames(t, func(t *testing.T, srv *dbserver.Server, name string, db *sql.DB) {
		exec(t, db, `CREATE TABLE t (id BIGINT UNSIGNED, a TINYINT NOT NULL, b DECIMAL(12,3) UNSIGNED, c VARCHAR(300), d CHAR(10) CHARACTER SET latin1, e VARBINARY(9),
			f ENUM('x','it''s') CHARACTER SET latin1, g SET('p','q','r'), h MEDIUMTEXT, i BLOB, j DATETIME(3), k TIME, l TIMESTAMP(6) NULL, m BIT(13), n DOUBLE, o FLOAT, p YEAR, q JSON,
			r GEOMETRY, s BINARY(4), w DATE, z INT GENERATED ALWAYS AS (a + 1) STORED, PRIMARY KEY (a, id))`)
		r := replica(t, config(srv, name+".t"))
		from := attach(t, r, AtNow)
		exec(t, db, `INSERT INTO t (id, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, s, w) VALUES (18446744073709551615, -7, 1.5, 'ü', 'é', x'00ff', 'it''s', 'p,r', 'text', x'fe',
			'2026-01-02 03:04:05.678', '-1:02:03', '2026-01-02 03:04:05', b'1010', 0.1, 0.5, 2026, '{"a": 1}', x'01', '2026-02-03')`,
			"UPDATE t SET c = 'w'")
		feed := newRowFeed(t, flavorOf(srv), from)
		follow(t, r, from, feed)
		feed.await(t, "both changes", func() bool { return len(feed.rows) == 2 })
		row := `id=18446744073709551615 a=-7 b=1.500 c=%s d=é e=00ff f=it's g=p,r h=text i=fe j=2026-01-02 03:04:05.678 k=-01:02:03 l=2026-01-02T03:04:05.000000Z m=10 n=0.1 o=0.5 p=2026 q={"a": 1} r=NULL s=01000000 w=2026-02-03 z=-6`
		for i, want := range []string{"insert t [a id]: " + fmt.Sprintf(row, "ü"), "update t [a id]: " + fmt.Sprintf(row, "w")} {
			if got := feed.rows[i]; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
	})
}

func TestAlterWithoutColumnNames(t *testing.T) {
	t.Parallel()
	eachWithoutNames(t, func(t *testing.T, srv *dbserver.Server, name string, db *sql.DB) {
		exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT); CREATE TABLE u (id INT PRIMARY KEY)")
		r := replica(t, config(srv, name+".*"))
		from := attach(t, r, AtNow)
		feed := newRowFeed(t, flavorOf(srv), from)
		stop := follow(t, r, from, feed)
		defer func() {
			if t.Failed() {
				t.Log(stop())
			}
		}()
		want := []string{"insert t [id]: id=1 a=2 b=3", "insert u [id]: id=1", "insert t [id]: id=4 x=5 a=6", "insert v [id]: id=7"}
		exec(t, db, "INSERT INTO t VALUES (1, 2, 3); INSERT INTO u VALUES (1)")
		feed.awaitRows(t, want[:2]...)
		exec(t, db, "ALTER TABLE t CHANGE a x INT, CHANGE b a INT; INSERT INTO t VALUES (4, 5, 6); CREATE TABLE v (id INT PRIMARY KEY); INSERT INTO v VALUES (7)")
		feed.awaitRows(t, want...)
		_ = stop()

		// Rows behind the last statement can be read after it; those of other tables anyhow.
		exec(t, db, "ALTER TABLE t RENAME COLUMN x TO y; INSERT INTO u VALUES (8); INSERT INTO t VALUES (9, 10, 11)")
		stop = follow(t, r, feed.position(), feed)
		want = append(want, "insert u [id]: id=8", "insert t [id]: id=9 y=10 a=11")
		feed.awaitRows(t, want...)
		_ = stop()

		// Rows before one cannot, even where the shape stays the same.
		exec(t, db, "INSERT INTO u VALUES (12); INSERT INTO t VALUES (13, 14, 15); ALTER TABLE t CHANGE y a INT, CHANGE a y INT; INSERT INTO t VALUES (16, 17, 18)")
		stopCode(t, ends(t, r, feed.position(), feed), CodeRowMetadata, "behind", name+".t", "binlog_row_metadata")
		feed.awaitRows(t, append(want, "insert u [id]: id=12")...)

		exec(t, db, "CREATE TABLE w (id INT); INSERT INTO w VALUES (1)")
		gone := attach(t, r, AtNow)
		exec(t, db, "INSERT INTO w VALUES (2); RENAME TABLE w TO w2; CREATE TABLE w (id INT)")
		stopCode(t, ends(t, r, gone, discard{}), CodeRowMetadata, name+".w")
		exec(t, db, "INSERT INTO u VALUES (19); DROP TABLE u")
		stopCode(t, ends(t, r, gone, discard{}), CodeRowMetadata)
	})
}

func TestLabelsOfAnEnum(t *testing.T) {
	t.Parallel()
	for typ, want := range map[string]string{
		"enum('a')": "a", "enum('a','b''c',',')": "a|b'c|,", "set('','x')": "|x", "enum('größe)')": "größe)",
		`enum('a\n')`: "?", "enum('?')": "?", "enum()": "?", "enum": "?", "enum('a": "?", "enum('a',)": "?", "enum('a'b)": "?", "enum(a)": "?",
	} {
		labels, ok := parseLabels(typ)
		var got []string
		for _, l := range labels {
			got = append(got, string(l))
		}
		if text := strings.Join(got, "|"); ok != (want != "?") || ok && text != want {
			t.Errorf("%s: %q %v, want %q", typ, text, ok, want)
		}
	}
}
