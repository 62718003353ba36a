package mysql

import (
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// The margin is the whole retention while the file is written to, and counts down from when it was closed.
func TestPurgeMargin(t *testing.T) {
	t.Parallel()
	for _, kind := range dbserver.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			srv := dbservertest.Start(t, dbserver.Options{Kind: kind, Args: []string{"--binlog-expire-logs-seconds=7200"}})
			_, db := dbservertest.Database(t, srv)
			r, err := New(Config{Source: "test", DSN: srv.DSN(""), Tables: []string{"app.*"}})
			if err != nil {
				t.Fatal(err)
			}
			at, err := r.Attach(t.Context(), AtNow)
			if err != nil {
				t.Fatal(err)
			}
			expect := func(what string, at change.Position, low, high time.Duration, wantBehind bool) {
				t.Helper()
				margin, behind, err := r.PurgeMargin(t.Context(), at)
				if err != nil || margin < low || margin > high || behind != wantBehind {
					t.Errorf("%s: %v, behind %v, %v; want between %v and %v, behind %v", what, margin, behind, err, low, high, wantBehind)
				}
			}
			expect("the newest file", at, 2*time.Hour, 2*time.Hour, false)
			if _, err := db.ExecContext(t.Context(), "FLUSH BINARY LOGS"); err != nil {
				t.Fatal(err)
			}
			expect("a closed file", at, 2*time.Hour-time.Minute, 2*time.Hour, true)
			gone := at
			gone.File = "binlog.000000"
			expect("a purged file", gone, 0, 0, true)
			if _, err := db.ExecContext(t.Context(), "SET GLOBAL binlog_expire_logs_seconds = 0"); err != nil {
				t.Fatal(err)
			}
			expect("kept for good", at, KeptForGood, KeptForGood, true)
		})
	}
}
