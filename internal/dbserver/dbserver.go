// Package dbserver starts private MariaDB and MySQL servers for tests, the demo and benchmarks, and
// removes them again.
//
// It owns the folders it makes: one for each running server (removed by Stop, or by the next Start when
// the process that made it died), and a cache of unpacked server packages and pristine data folders
// (ROWHOOK_CACHE, or rowhook in the user's cache folder), which may be removed at any time no server
// runs; the next Start fills it again, with what is then newest.
//
// It guarantees that a started server listens on 127.0.0.1 only, follows nothing, writes a full row
// binlog with GTIDs, lets root in without a password over TCP from 127.0.0.1, and dies with the process
// that started it. Any number of processes may start servers at the same time.
//
// It does not touch a server that runs already, the host's packages, or anything outside its folders,
// and needs no root: a missing server is unpacked from the packages of the apt mirror this machine is
// configured with, into the cache, and is run from there. Where that cannot work (no apt, no network)
// the environment can name a server: ROWHOOK_TEST_MARIADB_DSN and ROWHOOK_TEST_MYSQL_DSN.
package dbserver

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// Kind is which database a server is.
type Kind string

// The two kinds.
const (
	MariaDB Kind = "mariadb"
	MySQL   Kind = "mysql"
)

// Kinds lists both, for tests and benchmarks that run against each.
func Kinds() []Kind { return []Kind{MariaDB, MySQL} }

// EnvDSN names the environment variable that replaces private servers of this kind by a given one.
func (k Kind) EnvDSN() string { return "ROWHOOK_TEST_" + strings.ToUpper(string(k)) + "_DSN" }

// Options say what to start. The zero value of everything but Kind is good for tests.
type Options struct {
	Kind Kind
	// Suite asks for the server of another suite of this machine's apt archive, such as "sid" for the
	// newest MariaDB, instead of the machine's own; empty means whatever is there.
	Suite string
	// Args are added after the default server arguments, so they win, such as "--max-binlog-size=4096".
	Args []string
	// Dir is the folder in which the server's own folder is made; empty means the system's temporary
	// folder. Benchmarks name one on the disk they mean to measure.
	Dir string
	// BufferPool is innodb_buffer_pool_size, such as "2G"; empty means 128M.
	BufferPool string
	// Durable makes each commit wait for the disk (sync_binlog and innodb_flush_log_at_trx_commit are 1).
	// Without it a commit survives the death of the server, but not that of the machine.
	Durable bool
	// Log gets progress, mostly of installing; nil means none.
	Log *slog.Logger
}

// Start starts a private server, installing it first if it is missing, and returns when it accepts
// connections. If the environment names a server of this kind (see Kind.EnvDSN), that one is wrapped.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if dsn := os.Getenv(o.Kind.EnvDSN()); dsn != "" {
		return wrap(ctx, o, dsn)
	}
	prog, pristine, err := prepare(ctx, o.Kind, o.Suite, o.Log)
	if err != nil {
		return nil, err
	}
	s := &Server{kind: o.Kind, prog: prog, opts: o, id: 1<<20 + rand.Uint32N(1<<30)}
	if err := s.create(ctx, pristine); err != nil {
		return nil, fmt.Errorf("starting a private %s %s: %w", o.Kind, prog.version, err)
	}
	return s, nil
}

// create makes the server's folder from the pristine one and starts it on a free port.
func (s *Server) create(ctx context.Context, pristine string) (err error) {
	s.folder, err = newFolder(ctx, s.opts.Dir, s.kind)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = s.folder.remove()
		}
	}()
	if err := copyTree(ctx, pristine, s.dataDir()); err != nil {
		return fmt.Errorf("copying the pristine data folder: %w", err)
	}
	// Each MySQL server makes its own server_uuid when the file is missing.
	if err := os.RemoveAll(filepath.Join(s.dataDir(), "auto.cnf")); err != nil {
		return fmt.Errorf("giving the server an identity: %w", err)
	}
	return s.startOnFreePort(ctx)
}

// wrap gives the server named by the environment the shape of a private one.
func wrap(ctx context.Context, o Options, dsn string) (*Server, error) {
	if len(o.Args) > 0 || o.Suite != "" {
		return nil, fmt.Errorf("%s names a server, but arguments %q and suite %q need a private one", o.Kind.EnvDSN(), o.Args, o.Suite)
	}
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", o.Kind.EnvDSN(), err)
	}
	s := &Server{kind: o.Kind, external: cfg, opts: o}
	if s.version, err = s.askVersion(ctx); err != nil {
		return nil, fmt.Errorf("asking the server named by %s: %w", o.Kind.EnvDSN(), err)
	}
	if strings.Contains(s.version, "MariaDB") != (o.Kind == MariaDB) {
		return nil, fmt.Errorf("the server named by %s is not %s but %s", o.Kind.EnvDSN(), o.Kind, s.version)
	}
	return s, nil
}

// Ensure installs the server of this kind into the cache if this machine has none, and prepares its
// first data folder, so that the Starts that follow are quick.
func Ensure(ctx context.Context, kind Kind, log *slog.Logger) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	_, _, err := prepare(ctx, kind, "", log)
	return err
}

// prepare finds or installs a server and its pristine data folder.
func prepare(ctx context.Context, kind Kind, suite string, log *slog.Logger) (*program, string, error) {
	prog, err := ensure(ctx, kind, suite, log)
	if err != nil {
		return nil, "", fmt.Errorf("installing %s: %w", kind, err)
	}
	pristine, err := pristineData(ctx, prog, log)
	if err != nil {
		return nil, "", fmt.Errorf("preparing the first data folder of %s %s: %w", kind, prog.version, err)
	}
	return prog, pristine, nil
}

// cacheDir is where unpacked servers and pristine data folders are kept.
func cacheDir() (string, error) {
	if dir := os.Getenv("ROWHOOK_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder (ROWHOOK_CACHE can name one): %w", err)
	}
	return filepath.Join(dir, "rowhook"), nil
}

var _ io.Closer = (*Server)(nil)
