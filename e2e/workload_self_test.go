package e2e

import (
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// The book agrees with the tables after a load, and does not after one change that is not in it.
func TestWorkloadKeepsItsBook(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		database, db := dbservertest.Database(t, srv)
		w := newWorkload(t, srv, database, seed(t))
		w.rate, w.bulk = 1e6, 200
		w.start(t)
		<-time.After(500 * time.Millisecond)
		if err := w.finish(); err != nil {
			t.Fatal(err)
		}
		if err := w.book.verify(t.Context(), db); err != nil {
			t.Error(err)
		}
		if n := len(w.book.wanted(kindItem)); n < 50 || len(w.book.wanted(kindOrder)) < 20 || len(w.book.wanted(kindEven)) >= n {
			t.Errorf("%d items, %d orders, %d even", n, len(w.book.wanted(kindOrder)), len(w.book.wanted(kindEven)))
		}
		t.Logf("%d changes in %d transactions", w.book.len(), len(w.book.txs))
		for _, statement := range []string{
			"UPDATE items SET version = version + 1 WHERE id = 1",
			"UPDATE items SET version = version - 1 WHERE id = 1; UPDATE items SET chk = chk + 1 WHERE id = 2",
			"UPDATE items SET chk = chk - 1 WHERE id = 2; DELETE FROM items WHERE id = 3",
		} {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
			if err := w.book.verify(t.Context(), db); err == nil {
				t.Errorf("the book did not notice %s", statement)
			}
		}
	})
}
