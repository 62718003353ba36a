package e2e

import (
	"database/sql"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// each runs one subtest for each kind, with a server of its own: these tests stop and freeze it.
func each(t *testing.T, test func(t *testing.T, srv *dbserver.Server)) {
	t.Helper()
	for _, kind := range dbserver.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			test(t, dbservertest.Start(t, dbserver.Options{Kind: kind, Args: []string{"--max-binlog-size=1M"}}))
		})
	}
}

// The database is restarted, crashes, is frozen, and loses its replica, all under load; small binlog files rotate meanwhile. Nothing
// is lost, and as Rowhook itself never dies, nothing is repeated.
func TestDatabaseFaults(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, srv *dbserver.Server) {
		s := newSite(t, srv, usualEndpoints()...)
		s.load.rate = 800
		s.attach()
		s.load.start(t)
		s.changes(200)

		for range 3 {
			killDumpThreads(t, s.db)
			s.changes(200)
		}
		if err := srv.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.changes(200)
		if err := srv.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := srv.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.changes(200)
		if err := srv.Pause(); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Second)
		if err := srv.Resume(); err != nil {
			t.Fatal(err)
		}
		s.changes(200)
		s.daemon.signal(syscall.SIGSTOP)
		<-time.After(2 * time.Second)
		s.daemon.signal(syscall.SIGCONT)
		s.changes(200)

		s.finish()
		s.daemon.mustRun()
		s.drained(drainTime)
		s.judge()
	})
}

// killDumpThreads ends the server's threads that feed this test's replicas.
func killDumpThreads(t *testing.T, db *sql.DB) {
	t.Helper()
	eventually(t, 30*time.Second, "a dump thread to kill", func() bool {
		rows, err := db.QueryContext(t.Context(), "SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var ids []int64
		for rows.Next() {
			var id int64
			if err := rows.Scan(&id); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		for _, id := range ids {
			// It may have gone by itself.
			_, _ = db.ExecContext(t.Context(), fmt.Sprintf("KILL %d", id))
		}
		return len(ids) > 0
	})
}

// A process that was frozen for longer than its connections live goes on, and repeats nothing that was accepted.
func TestFrozenUntilItsConnectionsDied(t *testing.T) {
	t.Parallel()
	srv := dbservertest.Start(t, dbserver.Options{Kind: dbserver.MariaDB, Args: []string{"--net-write-timeout=1"}})
	s := newSite(t, srv, usualEndpoints()...)
	s.load.rate = 300
	s.attach()
	s.load.start(t)
	s.changes(200)
	s.daemon.signal(syscall.SIGSTOP)
	killDumpThreads(t, s.db)
	s.changes(200)
	s.daemon.signal(syscall.SIGCONT)
	s.changes(200)
	s.finish()
	s.drained(drainTime)
	s.judge()
}

// The server removed binlogs that were not read yet: Rowhook names the lost position and stops, and does not go on as if nothing were
// missing.
func TestPurgedPositionStops(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, srv *dbserver.Server) {
		s := newSite(t, srv, usualEndpoints()...)
		s.attach()
		s.load.start(t)
		s.changes(300)
		if code := s.daemon.stop(); code != 0 {
			t.Fatalf("rowhook ended with code %d", code)
		}
		s.changes(3000)
		s.finish()
		for range 2 { // purge keeps the newest two, and none of them may be the one that is read on from
			if _, err := s.db.ExecContext(t.Context(), "FLUSH BINARY LOGS"); err != nil {
				t.Fatal(err)
			}
		}
		s.purge()
		s.refused("serve", exitSource, "position_lost", s.srv.Addr())
		s.refused("serve", exitSource, "position_lost", s.srv.Addr()) // and again: nothing was moved
	})
}

// purge removes all binlogs but the newest two.
func (s *site) purge() {
	s.t.Helper()
	rows, err := s.db.QueryContext(s.t.Context(), "SHOW BINARY LOGS")
	if err != nil {
		s.t.Fatal(err)
	}
	var files []string
	for rows.Next() {
		var name, rest sql.RawBytes
		columns := []any{&name, &rest, &rest}[:2]
		if s.srv.Kind() == dbserver.MySQL {
			columns = append(columns, &rest) // it also says whether a file is encrypted
		}
		if err := rows.Scan(columns...); err != nil {
			s.t.Fatal(err)
		}
		files = append(files, string(name))
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		s.t.Fatal(err)
	}
	if len(files) < 3 {
		return
	}
	if _, err := s.db.ExecContext(s.t.Context(), fmt.Sprintf("PURGE BINARY LOGS TO '%s'", files[len(files)-2])); err != nil {
		s.t.Fatal(err)
	}
}
