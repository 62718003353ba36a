package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// What the process may take, in MiB of resident memory: idle, and over idle.
const (
	idleLimit  = 80
	largeLimit = 512
	deadLimit  = 300
)

// One transaction changes 5,000,000 rows (ROWHOOK_MEMORY_ROWS says otherwise) while delivery reads beside it.
func TestSoakMemoryLargeTransaction(t *testing.T) {
	soak(t)
	rows := number(t, "ROWHOOK_MEMORY_ROWS", 5_000_000)
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		s, sink := newSheet(t, srv, rows, http.StatusOK)
		s.attach()
		idle := s.settled()
		s.updateSheet(rows)
		captured := time.Now()
		// Delivery goes on reading the log for a while after the last row is in it.
		eventually(t, 10*time.Minute, "deliveries of the large transaction", func() bool {
			s.daemon.mustRun()
			return int(sink.Load()) >= min(rows, 200_000) && time.Since(captured) > 20*time.Second
		})
		over := s.daemon.memory("VmHWM") - idle
		t.Logf("%d rows: idle %d MiB, at most %d MiB over it, %d delivered by then", rows, idle, over, sink.Load())
		if idle > idleLimit || over > largeLimit {
			t.Errorf("idle %d MiB (may be %d), %d MiB over it (may be %d)", idle, idleLimit, over, largeLimit)
		}
	})
}

// 1,000,000 events (ROWHOOK_MEMORY_EVENTS says otherwise) wait behind an endpoint that fails.
func TestSoakMemoryDeadEndpoint(t *testing.T) {
	soak(t)
	rows := number(t, "ROWHOOK_MEMORY_EVENTS", 1_000_000)
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		s, sink := newSheet(t, srv, rows, http.StatusServiceUnavailable)
		s.config = "delivery: {retry: [2s, 5s, 5s, 30s, 1h, 10h]}\n"
		s.attach()
		idle := s.settled()
		for n := 0; n < rows; n += 1000 {
			if _, err := s.db.ExecContext(t.Context(), "UPDATE sheet SET version = version + 1 WHERE id > ? AND id <= ?", n, n+1000); err != nil {
				t.Fatal(err)
			}
		}
		s.heardWithin(5 * time.Minute)
		failing := sink.Load()
		eventually(t, 5*time.Minute, "more attempts at the dead endpoint", func() bool { return sink.Load() >= failing+500 })
		over := s.daemon.memory("VmHWM") - idle
		t.Logf("%d events behind a dead endpoint: idle %d MiB, at most %d MiB over it, %d requests refused", rows, idle, over, sink.Load())
		if idle > idleLimit || over > deadLimit {
			t.Errorf("idle %d MiB (may be %d), %d MiB over it (may be %d)", idle, idleLimit, over, deadLimit)
		}
	})
}

// newSheet makes a site with a table of so many rows, whose changes all go to an endpoint that answers with a status.
func newSheet(t *testing.T, srv *dbserver.Server, rows, status int) (*site, *atomic.Int64) {
	t.Helper()
	var requests atomic.Int64
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(status)
	}))
	t.Cleanup(sink.Close)
	s := newSite(t, srv, endpoint{name: "sheet", kinds: []string{"sheet.changed"}, url: sink.URL, extra: "concurrency: 64"})
	s.types = strings.ReplaceAll(`
  sheet.changed:
    table: DB.sheet
    on: [update]
    data: [id, version, title, note]
`, "DB", s.database)
	s.tables = []string{"sheet"}
	for _, text := range []string{
		"CREATE TABLE sheet (id BIGINT NOT NULL PRIMARY KEY, version INT NOT NULL, title VARCHAR(64) NOT NULL, note TEXT NOT NULL, updated_at DATETIME(6) NOT NULL DEFAULT '2026-01-31 13:37:00')",
		"INSERT INTO sheet (id, version, title, note) VALUES (1, 0, 'the title of a row', REPEAT('a note about it ', 6))",
	} {
		if _, err := s.db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	for have := 1; have < rows; {
		more := min(have, 100_000, rows-have)
		if _, err := s.db.ExecContext(t.Context(), fmt.Sprintf("INSERT INTO sheet SELECT id + %d, version, title, note, updated_at FROM sheet WHERE id <= %d", have, more)); err != nil {
			t.Fatal(err)
		}
		have += more
	}
	return s, &requests
}

// updateSheet changes every row in one transaction, and returns when the last is in the log.
func (s *site) updateSheet(rows int) {
	s.t.Helper()
	res, err := s.db.ExecContext(s.t.Context(), "UPDATE sheet SET version = version + 1")
	if err != nil {
		s.t.Fatal(err)
	}
	if n, err := res.RowsAffected(); err != nil || n != int64(rows) {
		s.t.Fatalf("the UPDATE changed %d rows, %v", n, err)
	}
	s.heardWithin(10 * time.Minute)
}

// settled returns the resident memory in MiB of a process that has nothing to do, after the garbage of its start has gone back.
func (s *site) settled() int {
	s.t.Helper()
	last, since := 0, time.Now()
	eventually(s.t, time.Minute, "the memory to stand still", func() bool {
		if now := s.daemon.memory("VmRSS"); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 3*time.Second
	})
	return last
}

// memory is a figure of the process in MiB: VmRSS now, VmHWM at its highest.
func (d *daemon) memory(figure string) int {
	d.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		d.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, figure+":"); ok {
			kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			if err != nil {
				d.t.Fatal(err)
			}
			return kib >> 10
		}
	}
	d.t.Fatalf("the system does not tell %s", figure)
	return 0
}
