package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a server with a Backend in memory, asked without a network.
type world struct {
	t       *testing.T
	backend *memory
	server  *Server
	log     *bytes.Buffer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, backend: newMemory(), log: &bytes.Buffer{}}
	w.server = New(Options{Backend: w.backend, Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Version: "test"})
	return w
}

// reply is an answer, read.
type reply struct {
	status int
	header http.Header
	body   string
}

// problem returns the body as one, having checked that it is a whole one.
func (r reply) problem(t *testing.T) problemDocument {
	t.Helper()
	var p problemDocument
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		t.Fatalf("status %d: not a Problem: %v: %s", r.status, err, r.body)
	}
	if got := r.header.Get("Content-Type"); got != problemMediaType {
		t.Errorf("status %d: Content-Type %q", r.status, got)
	}
	if p.Status != r.status || p.Type != problemType+p.Code || p.Title != http.StatusText(r.status) || p.Detail == "" || p.Instance != problemInstance+r.header.Get("X-Request-Id") {
		t.Errorf("status %d: not a whole Problem: %s", r.status, r.body)
	}
	return p
}

// ask sends a request as the operator on the socket. headers are "Name: value".
func (w *world) ask(method, target, body string, headers ...string) reply {
	return w.askAs(true, method, target, body, headers...)
}

func (w *world) askAs(trusted bool, method, target, body string, headers ...string) reply {
	w.t.Helper()
	return w.send(w.t.Context(), trusted, method, target, body, headers...)
}

// askContext sends a request whose sender goes away with ctx.
func (w *world) askContext(ctx context.Context, method, target, body string, headers ...string) reply {
	w.t.Helper()
	return w.send(ctx, true, method, target, body, headers...)
}

func (w *world) send(ctx context.Context, trusted bool, method, target, body string, headers ...string) reply {
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(ctx, method, target, rd)
	if body != "" {
		r.Header.Set("Content-Type", jsonMediaType)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Del(name)
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	rec := httptest.NewRecorder()
	w.server.Handler(trusted).ServeHTTP(rec, r)
	return reply{rec.Code, rec.Header(), rec.Body.String()}
}

// key makes a key, and returns the header that carries it.
func (w *world) key(scope Scope, tenant string) string {
	w.t.Helper()
	_, text, err := w.backend.CreateKey(w.t.Context(), Caller{}, NewKey{Name: "test", Scope: scope, Tenant: tenant})
	if err != nil {
		w.t.Fatal(err)
	}
	return "Authorization: Bearer " + text
}

func decode[T any](t *testing.T, r reply) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(r.body), &v); err != nil {
		t.Fatalf("status %d: %v: %s", r.status, err, r.body)
	}
	return v
}
