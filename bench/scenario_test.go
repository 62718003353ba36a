package bench

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// given returns options that use the tests' own server, and fails the test if something is left on it.
func given(t *testing.T, srv *dbserver.Server) ServerOptions {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	return ServerOptions{DSN: srv.DSN(""), Dir: dir}
}

// noDatabases fails the test if a scenario left its database behind; call it where no other one runs.
func noDatabases(t *testing.T, srv *dbserver.Server) {
	t.Helper()
	db, err := srv.Open("")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var n int
	if err := db.QueryRow("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'rowhook\\_bench\\_%'").Scan(&n); err != nil || n > 0 {
		t.Errorf("%d databases are left behind, %v", n, err)
	}
}

func positive(t *testing.T, f Figures, names ...string) {
	t.Helper()
	for _, name := range names {
		if n, ok := f.Number(name); !ok || n <= 0 {
			t.Errorf("%s is %v, want a number above 0", name, n)
		}
	}
}

func TestScenarios(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		server := given(t, srv)
		var progress bytes.Buffer
		r, err := Capture(t.Context(), CaptureOptions{Server: server, Rows: 3000, Progress: &progress})
		if err != nil {
			t.Fatalf("%v\n%s", err, &progress)
		}
		if r.Server != string(srv.Kind()) || !strings.Contains(progress.String(), "round 5 of 5") {
			t.Errorf("server is %s; progress:\n%s", r.Server, &progress)
		}
		positive(t, r.Measured, "raw_rows_per_s", "gomysql_rows_per_s", "rowhook_rows_per_s", "binlog_bytes", "log_bytes", "commit_s")
		positive(t, r.Ratios, "to_gomysql", "to_raw")

		if r, err = Capture(t.Context(), CaptureOptions{Server: server, Rows: 2500, Single: true, Progress: &progress}); err != nil {
			t.Fatalf("%v\n%s", err, &progress)
		}
		if n, _ := r.Settings.Number("transactions"); n != 2500 || r.Scenario != "capture_single" {
			t.Errorf("%s of %v transactions", r.Scenario, n)
		}
		positive(t, r.Ratios, "to_gomysql", "to_raw")

		binary, err := build()
		if err != nil {
			t.Fatal(err)
		}
		o := LatencyOptions{Server: server, Rate: 100, For: time.Second, Binary: binary, ReceiverArgs: []string{"bench", "receiver"}, Progress: &progress}
		if r, err = Latency(t.Context(), o); err != nil {
			t.Fatalf("%v\n%s", err, &progress)
		}
		positive(t, r.Measured, "idle_from_sending_p50_ms", "from_sending_p50_ms", "p95_ms", "p99_ms", "achieved_per_s")
		if n, _ := r.Measured.Number("commits"); n != 100 {
			t.Errorf("there were %v commits, want 100", n)
		}
		noDatabases(t, srv)
	})
}

// TestCheckComplete: figures of incomplete work would be lies.
func TestCheckComplete(t *testing.T) {
	t.Parallel()
	complete := func() [][]reading {
		return [][]reading{raw: {{event: 7}}, goMySQL: {{event: 7, rows: 100}}, rowhook: {{rows: 100}}}
	}
	b := &backlog{rows: 100}
	if err := checkComplete(b, complete()); err != nil {
		t.Error(err)
	}
	for name, damage := range map[string]func([][]reading){
		"raw":      func(r [][]reading) { r[raw][0].event-- },
		"go-mysql": func(r [][]reading) { r[goMySQL][0].rows-- },
		"Rowhook":  func(r [][]reading) { r[rowhook][0].rows++ },
	} {
		runs := complete()
		damage(runs)
		if err := checkComplete(b, runs); err == nil {
			t.Errorf("%s read the wrong number, and there is no error", name)
		}
	}
}

func TestWrongServer(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		o := given(t, srv)
		o.Kind = "mysql"
		if srv.Kind() == dbserver.MySQL {
			o.Kind = "mariadb"
		}
		_, err := Capture(t.Context(), CaptureOptions{Server: o, Rows: 1000, Progress: io.Discard})
		if err == nil || !strings.Contains(err.Error(), "--server") {
			t.Errorf("error is %v, want one about --server", err)
		}
	})
}

// TestBrokenBinary: a process that ends is noticed at once, and its last words are in the error.
func TestBrokenBinary(t *testing.T) {
	t.Parallel()
	c, err := startChild(t.Context(), "the example", "/bin/sh", nil, nil, "-c", "echo last words >&2; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	<-c.done
	if err := c.failed(); err == nil || !strings.Contains(err.Error(), "last words") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error is %v", err)
	}
	if _, err := startReceiver(t.Context(), "/bin/false", nil); err == nil || !strings.Contains(err.Error(), "the receiver ended") {
		t.Errorf("error is %v", err)
	}
	if _, err := startChild(t.Context(), "nobody", "/nonexistent/rowhook", nil, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
}
