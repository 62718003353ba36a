package e2e

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// SIGTERM under load ends with code 0, and the next run repeats nothing and loses nothing.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		s := newSite(t, srv, usualEndpoints()...)
		s.load.rate = 800
		s.attach()
		s.load.start(t)
		for range 3 {
			s.daemon.address() // it serves
			s.changes(300)
			if code := s.daemon.stop(); code != 0 {
				t.Errorf("rowhook ended with code %d, want 0; its log:\n%s", code, s.daemon.stderr.end(120))
			}
			s.changes(100)
			s.start()
		}
		s.finish()
		s.drained(drainTime)
		s.judge()
	})
}

// SIGTERM in the middle of a start is no failure either, and leaves nothing behind that the next start stumbles over.
func TestStopWhileStarting(t *testing.T) {
	t.Parallel()
	s := newSite(t, dbservertest.Get(t, dbserver.MySQL), usualEndpoints()...)
	s.load.rate = 500
	s.attach()
	s.load.start(t)
	random := rand.New(rand.NewPCG(s.load.seed, 2))
	s.daemon.stop()
	for range 8 {
		s.start()
		select {
		case <-time.After(50*time.Millisecond + time.Duration(random.Int64N(int64(250*time.Millisecond)))):
		case <-s.daemon.done:
		}
		s.daemon.mustRun()
		// A signal that comes before the program's first line ends it like any other.
		if code := s.daemon.stop(); code != 0 && code != -1 {
			t.Errorf("rowhook ended with code %d, want 0; its log:\n%s", code, s.daemon.stderr.end(120))
		}
	}
	s.start()
	s.finish()
	s.drained(drainTime)
	s.judge()
}

// The process tells about itself while it works.
func TestMetricsAndLivez(t *testing.T) {
	t.Parallel()
	s := newSite(t, dbservertest.Get(t, dbserver.MariaDB), usualEndpoints()...)
	s.attach()
	if code, body := s.daemon.get("/livez"); code != 200 || !strings.Contains(body, "shop") {
		t.Errorf("/livez answers %d %s", code, body)
	}
	code, body := s.daemon.get("/metrics")
	if code != 200 || !strings.Contains(body, "rowhook_") || !strings.Contains(body, `source="shop"`) {
		t.Errorf("/metrics answers %d %s", code, body)
	}
	if strings.Contains(body+s.daemon.stderr.String(), s.secret.Reveal()) {
		t.Error("a secret stands in the metrics or the log")
	}
}
