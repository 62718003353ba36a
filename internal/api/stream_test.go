package api

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// running is a server on a Unix socket, with a client.
type running struct {
	backend *memory
	server  *Server
	client  *Client
	path    string
	// stop ends the server and waits for it.
	stop func()
}

func run(t *testing.T, b Backend) *running {
	t.Helper()
	r := &running{path: filepath.Join(t.TempDir(), "rowhook.sock")}
	r.backend, _ = b.(*memory)
	r.server = New(Options{Backend: b, Log: slog.New(slog.DiscardHandler), Version: "test"})
	ln, err := ListenUnix(t.Context(), r.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.server.Serve(ctx, ln, true) }()
	r.client, err = NewClient(ClientOptions{Socket: r.path})
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		r.client.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
	t.Cleanup(r.stop)
	return r
}

func TestTail(t *testing.T) {
	t.Parallel()
	r := run(t, newMemory())
	var got []string
	stands := false
	err := r.client.Tail(t.Context(), TailFilter{From: From{Earliest: true}, Types: []string{"order.*", "*"}}, func(e *TailEvent) error {
		switch {
		case e == nil && !stands:
			stands = true
			r.backend.publish(TailEvent{ID: "evt_2", Type: "order.paid", Source: "shop", Seq: 8, Payload: RawJSON(`{"a":"<b>"}`)})
		case e != nil:
			got = append(got, fmt.Sprintf("%s %s", e.ID, e.Payload))
		}
		if len(got) == 2 {
			return io.EOF
		}
		return nil
	})
	if !errors.Is(err, io.EOF) || !stands {
		t.Errorf("%v, stands: %v", err, stands)
	}
	if len(got) != 2 || !strings.HasPrefix(got[0], knownEvent) || !strings.HasPrefix(got[1], "evt_2 ") {
		t.Errorf("got %q", got)
	}
}

// A tail ends when the caller leaves, and when the server stops; the caller can tell.
func TestTailEnds(t *testing.T) {
	t.Parallel()
	r := run(t, newMemory())
	ctx, cancel := context.WithCancel(t.Context())
	if err := r.client.Tail(ctx, TailFilter{}, func(*TailEvent) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("left: %v", err)
	}
	var p *Problem
	if err := r.client.Tail(t.Context(), TailFilter{Source: "nowhere"}, nil); !errors.As(err, &p) || p.Status != http.StatusNotFound {
		t.Errorf("unknown source: %v", err)
	}
	began := time.Now()
	err := r.client.Tail(t.Context(), TailFilter{}, func(*TailEvent) error { r.server.EndStreams(); return nil })
	if !errors.Is(err, ErrEnded) {
		t.Errorf("stopped: %v", err)
	}
	if err := r.client.Tail(t.Context(), TailFilter{}, nil); !errors.As(err, &p) || p.Code != codeStopping {
		t.Errorf("while stopping: %v", err)
	}
	r.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopping took %s", took)
	}
	if err := r.client.Tail(t.Context(), TailFilter{}, nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("stopped: %v", err)
	}
}

// broken fails in the middle of what it streams.
type broken struct{ *memory }

func (b broken) Backup(_ context.Context, _ Caller, w io.Writer) error {
	_, _ = io.WriteString(w, strings.Repeat("x", 100_000))
	return errors.New("the disk is gone")
}

func (b broken) Tail(_ context.Context, _ Caller, _ TailFilter, f func(*TailEvent) error) error {
	_ = f(&TailEvent{ID: "evt_1"})
	return errors.New("the log is gone")
}

// What breaks off does not look complete.
func TestStreamsThatBreak(t *testing.T) {
	t.Parallel()
	r := run(t, broken{newMemory()})
	if err := r.client.Backup(t.Context(), io.Discard); err == nil {
		t.Error("half a backup is taken for one")
	}
	if err := r.client.Tail(t.Context(), TailFilter{}, func(*TailEvent) error { return nil }); err == nil || errors.Is(err, ErrEnded) {
		t.Errorf("tail: %v", err)
	}
}

// archived writes a real archive, larger than the buffers.
type archived struct{ *memory }

func (archived) Backup(_ context.Context, _ Caller, w io.Writer) error {
	tw := tar.NewWriter(w)
	if err := tw.WriteHeader(&tar.Header{Name: "store", Size: 3 << 20, Mode: 0o600}); err != nil {
		return err
	}
	if _, err := tw.Write(make([]byte, 3<<20)); err != nil {
		return err
	}
	return tw.Close()
}

func TestBackup(t *testing.T) {
	t.Parallel()
	r := run(t, archived{newMemory()})
	var b bytes.Buffer
	if err := r.client.Backup(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	tr := tar.NewReader(&b)
	h, err := tr.Next()
	if err != nil || h.Name != "store" || h.Size != 3<<20 {
		t.Errorf("%v %v", h, err)
	}
}

// HEAD of a stream is its header and an end.
func TestHeadOfStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for target, media := range map[string]string{"/v1/events": mediaNDJSON, "/v1/backup": mediaTar} {
		if r := w.ask("HEAD", target, ""); r.status != http.StatusOK || r.header.Get("Content-Type") != media {
			t.Errorf("%s: %d %v", target, r.status, r.header)
		}
	}
}

// Garbage hurts nobody, and half a request does not keep the server from stopping.
func TestGarbageOnTheSocket(t *testing.T) {
	t.Parallel()
	r := run(t, newMemory())
	for _, garbage := range []string{
		"\x00\x01\x02\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", strings.Repeat("A", 100_000) + "\r\n\r\n",
		"POST /v1/endpoints HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"POST /v1/endpoints HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\nzz\r\n",
		"POST /v1/endpoints HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
		"GET /v1/endpoints HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: b\r\n", 10_000) + "\r\n",
		"GET /v1/endpoints HTTP/1.1\r\nHost: x\r\nAccept: \x00\r\n\r\n",
	} {
		conn, err := net.Dial("unix", r.path)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, garbage) // the server may have closed already
		answer, _ := io.ReadAll(conn)
		if first, _, _ := strings.Cut(string(answer), "\r\n"); strings.HasPrefix(first, "HTTP/1.1 5") && !strings.Contains(first, "505") || strings.Contains(first, " 200") {
			t.Errorf("%.40q: %s", garbage, first)
		}
		_ = conn.Close()
	}
	half, err := net.Dial("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	if _, err := io.WriteString(half, "GET /v1/st"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.client.Status(t.Context()); err != nil {
		t.Errorf("after garbage: %v", err)
	}
}

// Streams pass other servers' deadlines for whole answers.
func TestTailOutlivesTimeouts(t *testing.T) {
	t.Parallel()
	b := newMemory()
	s := New(Options{Backend: b, Log: slog.New(slog.DiscardHandler)})
	srv := httptest.NewUnstartedServer(s.Handler(true))
	srv.Config.WriteTimeout, srv.Config.ReadTimeout = 50*time.Millisecond, 50*time.Millisecond
	srv.Start()
	defer srv.Close()
	defer s.EndStreams()
	c, err := NewClient(ClientOptions{Server: srv.URL, Key: "rhk_x"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	beats := 0
	err = c.Tail(t.Context(), TailFilter{}, func(e *TailEvent) error {
		if e != nil {
			return io.EOF
		}
		beats++ // the stream stands, 100 ms after it began
		b.publish(TailEvent{ID: "evt_2"})
		return nil
	})
	if !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
}
