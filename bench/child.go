package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// child is a process of this program's own binary.
type child struct {
	cmd    *exec.Cmd
	name   string
	stderr tail
	done   chan struct{} // closed when it was waited for
}

// startChild runs the binary. A thread of its own starts the process and waits for it: the kernel ties the child's life to the
// thread that started it. The end of ctx does not end the process: stop does, in good order.
func startChild(ctx context.Context, name, binary string, stdin io.Reader, stdout io.Writer, args ...string) (*child, error) {
	c := &child{cmd: exec.CommandContext(context.WithoutCancel(ctx), binary, args...), name: name, done: make(chan struct{})}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr, c.cmd.SysProcAttr = stdin, stdout, &c.stderr, childAttr()
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			_ = c.cmd.Wait() // its ProcessState says more
			close(c.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return c, nil
}

// failed returns why the process has ended; nil while it runs.
func (c *child) failed() error {
	select {
	case <-c.done:
		return fmt.Errorf("%s ended (%v); the end of its log:\n%s", c.name, c.cmd.ProcessState, c.stderr.String())
	default:
		return nil
	}
}

// stop asks the process to end, and kills it if it does not.
func (c *child) stop() error {
	err := c.cmd.Process.Signal(syscall.SIGTERM)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	select {
	case <-c.done:
	case <-time.After(20 * time.Second):
		err = errors.Join(err, fmt.Errorf("%s did not end when it was asked to", c.name), c.cmd.Process.Kill())
		<-c.done
	}
	return err
}

// maxTail bounds how much of a process's log is kept.
const maxTail = 8 << 10

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - maxTail; over > 0 {
		t.text = bytes.Clone(t.text[over:])
	}
	return len(p), nil
}

// String returns what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// remote is a receiver in a process of its own.
type remote struct {
	*child
	addr  string
	stdin io.Closer
	// client opens a connection for each question: none is open while the receiver is measured.
	client http.Client
}

func startReceiver(ctx context.Context, binary string, args []string) (*remote, error) {
	in, stdin, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start the receiver: %w", err)
	}
	defer in.Close() // the child has its own
	line := &firstLine{done: make(chan struct{})}
	c, err := startChild(ctx, "the receiver", binary, in, line, args...)
	if err != nil {
		return nil, errors.Join(err, stdin.Close())
	}
	r := &remote{child: c, stdin: stdin, client: http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	select {
	case <-line.done:
		r.addr = line.text.String()
		return r, nil
	case <-c.done:
		return nil, errors.Join(c.failed(), stdin.Close())
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("wait for the receiver's address: %w", ctx.Err()), r.close())
	}
}

// firstLine keeps the first line that is written to it.
type firstLine struct {
	text     strings.Builder
	complete bool
	done     chan struct{}
}

// Write implements io.Writer.
func (l *firstLine) Write(p []byte) (int, error) {
	if !l.complete {
		line, _, ends := bytes.Cut(p, []byte{'\n'})
		l.text.Write(line)
		if ends {
			l.complete = true
			close(l.done)
		}
	}
	return len(p), nil
}

func (r *remote) close() error {
	err := r.stop()
	return errors.Join(err, r.stdin.Close())
}

// arrivals asks the receiver for all that has come.
func (r *remote) arrivals(ctx context.Context) (got arrivals, err error) {
	return got, r.ask(ctx, "/arrivals", &got)
}

// count asks the receiver how many requests have come.
func (r *remote) count(ctx context.Context) (n int, err error) { return n, r.ask(ctx, "/count", &n) }

func (r *remote) ask(ctx context.Context, path string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.addr+path, nil)
	if err != nil {
		return err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return errors.Join(fmt.Errorf("ask the receiver: %w", err), r.failed())
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return fmt.Errorf("ask the receiver: %w", err)
	}
	return nil
}
