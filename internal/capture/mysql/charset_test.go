package mysql

import (
	"strings"
	"testing"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// The numbers of the collations are the server's.
func TestCollationNumbers(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		db, err := srv.Open("")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		view := "collations"
		if srv.Kind() == dbserver.MariaDB {
			view = "collation_character_set_applicability"
		}
		rows, err := db.QueryContext(t.Context(), "SELECT id, character_set_name FROM information_schema."+view+" WHERE id IS NOT NULL")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		n := 0
		for rows.Next() {
			var id uint64
			var want string
			if err := rows.Scan(&id, &want); err != nil {
				t.Fatal(err)
			}
			n++
			if got := charsetName(id, change.Flavor(srv.Kind())); got != strings.Replace(want, "utf8_", "utf8mb3_", 1) {
				t.Errorf("collation %d has character set %s, want %s", id, got, want)
			}
		}
		if err := rows.Err(); err != nil || n < 200 {
			t.Errorf("%d collations, %v", n, err)
		}
	})
}
