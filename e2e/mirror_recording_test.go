package e2e

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/api"
	changes "github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/eventlog"
)

// recording is a Rowhook that captures one database into its log and delivers nothing; afterwards the log is read.
type recording struct {
	t        *testing.T
	srv      *dbserver.Server
	address  string // in place of the server's, such as a proxy's
	database string
	dir      string
	serverID uint32
	settings string // more keys of the source
	daemon   *daemon
	api      *api.Client
}

// recordedSource is the name of a recording's source.
const recordedSource = "shop"

// newRecording starts capturing what is committed from now on.
func newRecording(t *testing.T, srv *dbserver.Server, database, address string) *recording {
	t.Helper()
	p := &recording{t: t, srv: srv, address: address, database: database, dir: t.TempDir(), serverID: 1<<31 + mathrand.Uint32N(1<<31)}
	if p.address == "" {
		p.address = srv.Addr()
	}
	p.write()
	p.start()
	p.attached()
	return p
}

func (p *recording) config() string { return filepath.Join(p.dir, "rowhook.yaml") }

func (p *recording) write() {
	p.t.Helper()
	cfg := p.srv.Config()
	dsn := url.URL{Scheme: "mysql", User: url.UserPassword(cfg.User, cfg.Passwd), Host: p.address, Path: "/"}
	text := fmt.Sprintf("data_dir: %s\nsources:\n  - name: %s\n    dsn: %s\n    attach: now\n    server_id: %d\n    tables: [\"%s.*\"]\n%s"+
		"http: {listen: \"127.0.0.1:0\", socket: %s}\n", filepath.Join(p.dir, "data"), recordedSource, dsn.String(), p.serverID, p.database, p.settings, p.socket())
	if err := os.WriteFile(p.config(), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// socket is short: the system allows about a hundred bytes.
func (p *recording) socket() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("rowhook-rec-%d-%d.sock", os.Getpid(), p.serverID))
}

func (p *recording) start() {
	p.t.Helper()
	p.daemon = startDaemon(p.t, "serve", "--config", p.config())
	if p.api == nil {
		var err error
		if p.api, err = api.NewClient(api.ClientOptions{Socket: p.socket()}); err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(func() { p.api.Close(); os.Remove(p.socket()) })
	}
}

func (p *recording) stop() {
	p.t.Helper()
	if code := p.daemon.stop(); code != 0 {
		p.t.Fatalf("rowhook ended with code %d:\n%s", code, p.daemon.stderr.end(40))
	}
}

// source asks the process how far it is; ok is false while it cannot answer.
func (p *recording) source() (s api.Source, ok bool) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Second)
	defer cancel()
	s, err := p.api.Source(ctx, recordedSource)
	return s, err == nil
}

// attached returns when the log has its first position.
func (p *recording) attached() {
	p.t.Helper()
	eventually(p.t, time.Minute, "the source to be attached", func() bool {
		p.daemon.mustRun()
		s, ok := p.source()
		return ok && s.NextSeq > 0
	})
}

// flavor is the family of the server.
func (p *recording) flavor() changes.Flavor {
	if p.srv.Kind() == dbserver.MariaDB {
		return changes.MariaDB
	}
	return changes.MySQL
}

// caughtUp returns when all that was committed before its call is in the log.
func (p *recording) caughtUp() {
	p.t.Helper()
	p.caughtUpWithin(time.Minute)
}

func (p *recording) caughtUpWithin(timeout time.Duration) {
	p.t.Helper()
	g := p.mark(p.srv)
	eventually(p.t, timeout, "the capture of "+g.String(), func() bool {
		p.daemon.mustRun()
		s, ok := p.source()
		if !ok {
			return false
		}
		set, err := changes.ParseGTIDSet(p.flavor(), s.GTIDSet)
		if err != nil {
			p.t.Fatal(err)
		}
		return set.Contains(g)
	})
}

// marks is a table of the recording's own, whose rows say how far the capture is.
const marks = "rowhook_marks"

// mark commits one transaction with a row of the captured database, and returns its GTID.
func (p *recording) mark(srv *dbserver.Server) changes.GTID {
	p.t.Helper()
	db, err := srv.Open(p.database)
	if err != nil {
		p.t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close()
	insert := "INSERT INTO " + marks + " () VALUES ()"
	must(p.t, conn, "CREATE TABLE IF NOT EXISTS "+marks+" (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY)")
	var text string
	if p.flavor() == changes.MariaDB {
		must(p.t, conn, insert)
		if err := conn.QueryRowContext(p.t.Context(), "SELECT @@SESSION.last_gtid").Scan(&text); err != nil {
			p.t.Fatal(err)
		}
	} else {
		var b [16]byte
		_, _ = rand.Read(b[:])
		text = fmt.Sprintf("%x-%x-%x-%x-%x:1", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
		must(p.t, conn, "SET SESSION gtid_next = '"+text+"'; "+insert+"; SET SESSION gtid_next = 'AUTOMATIC'")
	}
	g, err := changes.ParseGTID(p.flavor(), text)
	if err != nil {
		p.t.Fatal(err)
	}
	return g
}

// executor is a database or one connection to it.
type executor interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func must(t *testing.T, db executor, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", shorten(statement), err)
	}
}

func shorten(s string) string {
	if len(s) > 600 {
		return s[:600] + "…"
	}
	return s
}

// play reads the log of a stopped process from its beginning and calls f for every change. On the way it holds that seqs and the
// transactions' ordinals have neither gap nor repetition.
func (p *recording) play(f func(*changes.Change) error) {
	p.t.Helper()
	logs, err := eventlog.Open(p.t.Context(), eventlog.Options{Dir: filepath.Join(p.dir, "data", "log"), Retention: 96 * time.Hour,
		Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() {
		if err := logs.Close(context.WithoutCancel(p.t.Context())); err != nil {
			p.t.Error(err)
		}
	}()
	log, err := logs.Stream(p.t.Context(), recordedSource, "")
	if err != nil {
		p.t.Fatal(err)
	}
	next, _, _ := log.Tail()
	reader, c := log.NewReader(0), checker{seq: 1, done: map[string]bool{}}
	for c.seq < next {
		e, err := reader.Next(p.t.Context())
		if err != nil {
			p.t.Fatal(err)
		}
		blk, err := changes.Parse(e.Block)
		if err != nil {
			p.t.Fatal(err)
		}
		err = blk.Each(func(ch *changes.Change) error {
			if err := c.check(ch); err != nil {
				return err
			}
			return f(ch)
		})
		if err != nil {
			p.t.Fatal(err)
		}
	}
}

// checker holds that changes follow one another.
type checker struct {
	seq     uint64
	gtid    string
	ordinal uint64
	done    map[string]bool // transactions that are over
}

func (c *checker) check(ch *changes.Change) error {
	if ch.Seq != c.seq {
		return fmt.Errorf("seq %d follows %d", ch.Seq, c.seq-1)
	}
	name := ch.Tx.GTID
	if name == "" {
		name = fmt.Sprintf("%s(%d):%d", ch.Tx.File, ch.Tx.FileCreated, ch.Tx.Offset)
	}
	if name != c.gtid {
		if c.done[name] {
			return fmt.Errorf("transaction %s is in the log twice, again at seq %d", name, ch.Seq)
		}
		c.gtid, c.ordinal = strings.Clone(name), 0
		c.done[c.gtid] = true
	}
	if ch.Ordinal != c.ordinal {
		return fmt.Errorf("seq %d: change %d of transaction %s follows %d", ch.Seq, ch.Ordinal, name, c.ordinal)
	}
	c.seq, c.ordinal = c.seq+1, c.ordinal+1
	return nil
}
