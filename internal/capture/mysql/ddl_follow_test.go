package mysql

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// schemaChangeText is the row of a schema change: "create app.t" and all tables as JSON.
func schemaChangeText(c *change.Change) string {
	v, err := c.After.Values(nil)
	if err != nil {
		return err.Error()
	}
	return string(v[2].Bytes()) + " " + string(v[0].Bytes()) + "." + string(v[1].Bytes()) + " " + string(v[3].Bytes())
}

func TestSchemaChangesAreToldInOrder(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		name, db := dbservertest.Database(t, srv)
		exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE other (id INT)")
		r := replica(t, config(srv, name+".t*"))
		from := attach(t, r, AtNow)
		exec(t, db,
			"INSERT INTO t VALUES (1)", "ALTER TABLE t ADD v TEXT", "INSERT INTO t VALUES (2, 'x')",
			"ALTER TABLE other ADD v TEXT", "CREATE TEMPORARY TABLE tt (id INT)", "DROP TEMPORARY TABLE tt",
			"RENAME TABLE t TO old, other TO t", "INSERT INTO t VALUES (3, NULL)", "TRUNCATE t",
			"CREATE TABLE ts SELECT 4 AS id", "DROP TABLE t, ts, old", "CREATE VIEW tv AS SELECT 1", "DROP VIEW tv",
		)
		feed := newLogFeed(t, flavorOf(srv), from)
		follow(t, r, from, feed)
		feed.awaitRows(t, "insert t 1", "insert t 2", "insert t 3", "insert ts 4")
		feed.await(t, "the schema changes", func() bool { return len(feed.ddl) == 5 })
		entry := func(kind, table string) string {
			return fmt.Sprintf(`{"schema":%q,"table":%q,"kind":%q}`, name, table, kind)
		}
		want := []string{
			"alter " + name + ".t [" + entry("alter", "t") + "]",
			"rename " + name + ".t [" + entry("rename", "t") + "]",
			"truncate " + name + ".t [" + entry("truncate", "t") + "]",
			"create " + name + ".ts [" + entry("create", "ts") + "]",
			"drop " + name + ".t [" + entry("drop", "t") + "," + entry("drop", "ts") + "]",
		}
		var got []string
		feed.locked(func() { got = slices.Clone(feed.ddl) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("schema changes (-want +got):\n%s", diff)
		}
	})
}
