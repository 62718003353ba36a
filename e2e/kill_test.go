package e2e

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/rowhook/rowhook/e2e/receiver"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// Under load the process is killed at random moments, from its first milliseconds on, and started again.
func TestKillNine(t *testing.T) {
	t.Parallel()
	kills := number(t, "ROWHOOK_KILLS", 20)
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		s := newSite(t, srv, usualEndpoints()...)
		s.attach()
		s.load.start(t)
		s.killAtRandom(kills)
		s.finish()
		s.drained(drainTime)
		s.judge()
	})
}

// The same while the receivers fail, hang, break connections and ask for patience.
func TestKillNineWithBadReceiver(t *testing.T) {
	t.Parallel()
	kills := number(t, "ROWHOOK_KILLS", 6)
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		endpoints := usualEndpoints()
		for i := range endpoints {
			endpoints[i].extra = "timeout: 2s"
		}
		s := newSite(t, srv, endpoints...)
		s.load.rate = 400
		s.config = "delivery: {retry: [" + repeated("50ms", 32) + "]}\n"
		for _, e := range endpoints {
			s.receiver.Behave("/"+e.name, receiver.Sometimes(s.load.seed, 0.04,
				receiver.Behaviour{Status: 500},
				receiver.Behaviour{Status: 429, RetryAfter: "0"},
				receiver.Behaviour{Status: 302, Location: s.receiver.URL("elsewhere")},
				receiver.Behaviour{Close: true},
				receiver.Behaviour{Delay: 100 * time.Millisecond},
				receiver.Behaviour{Hang: true},
			))
		}
		s.attach()
		s.load.start(t)
		s.killAtRandom(kills)
		s.finish()
		s.drained(drainTime)
		s.judge()
		if c := s.receiver.Counts("/elsewhere"); c.Requests+c.Refused > 0 {
			t.Errorf("a redirect was followed: %+v", c)
		}
	})
}

// Kills that hit in the middle of a transaction of many blocks: the next run goes on behind the rows that are in the log already.
func TestKillInsideLargeTransaction(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		s := newSite(t, srv, usualEndpoints()...)
		random := rand.New(rand.NewPCG(s.load.seed, 3))
		s.attach()
		for range 2 {
			s.daemon.stop()
			s.commitLarge(random, 8000)
			for range 4 {
				s.start()
				select {
				case <-time.After(150*time.Millisecond + time.Duration(random.Int64N(int64(900*time.Millisecond)))):
				case <-s.daemon.done:
				}
				s.daemon.mustRun()
				s.kill()
			}
			s.start()
		}
		s.drained(drainTime)
		s.judge()
	})
}

// commitLarge inserts so many rows, or updates them if they are there, in one transaction.
func (s *site) commitLarge(random *rand.Rand, rows int) {
	s.t.Helper()
	ctx := s.t.Context()
	tx, err := s.load.db.BeginTx(ctx, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }() // too late after the commit
	number := int64(s.load.book.len())
	version := 1 + number/int64(rows)
	all := newPlan(random)
	for first := 0; first < rows; first += 500 {
		p := newPlan(random)
		for i := range 500 {
			if version == 1 {
				p.insertItem(int64(first+i), version, "")
			} else {
				p.updateItem(int64(first+i), version, "")
			}
		}
		if _, err := tx.ExecContext(ctx, p.sql.String(), p.args...); err != nil {
			s.t.Fatal(err)
		}
		all.changes = append(all.changes, p.changes...)
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO ledger VALUES (?)", number); err != nil {
		s.t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		s.t.Fatal(err)
	}
	s.load.book.commit(number, all.changes)
}

// TestSoakKillNine is TestKillNine with 200 kills.
func TestSoakKillNine(t *testing.T) {
	t.Parallel()
	soak(t)
	kills := number(t, "ROWHOOK_KILLS", 200)
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		s := newSite(t, srv, usualEndpoints()...)
		s.attach()
		s.load.start(t)
		s.killAtRandom(kills)
		s.finish()
		s.drained(drainTime)
		s.judge()
	})
}

// killAtRandom kills and restarts Rowhook so many times. A third of the runs are killed within their first moments, where they read
// what the one before left behind.
func (s *site) killAtRandom(kills int) {
	s.t.Helper()
	random := rand.New(rand.NewPCG(s.load.seed, 1<<32))
	for range kills {
		life := time.Duration(random.Int64N(int64(1500 * time.Millisecond)))
		if random.IntN(3) == 0 {
			life /= 8
		}
		select {
		case <-time.After(life):
		case <-s.daemon.done:
		}
		s.daemon.mustRun()
		s.kill()
		s.start()
	}
	s.heard()
	if took := time.Since(s.daemon.began); took > startLimit {
		s.t.Errorf("the first delivery came %v after the last start, and may take %v", took, startLimit)
	}
}

// repeated is a list of n equal values.
func repeated(value string, n int) string {
	text := value
	for range n - 1 {
		text += ", " + value
	}
	return text
}

// soak holds that a soak test was asked for: it takes room and time that nobody expects.
func soak(t *testing.T) {
	t.Helper()
	if on, _ := strconv.ParseBool(os.Getenv("ROWHOOK_SOAK")); !on {
		t.Fatal("this test takes long and needs much room: run it with `make soak`, or set ROWHOOK_SOAK=1")
	}
}
