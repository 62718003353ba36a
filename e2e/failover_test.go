package e2e

import (
	"database/sql"
	"fmt"
	"net"
	"regexp"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// pair is a primary and its replica, with a proxy before them as an operator has a name or an address that moves.
type pair struct {
	t             *testing.T
	first, second *dbserver.Server
	one, two      *sql.DB // of the captured database
	line          *proxy
	database      string
}

func newPair(t *testing.T, kind dbserver.Kind) *pair {
	t.Helper()
	args := []string{"--log-replica-updates=ON"}
	if kind == dbserver.MariaDB {
		args = []string{"--log-slave-updates=ON", "--gtid-strict-mode=ON"}
	}
	p := &pair{t: t, first: dbservertest.Start(t, dbserver.Options{Kind: kind, Args: args}),
		second: dbservertest.Start(t, dbserver.Options{Kind: kind, Args: args}), database: "shop"}
	// Both begin without transactions of their own.
	empty := "RESET BINARY LOGS AND GTIDS"
	if kind == dbserver.MariaDB {
		empty = "RESET MASTER"
	}
	must(t, p.open(p.first, ""), empty)
	must(t, p.open(p.second, ""), empty)
	p.replicate(p.second, p.first)
	p.one = p.open(p.first, "")
	must(t, p.one, "CREATE DATABASE shop; CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(40))")
	p.one.Close()
	p.one = p.open(p.first, p.database)
	p.same()
	p.two = p.open(p.second, p.database)
	p.line = newProxy(t, p.first.Addr())
	return p
}

func (p *pair) open(srv *dbserver.Server, database string) *sql.DB {
	p.t.Helper()
	db, err := srv.Open(database)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { db.Close() })
	return db
}

// replicate makes a server the replica of another.
func (p *pair) replicate(replica, primary *dbserver.Server) {
	p.t.Helper()
	db := p.open(replica, "")
	host, port, err := net.SplitHostPort(primary.Addr())
	if err != nil {
		p.t.Fatal(err)
	}
	if replica.Kind() == dbserver.MariaDB {
		must(p.t, db, "STOP SLAVE; CHANGE MASTER TO MASTER_HOST='"+host+"', MASTER_PORT="+port+", MASTER_USER='root', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1; START SLAVE")
		return
	}
	must(p.t, db, "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_HOST='"+host+"', SOURCE_PORT="+port+
		", SOURCE_USER='root', SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=1, GET_SOURCE_PUBLIC_KEY=1; START REPLICA")
}

// same waits until the replica has everything.
func (p *pair) same() {
	p.t.Helper()
	query := "SELECT @@GLOBAL.gtid_executed"
	if p.first.Kind() == dbserver.MariaDB {
		query = "SELECT @@GLOBAL.gtid_binlog_pos"
	}
	two := p.open(p.second, "")
	eventually(p.t, 30*time.Second, "the replica to have everything", func() bool {
		var a, b string
		if err := p.one.QueryRowContext(p.t.Context(), query).Scan(&a); err != nil {
			p.t.Fatal(err)
		}
		if err := two.QueryRowContext(p.t.Context(), query).Scan(&b); err != nil {
			p.t.Fatal(err)
		}
		return a == b
	})
}

// stopReplication makes a server its own master.
func (p *pair) stopReplication() {
	p.t.Helper()
	word := "STOP REPLICA"
	if p.second.Kind() == dbserver.MariaDB {
		word = "STOP SLAVE"
	}
	must(p.t, p.open(p.second, ""), word)
}

func insertRows(t *testing.T, db *sql.DB, word string, n int) {
	t.Helper()
	for i := range n {
		must(t, db, fmt.Sprintf("INSERT INTO t (v) VALUES ('%s %d')", word, i))
	}
}

// The replica is promoted while transactions are written, and has one of its own besides: the capture goes on from there, with no gap and
// nothing twice.
func TestFailover(t *testing.T) {
	t.Parallel()
	for _, kind := range dbserver.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := newPair(t, kind)
			p := newRecording(t, w.first, w.database, w.line.addr())
			insertRows(t, w.one, "before", 50)
			w.same()
			w.stopReplication()
			m := newMirror(t, w.second, w.database) // on both, it would hold up the replication
			insertRows(t, w.two, "own", 3)          // an errant transaction, for as long as the first one is followed
			w.line.switchTo(w.second.Addr())
			insertRows(t, w.two, "after", 50)
			p.srv = w.second
			p.caughtUp()
			p.stop()
			p.play(m.apply)
			m.finish()
			m.equal()
		})
	}
}

// The promoted replica lacks what was captured: the source stops, names it, and says where in the log it is.
func TestFailoverThatLostTransactions(t *testing.T) {
	t.Parallel()
	for _, kind := range dbserver.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := newPair(t, kind)
			p := newRecording(t, w.first, w.database, w.line.addr())
			insertRows(t, w.one, "kept", 5)
			p.caughtUp()
			w.same()
			w.stopReplication()
			insertRows(t, w.one, "lost", 3)
			p.caughtUp() // one more change, and with it the lost are 4; MySQL also logs that its table exists
			w.line.switchTo(w.second.Addr())
			insertRows(t, w.two, "other", 9)
			if code := p.daemon.exit(time.Minute); code != exitSource {
				t.Fatalf("rowhook ended with code %d, want %d", code, exitSource)
			}
			said := p.daemon.stderr.String()
			for _, want := range []string{"position_lost", "lacks transactions that were captured", `the log has [45] changes of [45] of them, from seq \d+ to \d+`} {
				if !regexp.MustCompile(want).MatchString(said) {
					t.Errorf("rowhook does not say %q:\n%s", want, p.daemon.stderr.end(8))
				}
			}
		})
	}
}
