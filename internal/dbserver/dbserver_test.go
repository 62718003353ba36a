package dbserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// each runs a subtest for each kind.
func each(t *testing.T, test func(t *testing.T, kind Kind)) {
	t.Helper()
	for _, kind := range Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			test(t, kind)
		})
	}
}

// start starts a server for one test.
func start(t *testing.T, o Options) *Server {
	t.Helper()
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// run runs statements on a server, given apart from the rows of a query with one column.
func run(ctx context.Context, s *Server, statement, query string) (values []string, err error) {
	db, err := s.Open("")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if statement != "" {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return nil, err
		}
	}
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, rows.Err()
}

// wantOne fails unless a query's only value is want.
func wantOne(t *testing.T, s *Server, query, want string) {
	t.Helper()
	got, err := run(t.Context(), s, "", query)
	if err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("%s = %q, %v; want %q", query, got, err, want)
	}
}

func TestDefaultsAreFitForCapture(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, kind Kind) {
		s := start(t, Options{Kind: kind})
		if strings.Contains(s.Version(), "MariaDB") != (kind == MariaDB) {
			t.Errorf("version %s is not a %s", s.Version(), kind)
		}
		wantOne(t, s, "SELECT CONCAT_WS(' ', @@log_bin + 0, @@binlog_format, @@binlog_row_image, @@binlog_row_metadata)", "1 ROW FULL FULL")
		wantOne(t, s, "SELECT CONCAT_WS(' ', @@sync_binlog, @@innodb_flush_log_at_trx_commit, LENGTH(COALESCE(@@secure_file_priv, '')))", "0 2 0")
		wantOne(t, s, "SELECT @@server_id", fmt.Sprint(s.ServerID()))
		wantOne(t, s, "SELECT CURRENT_USER()", "root@127.0.0.1")
		if kind == MariaDB {
			wantOne(t, s, "SELECT CONCAT(@@gtid_strict_mode + 0, @@gtid_binlog_pos)", "1")
		} else {
			wantOne(t, s, "SELECT CONCAT(@@gtid_mode, @@enforce_gtid_consistency, @@gtid_executed)", "ONON")
		}
	})
}

func TestOptionsReachTheServer(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, kind Kind) {
		dir := t.TempDir()
		s := start(t, Options{Kind: kind, Dir: dir, Durable: true, BufferPool: "16M", Args: []string{"--max-binlog-size=8192"}})
		wantOne(t, s, "SELECT CONCAT_WS(' ', @@sync_binlog, @@innodb_flush_log_at_trx_commit, @@innodb_buffer_pool_size, @@max_binlog_size)", "1 1 16777216 8192")
		if filepath.Dir(s.Dir()) != dir {
			t.Errorf("the server's folder is %s, not in %s", s.Dir(), dir)
		}
	})
}

// What was committed is there after a crash, at the same address, and the binlog goes on.
func TestRestartKeepsDataAndAddress(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, kind Kind) {
		s := start(t, Options{Kind: kind})
		addr := s.Addr()
		if _, err := run(t.Context(), s, "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); INSERT INTO d.t VALUES (1)", "SELECT 1"); err != nil {
			t.Fatal(err)
		}
		if err := s.Kill(); err != nil || s.Running() {
			t.Fatalf("Kill: %v; running %v", err, s.Running())
		}
		for _, how := range []string{"crash", "shutdown"} {
			if err := s.Restart(t.Context()); err != nil {
				t.Fatal(how, err)
			}
			wantOne(t, s, "SELECT id FROM d.t", "1")
		}
		if s.Addr() != addr {
			t.Errorf("address %s became %s", addr, s.Addr())
		}
	})
}

func TestPauseHoldsAnswersBack(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, kind Kind) {
		s := start(t, Options{Kind: kind})
		if err := s.Pause(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if got, err := run(ctx, s, "", "SELECT 1"); err == nil {
			t.Errorf("a paused server answered %q", got)
		}
		if err := s.Resume(); err != nil {
			t.Fatal(err)
		}
		wantOne(t, s, "SELECT 1", "1")
	})
}

// Plugins load, also in a server that was unpacked to another place than it was built for.
func TestMySQLHasItsPlugins(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Kind: MySQL})
	if _, err := run(t.Context(), s, "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'", "SELECT 1"); err != nil {
		t.Error(err)
	}
}

func TestTwoServersAtOnceAreStrangers(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, kind Kind) {
		var servers [2]*Server
		var g errgroup.Group
		for i := range servers {
			g.Go(func() (err error) {
				servers[i], err = Start(t.Context(), Options{Kind: kind})
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		var ids [2][]string
		for i, s := range servers {
			defer s.Close()
			query := "SELECT @@server_id"
			if kind == MySQL {
				query = "SELECT @@server_uuid"
			}
			var err error
			if ids[i], err = run(t.Context(), s, "", query); err != nil {
				t.Fatal(err)
			}
		}
		if ids[0][0] == ids[1][0] || servers[0].Dir() == servers[1].Dir() {
			t.Errorf("two servers share an identity (%q) or a folder", ids)
		}
	})
}

func TestStopRemovesEverything(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, kind Kind) {
		dir := t.TempDir()
		s := start(t, Options{Kind: kind, Dir: dir})
		for range 2 {
			if err := s.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
		if conn, err := net.Dial("tcp", s.Addr()); err == nil {
			conn.Close()
			t.Error("something still listens at the server's address")
		}
		if err := s.Restart(t.Context()); err == nil {
			t.Error("a stopped server, its data gone, started again")
		}
	})
}

// A server that cannot start says why, at once, and leaves nothing.
func TestStartFailsAtOnceWithTheServersOwnWords(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, kind Kind) {
		dir := t.TempDir()
		_, err := Start(t.Context(), Options{Kind: kind, Dir: dir, Args: []string{"--no-such-option=1"}})
		if err == nil || !strings.Contains(err.Error(), "no-such-option") {
			t.Errorf("error = %v; want one that names the option", err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})
}

// kill -9 of the process that owns a server ends the server, and the next Start in that folder removes
// what it left.
func TestServerDiesWithItsOwner(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, kind Kind) {
		dir := t.TempDir()
		owner := exec.Command(os.Args[0])
		owner.Env = append(os.Environ(), "ROWHOOK_TEST_OWNER="+string(kind), "ROWHOOK_TEST_OWNER_DIR="+dir)
		owner.Stderr = t.Output()
		out, err := owner.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := owner.Start(); err != nil {
			t.Fatal(err)
		}
		line, readErr := bufio.NewReader(out).ReadString('\n')
		if err := owner.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = owner.Wait()
		var addr, orphan string
		if _, err := fmt.Sscan(line, &addr, &orphan); err != nil {
			t.Fatal(errors.Join(err, readErr))
		}
		awaitRefused(t, addr)
		start(t, Options{Kind: kind, Dir: dir})
		if _, err := os.Stat(orphan); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the dead owner's folder is still there: %v", err)
		}
	})
}

// awaitRefused waits until nobody listens at addr.
func awaitRefused(t *testing.T, addr string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		conn.Close()
		select {
		case <-deadline:
			t.Fatalf("the server at %s outlived its owner", addr)
		case <-tick.C:
		}
	}
}

// The newest MariaDB, which this machine does not have installed, runs beside its own.
func TestSuiteUnpacksAnotherMariaDB(t *testing.T) {
	t.Parallel()
	own, err := ensure(t.Context(), MariaDB, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, Options{Kind: MariaDB, Suite: "sid"})
	if own.loader == "" && s.prog.binary == own.binary {
		t.Errorf("the suite's server is the machine's own, %s", own.binary)
	}
	wantOne(t, s, "SELECT CURRENT_USER()", "root@127.0.0.1")
}
