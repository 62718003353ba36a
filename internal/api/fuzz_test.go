package api

import (
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzBody sends bodies to everything that takes one: no answer is a 5xx or lacks a Problem.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{goodEndpoint, `{}`, `{"endpoint":"orders","types":["*"],"from":{"shop":1}}`, `{"name":"a","scope":"read","expires_at":"2030-01-01T00:00:00Z"}`,
		`{"secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw","overlap":"1h"}`, `[[[[`, `"\ud800"`, "\xff", `{"a":1e999}`, `{"url":"https://a","url":1}`, `{"from":"0000-01-01T00:00:00Z"}`, "\xef\xbb\xbf{}"} {
		f.Add(seed, "k")
	}
	w := fuzzed()
	f.Fuzz(func(t *testing.T, body, key string) {
		w.t, w.server.backend = t, newMemory()
		for _, r := range routes() {
			target, _ := targetOf(r)
			if r.streams() {
				continue
			}
			got := w.ask(r.method, target, body, "Idempotency-Key: "+key, "If-Match: "+key)
			checkAnswer(t, r.id, got)
		}
	})
}

// FuzzParameters sends paths, queries and headers.
func FuzzParameters(f *testing.F) {
	for _, seed := range []string{"", "a", "%00", "%2F", "..", "%2e%2e", "%ff", "limit=1", "cursor=AQ", "cursor=AQAAAAAA", "limit=-1&limit=2", "from=now", "from=9999-12-31T23:59:59Z", "type=a&type=b", "a;b", "%zz", "tenant=%F0%9F%98%80"} {
		f.Add(seed, seed, seed)
	}
	w := fuzzed()
	f.Fuzz(func(t *testing.T, path, query, header string) {
		backend := newMemory()
		backend.once = true
		w.t, w.server.backend = t, backend
		for _, target := range []string{"/v1/" + path, "/v1/endpoints/" + path, "/v1/subscriptions/" + path + "/pause", "/v1/events/" + path, "/v1/types/" + path} {
			for _, method := range []string{"GET", "POST", "HEAD", "OPTIONS"} {
				if r, ok := tryRequest(t, w, method, target+"?"+query, header); ok {
					checkAnswer(t, method+" "+target, r)
				}
			}
		}
		for _, target := range []string{"/v1/endpoints", "/v1/events", "/v1/keys", "/v1/endpoints/orders/exceptions"} {
			if r, ok := tryRequest(t, w, "GET", target+"?"+query, header); ok {
				checkAnswer(t, target, r)
			}
		}
	})
}

// tryRequest sends a request if net/http would have let it in.
func tryRequest(t *testing.T, w *world, method, target, header string) (reply, bool) {
	t.Helper()
	if strings.ContainsAny(target, " \t\r\n\x00\x7f#") || strings.ContainsAny(header, "\r\n\x00") {
		return reply{}, false
	}
	if !isRequest(method, target) {
		return reply{}, false
	}
	return w.askAs(true, method, target, "", "Accept: "+header, "If-None-Match: "+header, "If-Match: "+header, "Authorization: "+header), true
}

// isRequest reports whether httptest takes it for one, which it says by a panic.
func isRequest(method, target string) (ok bool) {
	defer func() { ok = recover() == nil }()
	httptest.NewRequest(method, target, nil)
	return true
}

// fuzzed is a world for many inputs, one after another.
func fuzzed() *world {
	return &world{server: New(Options{Backend: newMemory(), Log: slog.New(slog.DiscardHandler)})}
}

func checkAnswer(t *testing.T, what string, r reply) {
	t.Helper()
	if r.status >= 500 {
		t.Fatalf("%s: %d %s", what, r.status, r.body)
	}
	if r.status >= 400 && !json.Valid([]byte(r.body)) {
		t.Fatalf("%s: %d is no Problem: %s", what, r.status, r.body)
	}
}
