package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestEntityTags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.ask("POST", "/v1/endpoints", goodEndpoint)
	path, tag := made.header.Get("Location"), made.header.Get("ETag")
	if made.status != http.StatusCreated || tag != `"1"` || path == "" {
		t.Fatalf("%d %v", made.status, made.header)
	}
	for _, same := range []string{tag, "W/" + tag, `"9", ` + tag, "*"} {
		if got := w.ask("GET", path, "", "If-None-Match: "+same); got.status != http.StatusNotModified || got.body != "" || got.header.Get("ETag") != tag {
			t.Errorf("If-None-Match %s: %d %q", same, got.status, got.body)
		}
	}
	changed := w.ask("PATCH", path, `{"description":"a"}`, "If-Match: "+tag)
	if changed.status != http.StatusOK || changed.header.Get("ETag") != `"2"` {
		t.Fatalf("%d %s", changed.status, changed.body)
	}
	if got := w.ask("GET", path, "", "If-None-Match: "+tag); got.status != http.StatusOK {
		t.Errorf("changed, but %d", got.status)
	}
	for _, c := range [][2]string{{"PATCH", `{"description":"b"}`}, {"DELETE", ""}} {
		if got := w.ask(c[0], path, c[1], "If-Match: "+tag); got.status != http.StatusPreconditionFailed {
			t.Errorf("stale %s: %d", c[0], got.status)
		}
	}
	if got := w.ask("POST", path+"/rotate-secret", "", "If-Match: "+tag); got.status != http.StatusPreconditionFailed {
		t.Errorf("stale rotation: %d", got.status)
	}
	if got := w.ask("POST", path+"/rotate-secret", "", `If-Match: "2"`); got.status != http.StatusOK || got.header.Get("ETag") != `"3"` {
		t.Errorf("rotation: %d", got.status)
	}
	if got := w.ask("DELETE", path, "", "If-Match: *"); got.status != http.StatusNoContent {
		t.Errorf("%d", got.status)
	}
	if got := w.ask("GET", path, ""); got.status != http.StatusNotFound || got.header.Get("ETag") != "" {
		t.Errorf("deleted: %d %q", got.status, got.header.Get("ETag"))
	}
}

// A list is read whole, each item once, whatever the page size; the link and the cursor are the same page.
func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 7 {
		w.ask("POST", "/v1/endpoints", endpointWith(`"tenant":"a&b<c>"`))
	}
	for _, limit := range []int{1, 2, 3, 7, 200} {
		seen := map[string]bool{}
		for target := fmt.Sprintf("/v1/endpoints?tenant=a%%26b%%3Cc%%3E&limit=%d", limit); target != ""; {
			r := w.ask("GET", target, "")
			p := decode[page[Endpoint]](t, r)
			if len(p.Items) > limit || r.status != http.StatusOK {
				t.Fatalf("limit %d: %d %s", limit, r.status, r.body)
			}
			for _, e := range p.Items {
				if seen[e.ID] {
					t.Errorf("limit %d: %s twice", limit, e.ID)
				}
				seen[e.ID] = true
			}
			link, _, found := strings.Cut(strings.TrimPrefix(r.header.Get("Link"), "<"), `>; rel="next"`)
			if found != (p.NextCursor != "") || found && !strings.Contains(link, p.NextCursor) {
				t.Errorf("link %q, cursor %q", r.header.Get("Link"), p.NextCursor)
			}
			target = link
		}
		if len(seen) != 7 {
			t.Errorf("limit %d: %d items", limit, len(seen))
		}
	}
	cursor := decode[page[Endpoint]](t, w.ask("GET", "/v1/endpoints?limit=1", "")).NextCursor
	if r := w.ask("GET", "/v1/subscriptions?cursor="+cursor, ""); r.status != http.StatusUnprocessableEntity {
		t.Errorf("the cursor of another list: %d", r.status)
	}
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const key = "Idempotency-Key: k1"
	first := w.ask("POST", "/v1/endpoints", goodEndpoint, key)
	again := w.ask("POST", "/v1/endpoints", goodEndpoint, key)
	if first.status != http.StatusCreated || first.header.Get(headerReplayed) != "" {
		t.Fatalf("%d %v", first.status, first.header)
	}
	if again.status != first.status || again.body != first.body || again.header.Get(headerReplayed) != "true" {
		t.Errorf("again: %d %v %s", again.status, again.header, again.body)
	}
	for _, name := range []string{"ETag", "Location", "Content-Type"} {
		if again.header.Get(name) != first.header.Get(name) || first.header.Get(name) == "" {
			t.Errorf("%s: %q, then %q", name, first.header.Get(name), again.header.Get(name))
		}
	}
	if again.header.Get("X-Request-Id") == first.header.Get("X-Request-Id") {
		t.Error("two requests have one id")
	}
	for what, r := range map[string]reply{
		"another body": w.ask("POST", "/v1/endpoints", endpointWith(`"concurrency":1`), key),
		"another path": w.ask("POST", "/v1/endpoints/orders/pause", "", key),
	} {
		if p := r.problem(t); r.status != http.StatusUnprocessableEntity || p.Code != codeIdempotencyReused {
			t.Errorf("%s: %d %s", what, r.status, r.body)
		}
	}
	if r := w.askAs(false, "POST", "/v1/endpoints", goodEndpoint, key, w.key(ScopeAdmin, "")); r.status != http.StatusCreated || r.body == first.body {
		t.Errorf("the key of another caller: %d", r.status)
	}
	refused := w.ask("POST", "/v1/endpoints", `{"url":"https://10.0.0.1/"}`, "Idempotency-Key: k2")
	if r := w.ask("POST", "/v1/endpoints", `{"url":"https://10.0.0.1/"}`, "Idempotency-Key: k2"); r.status != refused.status || r.body != refused.body {
		t.Errorf("a refusal of the Backend is not given again: %s", r.body)
	}
	if r := w.ask("POST", "/v1/endpoints", `{`, key); r.status != http.StatusBadRequest {
		t.Errorf("malformed: %d", r.status)
	}
}

// Of many equal requests at once, one does the work; the others wait their turn or get its answer.
func TestIdempotencyRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inside, leave := make(chan struct{}), make(chan struct{})
	w.backend.hook = func(context.Context) error { close(inside); <-leave; return nil }
	const key = "Idempotency-Key: race"
	var all sync.WaitGroup
	all.Go(func() {
		if r := w.ask("POST", "/v1/endpoints", goodEndpoint, key); r.status != http.StatusCreated {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	<-inside // a second time would panic
	var others sync.WaitGroup
	for range 8 {
		others.Go(func() {
			r := w.ask("POST", "/v1/endpoints", goodEndpoint, key)
			if p := r.problem(t); r.status != http.StatusConflict || p.Code != codeIdempotencyRunning || r.header.Get("Retry-After") == "" {
				t.Errorf("%d %s", r.status, r.body)
			}
			if r := w.ask("POST", "/v1/endpoints", endpointWith(`"concurrency":1`), key); r.status != http.StatusUnprocessableEntity {
				t.Errorf("another request meanwhile: %d", r.status)
			}
		})
	}
	others.Wait()
	close(leave)
	all.Wait()
	if r := w.ask("POST", "/v1/endpoints", goodEndpoint, key); r.status != http.StatusCreated || r.header.Get(headerReplayed) != "true" {
		t.Errorf("%d", r.status)
	}
}

// A failure of the process is not kept: the same request may succeed later. Neither is a panic.
func TestIdempotencyForgetsFailures(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(context.Context) error{
		"error": func(context.Context) error { return errors.New("disk full: hunter2") },
		"panic": func(context.Context) error { panic("hunter2") },
		"late":  func(context.Context) error { return fmt.Errorf("wait: %w", context.DeadlineExceeded) },
	} {
		w := newWorld(t)
		w.backend.hook = fail
		r := w.ask("POST", "/v1/endpoints", goodEndpoint, "Idempotency-Key: k")
		if r.problem(t); r.status < 500 || strings.Contains(r.body, "hunter2") {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
		w.backend.hook = nil
		if r := w.ask("POST", "/v1/endpoints", goodEndpoint, "Idempotency-Key: k"); r.status != http.StatusCreated {
			t.Errorf("%s: then %d %s", name, r.status, r.body)
		}
	}
}

// Who goes away does not stop what has an Idempotency-Key: its repetition gets the answer.
func TestIdempotencyGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend.hook = func(ctx context.Context) error {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("the work has no deadline")
		}
		return ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := w.askContext(ctx, "POST", "/v1/endpoints", goodEndpoint, "Idempotency-Key: k")
	if r.status != http.StatusCreated {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := w.askContext(ctx, "POST", "/v1/endpoints", goodEndpoint); r.status != http.StatusServiceUnavailable {
		t.Errorf("without a key: %d %s", r.status, r.body)
	}
}

func TestFrom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for from, want := range map[string]Start{
		`"now"`:                       {Source: "shop", Seq: 8},
		`"earliest"`:                  {Source: "shop", Backfilling: true},
		`"2026-01-02T15:04:05+01:00"`: {Source: "shop", Backfilling: true},
		`{"shop":3}`:                  {Source: "shop", Seq: 3, Backfilling: true},
	} {
		s := decode[Subscription](t, w.ask("POST", "/v1/subscriptions", `{"endpoint":"orders","types":["order.*"],"from":`+from+`}`))
		if len(s.Starts) != 1 || s.Starts[0] != want {
			t.Errorf("from %s: %v", from, s.Starts)
		}
	}
	now := time.Date(2026, 1, 2, 15, 4, 5, 600, time.UTC)
	for _, f := range []From{{}, {Earliest: true}, {Time: &now}, {Seqs: map[string]uint64{"shop": 0}}, {Seqs: map[string]uint64{"a": 1, "b": maxSeq}}} {
		got, err := ParseFrom(f.String())
		if err != nil || got.String() != f.String() && len(f.Seqs) < 2 || len(got.Seqs) != len(f.Seqs) {
			t.Errorf("%s is read as %s: %v", f, got, err)
		}
	}
	for _, wrong := range []string{"latest", "shop", "shop:", ":3", "shop:-1", "shop:1,shop:2", "2026-13-01T00:00:00Z", "shop:99999999999999999"} {
		if _, err := ParseFrom(wrong); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}

// What goes wrong in the process is told apart from what is wrong with the request, and logged without rows.
func TestFailures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend.failing = errors.New("the store is gone")
	r := w.ask("GET", "/v1/status", "")
	if p := r.problem(t); r.status != 500 || p.Code != codeInternal || strings.Contains(r.body, "store") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if log := w.log.String(); !strings.Contains(log, "the store is gone") || !strings.Contains(log, r.header.Get("X-Request-Id")) {
		t.Errorf("the log does not say why: %s", log)
	}
	w.backend.failing = &Problem{Status: 503, Code: "starting", Detail: "not yet"}
	if r := w.ask("GET", "/v1/status", ""); r.problem(t).Code != "starting" || r.header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	w.backend.failing = &Problem{Status: 200, Code: "fine"}
	if r := w.ask("GET", "/v1/status", ""); r.status != 500 {
		t.Errorf("a Problem that is none: %d", r.status)
	}
	w.backend.hook = func(context.Context) error { panic(map[string]string{"card": "4111"}) }
	if r := w.ask("POST", "/v1/endpoints", goodEndpoint); r.status != 500 || r.problem(t).Code != codeInternal {
		t.Errorf("panic: %d %s", r.status, r.body)
	}
	if log := w.log.String(); strings.Contains(log, "4111") || !strings.Contains(log, "memory_test.go") && !strings.Contains(log, "CreateEndpoint") {
		t.Errorf("the log of a panic: %s", log)
	}
}

// The log has each request, with its route and not its query.
func TestRequestsAreLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ask("GET", "/v1/endpoints?tenant=secretive", "")
	log := w.log.String()
	for _, part := range []string{"method=GET", `route="GET /v1/endpoints"`, "status=200", "key=socket", "took="} {
		if !strings.Contains(log, part) {
			t.Errorf("no %s in %s", part, log)
		}
	}
	if strings.Contains(log, "secretive") {
		t.Errorf("the query is logged: %s", log)
	}
}
