package e2e

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// withoutGTIDs starts a MySQL server without GTIDs, whose files rotate often.
func withoutGTIDs(t *testing.T) *dbserver.Server {
	t.Helper()
	return dbservertest.Start(t, dbserver.Options{Kind: dbserver.MySQL,
		Args: []string{"--gtid-mode=OFF", "--enforce-gtid-consistency=OFF", "--max-binlog-size=64K"}})
}

// Without GTIDs, under load, the process is killed at random moments. At the end the server turns GTIDs on, and Rowhook stops instead
// of giving events other ids.
func TestKillNineWithoutGTIDs(t *testing.T) {
	t.Parallel()
	s := newSite(t, withoutGTIDs(t), usualEndpoints()...)
	s.attach()
	s.load.start(t)
	s.killAtRandom(number(t, "ROWHOOK_KILLS", 5))
	s.finish()
	s.drained(drainTime)
	s.judge()

	for _, q := range []string{"SET GLOBAL enforce_gtid_consistency = ON", "SET GLOBAL gtid_mode = OFF_PERMISSIVE", "SET GLOBAL gtid_mode = ON_PERMISSIVE",
		"SET GLOBAL gtid_mode = ON"} {
		if _, err := s.db.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	s.refused("serve", exitSource, "gtid_mode_changed", s.srv.Addr())
}

// Without GTIDs, the process is killed in the middle of a transaction of many blocks, and goes on behind the rows that are in the log.
func TestKillInsideLargeTransactionWithoutGTIDs(t *testing.T) {
	t.Parallel()
	s := newSite(t, withoutGTIDs(t), usualEndpoints()...)
	random := rand.New(rand.NewPCG(s.load.seed, 5))
	s.attach()
	s.daemon.stop()
	s.commitLarge(random, 6000)
	for range 4 {
		s.start()
		select {
		case <-time.After(100*time.Millisecond + time.Duration(random.Int64N(int64(500*time.Millisecond)))):
		case <-s.daemon.done:
		}
		s.daemon.mustRun()
		s.kill()
	}
	s.start()
	s.drained(drainTime)
	s.judge()
}
