package webhook_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// postgres is the server that this process's tests share. Tests have no other place in common than a global.
var postgres postgresServer

// postgresServer is a private PostgreSQL in a folder of its own, reached through a socket in it.
type postgresServer struct {
	once  sync.Once
	err   error
	dir   string
	log   bytes.Buffer
	cmd   *exec.Cmd
	ended chan error
}

// get starts the server if this is the first call, and returns its DSN.
func (p *postgresServer) get(t *testing.T) string {
	t.Helper()
	p.once.Do(func() { p.err = p.start() })
	if p.err != nil {
		t.Fatalf("no PostgreSQL: %v", p.err)
	}
	return p.dsn()
}

func (p *postgresServer) dsn() string {
	return "host=" + p.dir + " user=rowhook dbname=postgres sslmode=disable"
}

func (p *postgresServer) start() (err error) {
	initdb, err := postgresProgram("initdb")
	if err != nil {
		return err
	}
	attr, err := postgresUser()
	if err != nil {
		return err
	}
	if p.dir, err = os.MkdirTemp("", "rowhook-pg-"); err != nil {
		return err
	}
	if c := attr.Credential; c != nil {
		if err := os.Chown(p.dir, int(c.Uid), int(c.Gid)); err != nil {
			return err
		}
	}
	data := filepath.Join(p.dir, "data")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	prepare := exec.CommandContext(ctx, initdb, "--pgdata", data, "--username", "rowhook", "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	prepare.Dir, prepare.SysProcAttr = p.dir, attr
	if said, err := prepare.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, said)
	}
	p.cmd = exec.Command(filepath.Join(filepath.Dir(initdb), "postgres"), "-D", data, "-k", p.dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200")
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = p.dir, &p.log, &p.log
	// It ends with us, however we end.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: attr.Credential, Setpgid: true, Pdeathsig: syscall.SIGQUIT}
	return errors.Join(p.run(), p.ready(ctx))
}

// run starts the process from a thread of its own: the kernel ties the server's life to the thread that started it.
func (p *postgresServer) run() error {
	started := make(chan error)
	p.ended = make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.ended <- p.cmd.Wait()
		}
	}()
	return <-started
}

// ready waits until the server accepts connections.
func (p *postgresServer) ready(ctx context.Context) error {
	db, err := openPostgres(p.dsn())
	if err != nil {
		return err
	}
	defer db.Close()
	for {
		if db.PingContext(ctx) == nil {
			return nil
		}
		select {
		case err := <-p.ended:
			p.ended <- err
			return fmt.Errorf("the server ended: %w\n%s", err, p.log.Bytes())
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer: %w: %w", ctx.Err(), db.PingContext(context.WithoutCancel(ctx)))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop ends the server, if there is one, and removes its folder.
func (p *postgresServer) stop() error {
	if p.dir == "" {
		return nil
	}
	var errs []error
	if p.cmd != nil && p.cmd.Process != nil {
		errs = append(errs, p.cmd.Process.Signal(syscall.SIGQUIT))
		<-p.ended // how it ended does not matter any more
	}
	return errors.Join(append(errs, os.RemoveAll(p.dir))...)
}

// postgresProgram finds a program of the server: Debian keeps them out of PATH.
func postgresProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return filepath.EvalSymlinks(path)
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("%s is neither in PATH nor in /usr/lib/postgresql/*/bin: install PostgreSQL, as make test does", name)
	}
	return found[len(found)-1], nil
}

// postgresUser says under whom the server runs: it refuses to run as root.
func postgresUser() (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody to run it as")
}
