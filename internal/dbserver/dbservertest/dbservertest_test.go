package dbservertest_test

import (
	"testing"

	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

func TestMain(m *testing.M) { dbservertest.Main(m) }

// Two tests share a server and do not see each other's tables.
func TestEachDatabaseIsTheTestsOwn(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		name, db := dbservertest.Database(t, srv)
		other, _ := dbservertest.Database(t, srv)
		if name == other {
			t.Fatalf("two databases are called %s", name)
		}
		if _, err := db.ExecContext(t.Context(), "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1), (2)"); err != nil {
			t.Fatal(err)
		}
		var rows int
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM t").Scan(&rows); err != nil || rows != 2 {
			t.Errorf("rows = %d, %v; want 2", rows, err)
		}
		if again := dbservertest.Get(t, srv.Kind()); again != srv {
			t.Error("Get made a second server")
		}
	})
}

func TestDatabaseIsDroppedAtTheEnd(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		var name string
		t.Run("inner", func(t *testing.T) { name, _ = dbservertest.Database(t, srv) })
		db, err := srv.Open("")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var left int
		err = db.QueryRowContext(t.Context(), "SELECT count(*) FROM information_schema.schemata WHERE schema_name = ?", name).Scan(&left)
		if err != nil || left != 0 {
			t.Errorf("databases named %s = %d, %v; want 0", name, left, err)
		}
	})
}
