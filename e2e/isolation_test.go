package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rowhook/rowhook/e2e/receiver"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// badEndpoints are endpoints that get all items and accept none.
func badEndpoints() map[string]receiver.Behaviour {
	return map[string]receiver.Behaviour{
		"never":   {Hang: true},
		"failing": {Status: 500},
		"gone":    {Status: 410},
		"busy":    {Status: 503, RetryAfter: "3600"},
		"broken":  {Close: true},
	}
}

// Endpoints that never answer, fail, are gone, ask for patience or break connections delay nobody else, and neither does an event on
// which an expression fails.
func TestBadEndpointsDelayNobody(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		endpoints := usualEndpoints()
		for name := range badEndpoints() {
			endpoints = append(endpoints, endpoint{name: name, kinds: []string{kindItem}, extra: "timeout: 3s"})
		}
		endpoints = append(endpoints, endpoint{name: "poison", kinds: []string{"item.poison"}})
		s := newSite(t, srv, endpoints...)
		// For every row's third version the expression divides by zero, and is true for all others.
		s.types = poisonType(s.database)
		s.config = "delivery: {retry: [200ms, 1h, 1h, 1h]}\n"
		for name, b := range badEndpoints() {
			s.receiver.Behave("/"+name, receiver.Always(b))
		}
		s.attach()
		s.load.rate = 1000
		s.load.start(t)
		s.changes(4000)
		s.finish()
		s.drained(goodTime, "all", "orders")

		wanted, poison := 0, 0
		for _, e := range s.load.book.wanted(kindItem) {
			switch {
			case !e.deleted && e.version == 3:
				poison++
			case !e.deleted:
				wanted++
			}
		}
		s.waitFor("/poison", wanted)
		if _, metrics := s.daemon.get("/metrics"); !strings.Contains(metrics, fmt.Sprintf("\nrowhook_deliver_parked_total{source=\"shop\"} %d\n", poison)) {
			t.Errorf("the metrics do not tell of %d parked events:\n%s", poison, metrics)
		}
		s.judge("all", "orders")
		if got := s.receiver.Counts("/poison").Distinct; got != wanted {
			t.Errorf("%d events of the type with the failing expression were delivered, want %d", got, wanted)
		}
		s.judgeBad()
	})
}

// poisonType is a type whose expression cannot be evaluated for some rows.
func poisonType(database string) string {
	return `
  item.poison:
    table: ` + database + `.items
    on: [insert, update]
    when: 10 / (after.version - 3) < 1000
    data: [id, version]
`
}

// waitFor waits until so many ids were accepted at a path.
func (s *site) waitFor(path string, wanted int) {
	s.t.Helper()
	eventually(s.t, 30*time.Second, path, func() bool { return s.receiver.Counts(path).Distinct >= wanted })
}

// judgeBad holds what the bad endpoints got against what they may be sent.
func (s *site) judgeBad() {
	s.t.Helper()
	for name := range badEndpoints() {
		c := s.receiver.Counts("/" + name)
		if c.Requests == 0 || c.Accepted > 0 {
			s.t.Errorf("endpoint %s got %+v", name, c)
		}
	}
	// 410 disables: what was in flight with the first answer is all that comes (16 at once).
	if c := s.receiver.Counts("/gone"); c.Requests > 16 {
		s.t.Errorf("endpoint gone answered 410 and got %d requests", c.Requests)
	}
	// An hour was asked for: nothing comes twice.
	if c := s.receiver.Counts("/busy"); c.Requests > 200 {
		s.t.Errorf("endpoint busy asked for an hour of patience and got %d requests", c.Requests)
	}
}

// An endpoint that was down for longer than its queue lasts gets all it missed, in order, also when the process was killed meanwhile;
// and nobody else waits for it.
func TestEndpointComesBack(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		endpoints := usualEndpoints()
		endpoints = append(endpoints, endpoint{name: "down", kinds: []string{kindItem, kindEven}, extra: "queue_bytes: 64KiB"})
		s := newSite(t, srv, endpoints...)
		s.config = "delivery: {retry: [" + repeated("500ms", 32) + "]}\n"
		s.receiver.Behave("/down", receiver.Always(receiver.Behaviour{Status: 503}))
		s.attach()
		s.load.rate = 800
		s.load.start(t)
		for range 3 {
			s.changes(500)
			s.kill()
			s.start()
		}
		s.drained(goodTime, "orders")
		s.receiver.Behave("/down", nil)
		s.changes(500)
		s.finish()
		s.drained(drainTime)
		s.judge()
	})
}
