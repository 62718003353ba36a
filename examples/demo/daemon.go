package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// listenFailed is the exit code that says that the address is taken.
	listenFailed = 7
	// moves bounds how often another address is tried.
	moves = 5
	// pause is how long Rowhook stays dead after a kill: long enough to see the lag grow.
	pause = time.Second
	// stopTimeout is how long Rowhook may take to end after SIGTERM; it gives requests in flight 10 s.
	stopTimeout = 20 * time.Second
)

// daemon keeps `rowhook serve` running.
type daemon struct {
	binary, dir string
	env         []string // without the address

	mu      sync.Mutex
	address string   // of /metrics; it stays the same over restarts if it can
	proc    *process // nil while it is dead
	killed  int
}

// process is one run of the binary. done is closed when it has ended and was waited for.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func (d *daemon) logFile() string { return d.dir + "/rowhook.log" }

// Run starts Rowhook, and starts it again when a signal has ended it, until ctx ends; then it stops it in good order. An exit with an
// error of its own is an error.
func (d *daemon) Run(ctx context.Context) error {
	for moved := 0; ; {
		p, err := d.start()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return d.stop(p)
		case <-p.done:
		}
		code := p.cmd.ProcessState.ExitCode()
		if code == listenFailed && moved < moves {
			// The port was free a moment ago; while Rowhook was dead anybody could take it.
			moved++
			if err := d.move(); err != nil {
				return err
			}
			continue
		}
		if code > 0 {
			return fmt.Errorf("rowhook ended with code %d; the end of its log:\n%s", code, d.logEnd())
		}
		d.died()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

func (d *daemon) start() (*process, error) {
	log, err := os.OpenFile(d.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open rowhook's log: %w", err)
	}
	defer log.Close()
	// Not with the context of Run: at its end Rowhook is stopped in good order.
	p := &process{cmd: exec.CommandContext(context.Background(), d.binary, "serve", "--config", d.dir+"/rowhook.yaml"), done: make(chan struct{})}
	p.cmd.Env, p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = d.environment(), d.dir, log, log
	p.cmd.SysProcAttr = childAttr()
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the kernel ties the child's life to the thread that started it
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // ProcessState tells
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start rowhook (make build makes it, --rowhook names it): %w", err)
	}
	d.mu.Lock()
	d.proc = p
	d.mu.Unlock()
	return p, nil
}

// move picks an address that is free now.
func (d *daemon) move() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("find a free port: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.address = l.Addr().String()
	return l.Close()
}

// url is that of a page.
func (d *daemon) url(path string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return "http://" + d.address + path
}

func (d *daemon) environment() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append(d.env[:len(d.env):len(d.env)], "ROWHOOK_ADDRESS="+d.address)
}

func (d *daemon) died() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.proc = nil
	d.killed++
}

// kill ends Rowhook as a crash would; Run starts it again.
func (d *daemon) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc != nil {
		_ = d.proc.cmd.Process.Kill() // it may have ended just now
	}
}

func (d *daemon) stop(p *process) error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		if !p.cmd.ProcessState.Success() {
			return fmt.Errorf("rowhook ended with %v after SIGTERM; the end of its log:\n%s", p.cmd.ProcessState, d.logEnd())
		}
		return nil
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("rowhook did not end within %v of SIGTERM and was killed; the end of its log:\n%s", stopTimeout, d.logEnd())
	}
}

// state is the process id, 0 while Rowhook is dead, and how often a signal has ended it.
func (d *daemon) state() (pid, killed int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc != nil {
		pid = d.proc.cmd.Process.Pid
	}
	return pid, d.killed
}

// logEnd is the last lines of the log.
func (d *daemon) logEnd() string {
	text, err := os.ReadFile(d.logFile())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// heard matches the metric that is above zero once the source is attached and followed.
var heard = regexp.MustCompile(`(?m)^rowhook_source_last_packet_timestamp_seconds\{[^}]*\} [1-9]`)

// awaitAttached returns when everything that is committed from now on will be captured.
func (d *daemon) awaitAttached(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		page, err := d.metrics(ctx)
		if err == nil && heard.Match(page) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for rowhook to attach: %w; the end of its log:\n%s", errors.Join(ctx.Err(), err), d.logEnd())
		case <-tick.C:
		}
	}
}

func (d *daemon) metrics(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url("/metrics"), nil)
	if err != nil {
		return nil, err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// check runs `rowhook check`.
func (d *daemon) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.binary, "check", "--config", d.dir+"/rowhook.yaml")
	cmd.Env, cmd.Dir, cmd.SysProcAttr = d.environment(), d.dir, childAttr()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("rowhook check (make build makes the binary, --rowhook names it): %w\n%s", err, out)
	}
	return nil
}
