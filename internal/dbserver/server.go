package dbserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
)

// startTimeout bounds one start; recovery after a kill in the middle of a large transaction takes long.
const startTimeout = 5 * time.Minute

// errExternal is why faults cannot be made on a server the environment named.
var errExternal = errors.New("the server was named by the environment, so it is not ours to stop, kill or pause")

// Server is one running server. Its methods may be called from any goroutine.
type Server struct {
	kind     Kind
	prog     *program
	opts     Options
	id       uint32
	folder   *folder
	port     int
	version  string
	external *mysql.Config // set when the environment named the server

	mu   sync.Mutex
	proc *process
}

// Kind is which database this is.
func (s *Server) Kind() Kind { return s.kind }

// Version is the server's own @@version, such as 10.11.9-MariaDB-log or 9.7.4.
func (s *Server) Version() string { return s.version }

// External says that the environment named the server: it is shared, and cannot be killed or paused.
func (s *Server) External() bool { return s.external != nil }

// Addr is the server's host:port; it stays the same over a Restart.
func (s *Server) Addr() string {
	if s.External() {
		return s.external.Addr
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
}

// Socket is the path of the server's Unix socket; empty for a server the environment named.
func (s *Server) Socket() string {
	if s.External() {
		return ""
	}
	path := filepath.Join(s.folder.path, "s.sock")
	if len(path) < 100 {
		return path
	}
	// A socket's path has room for 107 bytes only.
	return filepath.Join(os.TempDir(), "rowhook-"+strconv.Itoa(os.Getpid())+"-"+strconv.Itoa(s.port)+".sock")
}

// ServerID is the server's server_id, part of MariaDB's GTIDs; 0 for a server the environment named.
func (s *Server) ServerID() uint32 { return s.id }

// Dir is the server's own folder; empty for a server the environment named.
func (s *Server) Dir() string {
	if s.External() {
		return ""
	}
	return s.folder.path
}

// ErrorLog is the path of the server's error log; empty for a server the environment named.
func (s *Server) ErrorLog() string {
	if s.External() {
		return ""
	}
	return filepath.Join(s.folder.path, "error.log")
}

// Config is a fresh connection configuration for root over TCP, for the caller to change.
func (s *Server) Config() *mysql.Config {
	if s.External() {
		return s.external.Clone()
	}
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr = "root", "tcp", s.Addr()
	return cfg
}

// DSN is the driver's form of Config for one database; empty means none.
func (s *Server) DSN(database string) string {
	cfg := s.Config()
	cfg.DBName = database
	return cfg.FormatDSN()
}

// MultiDSN is DSN with several statements allowed in one call, for loading schemas and fixtures.
func (s *Server) MultiDSN(database string) string {
	cfg := s.Config()
	cfg.DBName, cfg.MultiStatements = database, true
	return cfg.FormatDSN()
}

// Open opens a pool on one database (empty means none) as root, with several statements allowed in one
// call. The driver's complaints about lost connections are not printed: killing servers is what tests do.
func (s *Server) Open(database string) (*sql.DB, error) {
	cfg := s.Config()
	cfg.DBName, cfg.MultiStatements, cfg.Logger = database, true, &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", s.Addr(), err)
	}
	return sql.OpenDB(connector), nil
}

// Running says whether the server's process lives (a paused one does).
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.External() || s.proc != nil && s.proc.running()
}

// Kill ends the server as a crash would (kill -9) and keeps its folder, for Restart.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.External() {
		return errExternal
	}
	return s.proc.kill()
}

// Pause freezes the server: connections stay open and nothing answers.
func (s *Server) Pause() error { return s.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() error { return s.signal(syscall.SIGCONT) }

// signal sends one signal to a private server.
func (s *Server) signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.External() {
		return errExternal
	}
	return s.proc.signal(sig)
}

// Shutdown asks the server to end in good order and waits; its folder is kept, for Restart.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.External() {
		return errExternal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(s.proc.signal(syscall.SIGCONT), s.proc.signal(syscall.SIGTERM)); err != nil {
		return err
	}
	return s.proc.wait(ctx)
}

// Restart starts the server again with the same folder, port and identity, and returns when it accepts
// connections. A server that still runs is shut down in good order first; call Kill before for a crash.
func (s *Server) Restart(ctx context.Context) error {
	if s.Running() {
		if err := s.Shutdown(ctx); err != nil {
			return fmt.Errorf("restarting: %w", err)
		}
	}
	if _, err := s.run(ctx); err != nil {
		return fmt.Errorf("restarting: %w", err)
	}
	return nil
}

// Stop ends the server at once and removes its folder. It does nothing to a server the environment
// named, and nothing the second time.
func (s *Server) Stop(context.Context) error { return s.Close() }

// Close is Stop.
func (s *Server) Close() error {
	if s.External() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.proc.kill(); err != nil {
		return err
	}
	_ = os.Remove(s.Socket()) // it may lie outside the folder
	return s.folder.remove()
}

// startOnFreePort starts the server on a port that was free a moment ago, and tries another one when
// somebody else took it in between.
func (s *Server) startOnFreePort(ctx context.Context) error {
	const tries = 5
	var err error
	for range tries {
		if s.port, err = freePort(); err != nil {
			return fmt.Errorf("finding a free port: %w", err)
		}
		if s.version, err = s.run(ctx); err == nil || !strings.Contains(err.Error(), "Address already in use") {
			return err
		}
		_ = os.Remove(s.ErrorLog())
	}
	return err
}

// run starts the process, waits until it accepts connections and returns its version.
func (s *Server) run(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	proc, err := startProcess(append(s.prog.argv(), s.args()...), s.prog.env(), s.folder.path, s.ErrorLog())
	if err != nil {
		return "", err
	}
	s.proc = proc
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	version, err := s.awaitReady(ctx, proc)
	if err != nil {
		_ = proc.kill()
		return "", fmt.Errorf("%w; the end of its log:\n%s", err, logTail(s.ErrorLog()))
	}
	return version, nil
}

// awaitReady polls until the server answers; it fails at once when the process ends.
func (s *Server) awaitReady(ctx context.Context, proc *process) (string, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		version, err := s.askVersion(ctx)
		if err == nil {
			return version, nil
		}
		select {
		case <-proc.done:
			return "", fmt.Errorf("the server ended (%w) before it accepted connections", exitReason(proc.err))
		case <-ctx.Done():
			return "", fmt.Errorf("waiting for the server to accept connections: %w (last: %w)", ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// exitReason is why a process ended, also when it ended in good order.
func exitReason(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// askVersion connects and asks for @@version.
func (s *Server) askVersion(ctx context.Context) (string, error) {
	db, err := s.Open("")
	if err != nil {
		return "", err
	}
	defer db.Close()
	var version string
	if err := db.QueryRowContext(ctx, "SELECT @@version").Scan(&version); err != nil {
		return "", fmt.Errorf("asking for the version: %w", err)
	}
	return version, nil
}

// freePort is a TCP port of 127.0.0.1 that nobody listens on now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// dataDir is the server's data folder.
func (s *Server) dataDir() string { return filepath.Join(s.folder.path, "data") }

// args are the server's arguments: ours, what the options change, and the caller's, which win.
func (s *Server) args() []string {
	pool, sync, flush := "128M", "0", "2"
	if s.opts.BufferPool != "" {
		pool = s.opts.BufferPool
	}
	if s.opts.Durable {
		sync, flush = "1", "1"
	}
	args := append(s.prog.baseArgs(s.dataDir()),
		"--bind-address=127.0.0.1",
		"--port="+strconv.Itoa(s.port),
		"--socket="+s.Socket(),
		"--pid-file="+filepath.Join(s.folder.path, "pid"),
		"--tmpdir="+s.folder.path,
		"--server-id="+strconv.FormatUint(uint64(s.id), 10),
		"--log-bin=binlog",
		"--binlog-row-image=FULL",
		"--binlog-row-metadata=FULL",
		"--innodb-buffer-pool-size="+pool,
		"--sync-binlog="+sync,
		"--innodb-flush-log-at-trx-commit="+flush,
		"--performance-schema=OFF",
		"--skip-name-resolve",
	)
	if s.kind == MariaDB {
		args = append(args, "--binlog-format=ROW", "--gtid-strict-mode=ON")
	} else {
		args = append(args, "--mysqlx=OFF", "--gtid-mode=ON", "--enforce-gtid-consistency=ON")
	}
	return append(args, s.opts.Args...)
}
