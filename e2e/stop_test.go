package e2e

import (
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
			s.changes(300)
			if code := s.daemon.stop(); code != 0 {
				t.Errorf("rowhook ended with code %d, want 0; its log:\n%s", code, s.daemon.stderr.end(20))
			}
			s.changes(100)
			s.start()
		}
		s.finish()
		s.drained(time.Minute)
		s.judge()
	})
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
