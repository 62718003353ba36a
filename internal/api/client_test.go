package api

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Every operation of the client, over a socket, against the server.
func TestClient(t *testing.T) {
	t.Parallel()
	r := run(t, newMemory())
	c, ctx := r.client, t.Context()
	ok := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	timeout, concurrency := 90*time.Second, 3
	made, err := c.CreateEndpoint(ctx, NewEndpoint{Tenant: "acme", URL: "https://hooks.example.com/a", Timeout: &timeout, Concurrency: &concurrency}, "k1")
	ok("create", err)
	if made.Timeout != "1m30s" || made.Concurrency != 3 || made.Secret == "" || made.Tenant != "acme" {
		t.Errorf("made %+v", made)
	}
	again, err := c.CreateEndpoint(ctx, NewEndpoint{Tenant: "acme", URL: "https://hooks.example.com/a", Timeout: &timeout, Concurrency: &concurrency}, "k1")
	if err != nil || again.ID != made.ID || again.Secret != made.Secret {
		t.Errorf("again: %+v %v", again, err)
	}
	text := ""
	changed, err := c.UpdateEndpoint(ctx, made.ID, made.Version, EndpointChange{Description: &text, Timeout: &timeout})
	ok("update", err)
	var p *Problem
	if _, err := c.UpdateEndpoint(ctx, made.ID, made.Version, EndpointChange{Description: &text}); !errors.As(err, &p) || p.Code != codeStale || p.Hint == "" || p.RequestID == "" {
		t.Errorf("stale: %v", err)
	}
	rotated, err := c.RotateSecret(ctx, made.ID, changed.Version, "", time.Hour, "k2")
	ok("rotate", err)
	if len(rotated.Secrets) != 2 || rotated.Secret == made.Secret {
		t.Errorf("rotated %+v", rotated)
	}
	paused, err := c.PauseEndpoint(ctx, made.ID, "for lunch")
	if err != nil || paused.State != EndpointPaused || paused.StateReason != "for lunch" {
		t.Errorf("paused %+v: %v", paused, err)
	}
	_, err = c.PauseEndpoint(ctx, made.ID, "")
	ok("pause without a reason", err)
	_, err = c.ResumeEndpoint(ctx, made.ID)
	ok("resume", err)
	_, err = c.TestEndpoint(ctx, made.ID, "")
	ok("test", err)
	_, err = c.TestEndpoint(ctx, made.ID, "order.created")
	ok("test of a type", err)
	_, err = c.Endpoint(ctx, made.ID)
	ok("endpoint", err)
	first, err := c.ListEndpoints(ctx, "", List{Limit: 2})
	ok("list", err)
	second, err := c.ListEndpoints(ctx, "", List{Limit: 2, Cursor: first.NextCursor})
	if err != nil || len(first.Items) != 2 || len(second.Items) != 1 || second.NextCursor != "" {
		t.Errorf("pages %v, %v: %v", first, second, err)
	}
	attempts, err := c.EndpointAttempts(ctx, made.ID, List{})
	if err != nil || len(attempts.Items) != 5 {
		t.Errorf("attempts %v: %v", attempts, err)
	}
	_, err = c.EndpointExceptions(ctx, made.ID, "parked", List{})
	ok("exceptions", err)

	sub, err := c.CreateSubscription(ctx, NewSubscription{Endpoint: made.ID, Types: []string{"order.*"}, From: From{Seqs: map[string]uint64{"shop": 3}}}, "k3")
	if err != nil || sub.Starts[0] != (Start{Source: "shop", Seq: 3, Backfilling: true}) {
		t.Errorf("subscription %+v: %v", sub, err)
	}
	types, subject := []string{"a", "b"}, ""
	_, err = c.UpdateSubscription(ctx, sub.ID, sub.Version, SubscriptionChange{Types: &types, Subject: &subject})
	ok("update subscription", err)
	declared, err := c.Subscription(ctx, declaredSubscription)
	if err != nil || declared.ID != declaredSubscription {
		t.Errorf("declared subscription %+v: %v", declared, err)
	}
	_, err = c.PauseSubscription(ctx, declaredSubscription)
	ok("pause subscription", err)
	_, err = c.ResumeSubscription(ctx, declaredSubscription)
	ok("resume subscription", err)
	subs, err := c.ListSubscriptions(ctx, made.ID, List{})
	if err != nil || len(subs.Items) != 1 {
		t.Errorf("subscriptions %v: %v", subs, err)
	}
	ok("delete subscription", c.DeleteSubscription(ctx, sub.ID, 0))
	ok("delete", c.DeleteEndpoint(ctx, made.ID, 0))

	event, err := c.Event(ctx, knownEvent)
	if err != nil || string(event.Payload) != `{"id":"`+knownEvent+`"}` {
		t.Errorf("event %+v: %v", event, err)
	}
	_, err = c.EventAttempts(ctx, knownEvent, List{Limit: 1})
	ok("event attempts", err)
	_, err = c.EventTypes(ctx)
	ok("types", err)
	_, err = c.EventType(ctx, "order.created")
	ok("type", err)
	results, err := c.Trigger(ctx, "order.created")
	if err != nil || len(results) != 1 || results[0].Endpoint != declaredEndpoint || results[0].EventID != knownEvent {
		t.Errorf("trigger %+v: %v", results, err)
	}
	_, err = c.Status(ctx)
	ok("status", err)
	_, err = c.Sources(ctx)
	ok("sources", err)
	_, err = c.Source(ctx, "shop")
	ok("source", err)
	_, err = c.StopSource(ctx, "shop")
	ok("stop source", err)
	skipped, err := c.SkipSource(ctx, "shop", NewGap{GTID: "0-1-7", Reason: "given up"})
	if ok("skip", err); len(skipped.Gaps) != 1 || skipped.Gaps[0].GTID != "0-1-7" || skipped.Gaps[0].Reason != "given up" {
		t.Errorf("gaps %+v", skipped.Gaps)
	}
	_, err = c.StartSource(ctx, "shop")
	ok("start source", err)
	_, err = c.Tenants(ctx, List{})
	ok("tenants", err)
	reload, err := c.Reload(ctx)
	if err != nil || reload.Error == nil {
		t.Errorf("reload %+v: %v", reload, err)
	}
	key, err := c.CreateKey(ctx, NewKey{Name: "ci", Scope: ScopeManage, Tenant: "acme", ExpiresAt: time.Now().Add(time.Hour)}, "k4")
	if err != nil || !strings.HasPrefix(key.Secret, keyPrefix) {
		t.Errorf("key %+v: %v", key, err)
	}
	_, err = c.ListKeys(ctx, List{})
	ok("keys", err)
	ok("delete key", c.DeleteKey(ctx, key.ID))
}

func TestClientOptions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o    ClientOptions
		says string
	}{
		"nothing":          {ClientOptions{}, "a socket or a server"},
		"both":             {ClientOptions{Socket: "a", Server: "https://b", Key: "rhk_x"}, "a socket or a server"},
		"no URL":           {ClientOptions{Server: "b", Key: "rhk_x"}, "is not a URL"},
		"no TLS":           {ClientOptions{Server: "http://rowhook.example.com", Key: "rhk_x"}, "without TLS"},
		"no key":           {ClientOptions{Server: "https://rowhook.example.com"}, "needs a key"},
		"no Rowhook key":   {ClientOptions{Server: "https://rowhook.example.com", Key: "hunter2"}, "does not look like rhk_"},
		"password":         {ClientOptions{Server: "https://a:hunter2@rowhook.example.com", Key: "rhk_x"}, "goes into its own option"},
		"password, no URL": {ClientOptions{Server: "a:hunter2@rowhook.example.com", Key: "rhk_x"}, "is not a URL"},
	} {
		_, err := NewClient(c.o)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, o := range []ClientOptions{{Socket: "/x"}, {Server: "https://h/base/", Key: "rhk_x"}, {Server: "http://127.0.0.1:1", Key: "rhk_x"}, {Server: "http://localhost:1", Key: "rhk_x"}, {Server: "http://h", Key: "rhk_x", AllowHTTP: true}} {
		if _, err := NewClient(o); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// What is not Rowhook, or not there, is named as such.
func TestClientErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "none.sock"), staleSocket(t, dir)} {
		c, err := NewClient(ClientOptions{Socket: path})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v", err)
		}
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/sources" {
			http.Redirect(w, r, "http://203.0.113.1/", http.StatusFound)
			return
		}
		if r.URL.Path == "/v1/types" {
			_, _ = io.WriteString(w, "<html>")
			return
		}
		http.Error(w, "nginx", http.StatusBadGateway)
	}))
	defer other.Close()
	c, err := NewClient(ClientOptions{Server: other.URL, Key: "rhk_hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var p *Problem
	if _, err := c.Status(t.Context()); !errors.As(err, &p) || p.Code != "not_rowhook" || p.Status != http.StatusBadGateway {
		t.Errorf("%v", err)
	}
	if _, err := c.Sources(t.Context()); !errors.As(err, &p) || p.Status != http.StatusFound {
		t.Errorf("redirect: %v", err)
	}
	if _, err := c.EventTypes(t.Context()); err == nil || !strings.Contains(err.Error(), "not what this version expects") {
		t.Errorf("HTML: %v", err)
	}
	other.Close()
	if _, err := c.Status(t.Context()); err == nil || errors.Is(err, ErrNotRunning) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

// staleSocket is a socket that a dead process has left.
func staleSocket(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "stale.sock")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	_ = ln.Close()
	return path
}

func TestListenUnix(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := staleSocket(t, dir)
	ln, err := ListenUnix(t.Context(), path)
	if err != nil {
		t.Fatalf("a stale socket is in the way: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	var refused *SocketError
	if _, err := ListenUnix(t.Context(), path); !errors.As(err, &refused) || refused.Hint == "" {
		t.Errorf("a second one: %v", err)
	}
	_ = ln.Close()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket stays: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(t.Context(), file); !errors.As(err, &refused) {
		t.Errorf("a file: %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file is gone: %v", err)
	}
	if _, err := ListenUnix(t.Context(), filepath.Join(dir, strings.Repeat("x", 100))); !errors.As(err, &refused) || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("a long path: %v", err)
	}
	if _, err := ListenUnix(t.Context(), filepath.Join(dir, "none", "x.sock")); err == nil {
		t.Error("a folder that is not there")
	}
}

// Through TLS-less loopback with a key, as another machine would.
func TestClientWithKey(t *testing.T) {
	t.Parallel()
	b := newMemory()
	srv := httptest.NewServer(New(Options{Backend: b, Log: slog.New(slog.DiscardHandler)}).Handler(false))
	defer srv.Close()
	_, text, err := b.CreateKey(t.Context(), Caller{}, NewKey{Scope: ScopeRead})
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewClient(ClientOptions{Server: srv.URL + "/", Key: text})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.ListEndpoints(t.Context(), "", List{}); err != nil {
		t.Error(err)
	}
	var p *Problem
	if _, err := c.Reload(t.Context()); !errors.As(err, &p) || p.Status != http.StatusForbidden {
		t.Errorf("%v", err)
	}
}
