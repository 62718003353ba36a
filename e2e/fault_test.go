package e2e

import (
	"database/sql/driver"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// byStatement runs statements whose changes the binlog holds as statements only.
func (p *recording) byStatement(statements ...string) {
	p.t.Helper()
	db, err := p.srv.Open(p.database)
	if err != nil {
		p.t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = conn.Raw(func(any) error { return driver.ErrBadConn }) }()
	for _, s := range append([]string{"SET SESSION binlog_format = 'STATEMENT'"}, statements...) {
		must(p.t, conn, s)
	}
}

// stoppedAt is the transaction that the log of the process names as the one it stopped at.
func (p *recording) stoppedAt() string {
	p.t.Helper()
	m := regexp.MustCompile(`rowhook source skip \S+ --gtid (\S+)`).FindStringSubmatch(p.daemon.stderr.String())
	if m == nil {
		p.t.Fatalf("no transaction is named:\n%s", p.daemon.stderr.end(20))
	}
	return m[1]
}

func (p *recording) skip(gtid string) result {
	p.t.Helper()
	return runToEnd(p.t, "source", "skip", recordedSource, "--gtid", gtid, "--reason", "given up by a test", "--config", p.config())
}

// A transaction that cannot be captured stops the source; given up by its name, and by no other, it is a recorded gap, and everything
// else is captured. It works on a process that has ended because its only source stopped, and on one that runs on for another.
func TestSkippedTransaction(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, srv *dbserver.Server) {
		other := dbservertest.Get(t, dbserver.MariaDB)
		if srv.Kind() == other.Kind() {
			other = dbservertest.Get(t, dbserver.MySQL)
		}
		name, db := dbservertest.Database(t, srv)
		must(t, db, "CREATE TABLE t (id INT PRIMARY KEY, v INT)")
		p := newRecording(t, srv, name, "")
		m := newMirror(t, srv, name)
		must(t, db, "INSERT INTO t VALUES (1, 1), (2, 2)")
		p.byStatement("UPDATE t SET v = 10 WHERE id = 1")
		must(t, db, "INSERT INTO t VALUES (3, 3)")
		if code := p.daemon.exit(time.Minute); code != exitSource {
			t.Fatalf("rowhook ended with code %d, want %d", code, exitSource)
		}
		gtid := p.stoppedAt()
		if r := p.skip(strings.TrimRight(gtid, "0123456789") + "999999"); r.code == 0 || !strings.Contains(r.stderr, gtid) {
			t.Errorf("another transaction was given up (code %d), or the right one is not named: %s", r.code, r.stderr)
		}
		if r := p.skip(gtid); r.code != 0 {
			t.Fatalf("the gap was not recorded: %s", r.stderr)
		}
		p.settings = fmt.Sprintf("  - name: other\n    dsn: mysql://root@%s/\n    tables: [\"%s.none\"]\n", other.Addr(), name)
		p.write()
		p.start()
		p.caughtUp()
		if r := p.skip(gtid); r.code == 0 || !strings.Contains(r.stderr, "not stopped") {
			t.Errorf("a source that runs gave a transaction up: %s", r.stderr)
		}

		p.byStatement("BEGIN", "DELETE FROM t WHERE id = 2", "INSERT INTO t VALUES (4, 4)", "COMMIT")
		must(t, db, "INSERT INTO t VALUES (5, 5)")
		eventually(t, time.Minute, "the second stop", func() bool {
			s, ok := p.source()
			return ok && s.State == "stopped"
		})
		second := regexp.MustCompile(`--gtid (\S+)`).FindAllStringSubmatch(p.daemon.stderr.String(), -1)
		if r := p.skip(second[len(second)-1][1]); r.code != 0 {
			t.Fatalf("the second gap was not recorded: %s", r.stderr)
		}
		p.caughtUp()
		s, _ := p.source()
		if len(s.Gaps) != 2 || s.Gaps[0].GTID != gtid || s.Gaps[0].Seq > 3 || s.Gaps[1].By != "socket" || s.Gaps[1].Reason != "given up by a test" {
			t.Errorf("gaps %+v", s.Gaps)
		}
		if shown := runToEnd(t, "source", "show", recordedSource, "--config", p.config()); !strings.Contains(shown.stdout, gtid) {
			t.Errorf("the gap is not shown:\n%s", shown.stdout)
		}
		p.daemon.kill() // what was given up stays so
		p.start()
		p.caughtUp()
		p.stop()
		// What was given up, and nothing else, is missing.
		p.play(m.apply)
		m.finish()
		for _, s := range []string{"UPDATE t SET v = 10 WHERE id = 1", "DELETE FROM t WHERE id = 2", "INSERT INTO t VALUES (4, 4)"} {
			must(t, m.conn, s)
		}
		m.equal()
	})
}

// The line to the server is reset in the middle of events, slow, and silent without a word, and dump threads are killed, under load: the
// log is exact nevertheless.
func TestLineFaults(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		from := seed(t)
		r := rand.New(rand.NewPCG(from, 9))
		name, db := dbservertest.Database(t, srv)
		tables := randomTables(t, db, srv.Kind(), r, 4)
		line := newProxy(t, srv.Addr())
		p := newRecording(t, srv, name, line.addr())
		p.settings = "    heartbeat: 1s\n"
		p.stop()
		p.write()
		p.start()
		m := newMirror(t, srv, name)
		load := startRandomLoad(t.Context(), db, tables, from, 250)
		for range 6 {
			line.behave(proxyReset, 200+r.IntN(60_000))
			_ = pauseFor(t.Context(), 50+r.IntN(400))
		}
		line.behave(proxyTrickle, 0)
		_ = pauseFor(t.Context(), 500)
		line.behave(proxyStall, 0)
		eventually(t, 20*time.Second, "the silence to be noticed", func() bool {
			return strings.Contains(p.daemon.stderr.end(30), "source lost")
		})
		line.behave(proxyPass, 0)
		line.cut() // what was swallowed is gone for those connections
		killDumpThreads(t, db)
		load.finish(t)
		p.caughtUp()
		p.stop()
		p.play(m.apply)
		m.finish()
		m.equal()
	})
}
