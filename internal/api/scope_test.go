package api

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// targets gives every route a path that exists, and a body if it needs one.
func targetOf(r route) (target, body string) {
	target = strings.NewReplacer("{name}", map[bool]string{true: "order.created", false: "shop"}[strings.HasPrefix(r.path, "/v1/types")],
		"{id}", map[string]string{"endpoints": declaredEndpoint, "subscriptions": "orders%2Fall", "events": knownEvent, "keys": "key_000001"}[tagOf(r.path)]).Replace(r.path)
	return target, map[string]string{
		"create-endpoint": goodEndpoint, "create-subscription": `{"endpoint":"orders","types":["*"]}`, "create-key": `{"name":"a","scope":"read"}`,
		"update-endpoint": `{"concurrency":2}`, "update-subscription": `{"subject":"a"}`,
	}[r.id]
}

// Each route lets through exactly the scopes that it says, and keys of a tenant only where it says.
func TestScopes(t *testing.T) {
	t.Parallel()
	for _, r := range routes() {
		t.Run(r.id, func(t *testing.T) {
			t.Parallel()
			target, body := targetOf(r)
			w := newWorld(t)
			w.backend.once = true
			for _, c := range []struct {
				scope  Scope
				tenant string
			}{{ScopeRead, ""}, {ScopeManage, ""}, {ScopeAdmin, ""}, {ScopeRead, "acme"}, {ScopeManage, "acme"}} {
				got := w.askAs(false, r.method, target, body, w.key(c.scope, c.tenant))
				allowed := rank(c.scope) >= rank(r.scope) && (c.tenant == "" || !r.operator)
				if allowed == (got.status == http.StatusForbidden) || got.status == http.StatusUnauthorized || got.status >= 500 {
					t.Errorf("%s of tenant %q: %d %s", c.scope, c.tenant, got.status, got.body)
				}
				if !allowed {
					if p := got.problem(t); !strings.Contains(p.Detail+p.Hint, string(r.scope)) {
						t.Errorf("the scope that is needed is not named: %s", got.body)
					}
				}
			}
		})
	}
}

// Nothing but the document is without a key, and every operation is in the table.
func TestKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, r := range routes() {
		target, body := targetOf(r)
		for _, header := range []string{"X-Nothing: 1", "Authorization: Bearer rhk_wrong", "Authorization: Basic cmhrX3g=", "Authorization: Bearer nokey", "Authorization: Bearer", "Authorization: Bearer rhk_\x01"} {
			w.server.guesses = newLimiter()
			got := w.askAs(false, r.method, target, body, header)
			if p := got.problem(t); got.status != http.StatusUnauthorized || p.Code != codeUnauthorized || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer ") {
				t.Errorf("%s with %q: %d", r.id, header, got.status)
			}
		}
	}
	if got := w.askAs(false, "GET", "/v1/nothing", ""); got.status != http.StatusUnauthorized {
		t.Errorf("unknown path without a key: %d", got.status)
	}
	for _, path := range []string{"/openapi.json", "/openapi.yaml"} {
		if got := w.askAs(false, "GET", path, ""); got.status != http.StatusOK || got.body == "" {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	if len(w.server.routes) != len(routes()) {
		t.Error("an id stands twice in the table of routes")
	}
	for path, item := range w.server.api.OpenAPI().Paths {
		if !regexp.MustCompile(`^/v1/[a-z-]+(/\{(id|name)\}(/[a-z-]+)?)?$`).MatchString(path) || item == nil {
			t.Errorf("unexpected path %s", path)
		}
	}
}

// A key that expires or is deleted works no more.
func TestKeyEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := decode[KeyWithSecret](t, w.ask("POST", "/v1/keys", `{"name":"a","scope":"read"}`))
	auth := "Authorization: Bearer " + made.Secret
	if got := w.askAs(false, "GET", "/v1/endpoints", "", auth); got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if got := w.ask("DELETE", "/v1/keys/"+made.ID, ""); got.status != http.StatusNoContent || got.body != "" {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if got := w.askAs(false, "GET", "/v1/endpoints", "", auth); got.status != http.StatusUnauthorized {
		t.Errorf("a deleted key: %d", got.status)
	}
	if strings.Contains(w.log.String(), made.Secret) {
		t.Error("the key is logged")
	}
	if list := w.ask("GET", "/v1/keys", ""); strings.Contains(list.body, made.Secret) {
		t.Error("the key is listed")
	}
}

// What belongs to another tenant does not exist.
func TestTenants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acme := w.key(ScopeManage, "acme")
	made := decode[EndpointWithSecret](t, w.askAs(false, "POST", "/v1/endpoints", goodEndpoint, acme))
	if made.Tenant != "acme" {
		t.Fatalf("made for tenant %q", made.Tenant)
	}
	if got := w.askAs(false, "POST", "/v1/endpoints", endpointWith(`"tenant":"umbrella"`), acme); got.status != http.StatusForbidden || got.problem(t).Errors[0].Location != "body.tenant" {
		t.Errorf("for another tenant: %d %s", got.status, got.body)
	}
	if got := w.askAs(false, "GET", "/v1/events?tenant=umbrella", "", acme); got.status != http.StatusForbidden {
		t.Errorf("tail of another tenant: %d", got.status)
	}
	list := decode[page[Endpoint]](t, w.askAs(false, "GET", "/v1/endpoints", "", acme))
	if len(list.Items) != 1 || list.Items[0].ID != made.ID {
		t.Errorf("lists %v", list.Items)
	}
	for _, other := range []string{foreignEndpoint, declaredEndpoint} {
		for _, c := range [][3]string{
			{"GET", "", ""}, {"PATCH", "", `{"concurrency":1}`}, {"DELETE", "", ""}, {"POST", "/pause", ""}, {"POST", "/resume", ""},
			{"POST", "/rotate-secret", ""}, {"POST", "/test", ""}, {"GET", "/attempts", ""}, {"GET", "/exceptions", ""},
		} {
			if got := w.askAs(false, c[0], "/v1/endpoints/"+other+c[1], c[2], acme); got.status != http.StatusNotFound {
				t.Errorf("%s %s%s: %d", c[0], other, c[1], got.status)
			}
		}
	}
}

// Guessing is slowed down for an address, not for keys that are right.
func TestFailuresAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	right := w.key(ScopeRead, "")
	from := func(addr, header string) reply {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/endpoints", nil)
		r.RemoteAddr = addr
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
		rec := httptest.NewRecorder()
		w.server.Handler(false).ServeHTTP(rec, r)
		return reply{rec.Code, rec.Header(), rec.Body.String()}
	}
	const stranger = "203.0.113.9:1000"
	if got := from(stranger, right); got.status != http.StatusOK {
		t.Fatalf("%d", got.status)
	}
	var last reply
	for range failureBurst + 5 {
		last = from(stranger, "Authorization: Bearer rhk_guess")
	}
	if last.status != http.StatusTooManyRequests || last.header.Get("Retry-After") == "" || last.problem(t).Code != codeTooManyAttempts {
		t.Errorf("after many guesses: %d %v", last.status, last.header)
	}
	if got := from(stranger, right); got.status != http.StatusOK {
		t.Errorf("a key that was right lately: %d", got.status)
	}
	if got := from(stranger, w.key(ScopeRead, "")); got.status != http.StatusTooManyRequests {
		t.Errorf("a key that was not seen: %d", got.status)
	}
	if got := from("203.0.113.10:1000", "Authorization: Bearer rhk_guess"); got.status != http.StatusUnauthorized {
		t.Errorf("another address: %d", got.status)
	}
}
