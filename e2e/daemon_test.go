package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// daemon is one run of `rowhook serve`.
type daemon struct {
	t      *testing.T
	cmd    *exec.Cmd
	began  time.Time
	stderr tail
	done   chan struct{} // closed when the process was waited for
}

// startDaemon starts the binary; the test's end kills what is left of it.
func startDaemon(t *testing.T, args ...string) *daemon {
	t.Helper()
	d := &daemon{t: t, cmd: exec.Command(binary(t), args...), began: time.Now(), done: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = io.Discard, &d.stderr
	d.cmd.SysProcAttr = childAttr()
	started := make(chan error)
	go d.run(started)
	if err := <-started; err != nil {
		t.Fatalf("starting rowhook: %v", err)
	}
	t.Cleanup(d.cleanUp)
	return d
}

// run starts the process and waits for it on a thread of its own, because the kernel ties the child's life to that thread.
func (d *daemon) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := d.cmd.Start()
	started <- err
	if err == nil {
		_ = d.cmd.Wait()
		close(d.done)
	}
}

// cleanUp ends a process that still runs, and shows the log of a failed test: with what its goroutines were doing, if it ran.
func (d *daemon) cleanUp() {
	lines := 120
	if d.running() {
		d.signal(syscall.SIGCONT)
		if d.t.Failed() {
			d.signal(syscall.SIGQUIT)
			lines = 600
			<-d.done
		} else {
			d.kill()
		}
	}
	if d.t.Failed() {
		d.t.Logf("the end of rowhook's log:\n%s", d.stderr.end(lines))
	}
}

// running reports whether the process has not ended.
func (d *daemon) running() bool {
	select {
	case <-d.done:
		return false
	default:
		return true
	}
}

func (d *daemon) signal(sig syscall.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		d.t.Errorf("sending %v to rowhook: %v", sig, err)
	}
}

// kill ends the process with SIGKILL, waits for it, and returns when it was killed.
func (d *daemon) kill() time.Time {
	d.t.Helper()
	at := time.Now()
	d.signal(syscall.SIGKILL)
	<-d.done
	return at
}

// stop asks the process to end with SIGTERM and returns its exit code.
func (d *daemon) stop() int {
	d.t.Helper()
	d.signal(syscall.SIGTERM)
	return d.exit(30 * time.Second)
}

// exit waits for the process to end by itself and returns its exit code; -1 if a signal ended it.
func (d *daemon) exit(timeout time.Duration) int {
	d.t.Helper()
	select {
	case <-d.done:
		return d.cmd.ProcessState.ExitCode()
	case <-time.After(timeout):
		d.signal(syscall.SIGQUIT) // for the goroutines in the log
		<-d.done
		d.t.Fatalf("rowhook did not end within %v; its log:\n%s", timeout, d.stderr.end(400))
		return -1
	}
}

// mustRun fails the test if the process has ended by itself.
func (d *daemon) mustRun() {
	d.t.Helper()
	if !d.running() {
		d.t.Fatalf("rowhook ended with %v; the end of its log:\n%s", d.cmd.ProcessState, d.stderr.end(40))
	}
}

// address is the host:port that /metrics and /livez are served on, as the log tells it.
func (d *daemon) address() string {
	d.t.Helper()
	pattern := regexp.MustCompile(`\bhttp=127\.0\.0\.1:\d+`)
	var found string
	eventually(d.t, 20*time.Second, "rowhook to tell its address", func() bool {
		d.mustRun()
		for line := range strings.Lines(d.stderr.String()) {
			if match := pattern.FindString(line); match != "" && strings.Contains(line, "serving") {
				found = strings.TrimPrefix(match, "http=")
			}
		}
		return found != ""
	})
	return found
}

// get asks the process for a page.
func (d *daemon) get(path string) (int, string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.address()+path, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// result is one run of the binary that ended by itself.
type result struct {
	code           int
	stdout, stderr string
}

// runToEnd runs the binary and waits for its end, which must come soon.
func runToEnd(t *testing.T, args ...string) result {
	t.Helper()
	return runWith(t, nil, args...)
}

// runWith is runToEnd with more variables in the environment.
func runWith(t *testing.T, env []string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(t), args...)
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("running rowhook %v: %v", args, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("rowhook %v did not end; its log:\n%s", args, stderr.String())
	}
	return result{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
}

// eventually asks until done says yes, and fails the test when it takes too long. It is for what other processes do.
func eventually(t *testing.T, timeout time.Duration, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(timeout)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %v for %s", timeout, what)
		}
	}
}

// maxTail bounds how much of a log is kept.
const maxTail = 1 << 20

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (b *tail) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	if over := len(b.text) - 2*maxTail; over > 0 {
		b.text = append([]byte(nil), b.text[len(b.text)-maxTail:]...)
	}
	return len(p), nil
}

func (b *tail) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}

// end is the last lines.
func (b *tail) end(lines int) string {
	all := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	if skipped := len(all) - lines; skipped > 0 {
		return fmt.Sprintf("(%d lines before)\n%s", skipped, strings.Join(all[skipped:], "\n"))
	}
	return strings.Join(all, "\n")
}
