// Package dbservertest shares private database servers between the tests of one package.
//
// It owns one server per kind for each test process, started by the first test that asks and stopped by
// Main. Tests keep out of each other's way by databases of their own; a test that kills, pauses or
// configures a server starts its own with dbserver.Start instead. A server that cannot be started fails
// the test: nothing is skipped.
package dbservertest

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/dbserver"
)

// shared are the servers of this test process. Tests have no other place in common than a global.
var shared registry

// registry holds at most one server of each kind.
type registry struct {
	mu      sync.Mutex
	main    bool // Run is there to stop what Get starts
	servers map[dbserver.Kind]*entry
}

// entry is one server, or why there is none; once keeps the kinds from waiting for each other.
type entry struct {
	once   sync.Once
	server *dbserver.Server
	err    error
}

// Main runs the package's tests, stops the shared servers and ends the process:
//
//	func TestMain(m *testing.M) { dbservertest.Main(m) }
func Main(m *testing.M) { os.Exit(Run(m)) }

// Run is Main without the end, for packages that have something to check after it.
func Run(m interface{ Run() int }) int {
	shared.mu.Lock()
	shared.main = true
	shared.mu.Unlock()
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the shared database servers:", err)
		return cmp.Or(code, 1)
	}
	return code
}

// Get returns the process's shared server of this kind, starting it if this is the first call.
func Get(t testing.TB, kind dbserver.Kind) *dbserver.Server {
	t.Helper()
	e, err := shared.entry(kind)
	if err != nil {
		t.Fatal(err)
	}
	e.once.Do(func() {
		// Not the test's context: the server outlives the test.
		e.server, e.err = dbserver.Start(context.Background(), dbserver.Options{Kind: kind, Log: logger()})
	})
	if e.err != nil {
		t.Fatalf("no shared %s server: %v", kind, e.err)
	}
	return e.server
}

// Each runs one subtest for each kind, in parallel, with the shared server.
func Each(t *testing.T, test func(t *testing.T, srv *dbserver.Server)) {
	t.Helper()
	for _, kind := range dbserver.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			test(t, Get(t, kind))
		})
	}
}

// Start starts a server for this test alone, stopped when the test ends: for tests that kill, pause or
// configure it.
func Start(t testing.TB, o dbserver.Options) *dbserver.Server {
	t.Helper()
	if o.Log == nil {
		o.Log = logger()
	}
	srv, err := dbserver.Start(t.Context(), o)
	if err != nil {
		t.Fatalf("no private %s server: %v", o.Kind, err)
	}
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Errorf("stopping the private %s server: %v", o.Kind, err)
		}
	})
	return srv
}

// Database makes a database of the test's own and a pool on it (with several statements allowed in one
// call); both go when the test ends.
func Database(t testing.TB, srv *dbserver.Server) (name string, db *sql.DB) {
	t.Helper()
	name = databaseName(t.Name())
	if err := exec(t.Context(), srv, "CREATE DATABASE "+name); err != nil {
		t.Fatalf("making a database for the test: %v", err)
	}
	db, err := srv.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		db.Close()
		if !srv.Running() {
			return // the test killed its server
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := exec(ctx, srv, "DROP DATABASE IF EXISTS "+name); err != nil {
			t.Errorf("dropping the test's database: %v", err)
		}
	})
	return name, db
}

// exec runs one statement on a connection of its own.
func exec(ctx context.Context, srv *dbserver.Server, statement string) error {
	db, err := srv.Open("")
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, statement)
	return err
}

// databaseName is a name no other test, in this process or another, has: names may be 64 bytes long.
func databaseName(test string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, strings.ToLower(test))
	return fmt.Sprintf("t_%s_%s", clean[:min(len(clean), 40)], strings.ToLower(rand.Text()[:10]))
}

// entry returns the place of one kind's server.
func (r *registry) entry(kind dbserver.Kind) (*entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.main {
		return nil, errors.New("the package's TestMain must call dbservertest.Main, or nobody stops the server")
	}
	if r.servers == nil {
		r.servers = map[dbserver.Kind]*entry{}
	}
	if r.servers[kind] == nil {
		r.servers[kind] = &entry{}
	}
	return r.servers[kind], nil
}

// stop stops all servers.
func (r *registry) stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all error
	for _, e := range r.servers {
		if e.server != nil {
			all = errors.Join(all, e.server.Close())
		}
	}
	r.servers = nil
	return all
}

// logger shows the progress of a first install, which takes long, while the test waits.
func logger() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stderr, nil)) }
