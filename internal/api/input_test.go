package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const goodEndpoint = `{"url":"https://hooks.example.com/in"}`

// endpointWith is a good body for an endpoint with one more field.
func endpointWith(field string) string {
	return `{"url":"https://hooks.example.com/in",` + field + `}`
}

// Whatever is wrong with a request, the answer names it.
func TestBadInput(t *testing.T) {
	t.Parallel()
	const subscription = `{"endpoint":"orders","types":["*"],`
	w := newWorld(t)
	t.Cleanup(func() {
		if log := w.log.String(); strings.Contains(log, "hunter2") || strings.Contains(log, "aHVudGVyM") {
			t.Errorf("a secret is logged: %s", log)
		}
	})
	for name, c := range map[string]struct {
		method, target, body string
		headers              []string
		status               int
		code, location, says string
	}{
		"unknown field":               {"POST", "/v1/endpoints", endpointWith(`"concurency":3`), nil, 422, codeInvalid, "body.concurency", "did you mean concurrency?"},
		"swapped letters":             {"POST", "/v1/endpoints", `{"ulr":"https://hooks.example.com/"}`, nil, 422, codeInvalid, "body.ulr", "did you mean url?"},
		"field in capitals":           {"POST", "/v1/endpoints", `{"URL":"https://hooks.example.com/"}`, nil, 422, codeInvalid, "body.URL", "did you mean url?"},
		"missing field":               {"POST", "/v1/endpoints", `{}`, nil, 422, codeInvalid, "body.url", "is missing"},
		"no body":                     {"POST", "/v1/endpoints", "", nil, 422, codeInvalid, "body", "is missing"},
		"body where none belongs":     {"GET", "/v1/status", `{}`, nil, 422, codeInvalid, "body", "is too much"},
		"not an object":               {"POST", "/v1/endpoints", `[1]`, nil, 422, codeInvalid, "body", "write an object"},
		"null":                        {"POST", "/v1/endpoints", `{"url":null}`, nil, 422, codeInvalid, "body.url", "is null"},
		"null in an optional field":   {"POST", "/v1/endpoints", endpointWith(`"tenant":null`), nil, 422, codeInvalid, "body.tenant", "is null"},
		"wrong type":                  {"POST", "/v1/endpoints", endpointWith(`"concurrency":"many"`), nil, 422, codeInvalid, "body.concurrency", "is text; write a whole number"},
		"below the range":             {"POST", "/v1/endpoints", endpointWith(`"concurrency":0`), nil, 422, codeInvalid, "body.concurrency", "is not from 1 to 256"},
		"above the range":             {"POST", "/v1/endpoints", endpointWith(`"concurrency":257`), nil, 422, codeInvalid, "body.concurrency", "is not from 1 to 256"},
		"beyond 64 bits":              {"POST", "/v1/endpoints", endpointWith(`"queue_bytes":99999999999999999999`), nil, 422, codeInvalid, "body.queue_bytes", "is not from"},
		"beyond floating point":       {"POST", "/v1/endpoints", endpointWith(`"queue_bytes":1e999`), nil, 422, codeInvalid, "body.queue_bytes", "whole number"},
		"a fraction":                  {"POST", "/v1/endpoints", endpointWith(`"concurrency":1.5`), nil, 422, codeInvalid, "body.concurrency", "whole number"},
		"timeout too long":            {"POST", "/v1/endpoints", endpointWith(`"timeout":"3m"`), nil, 422, codeInvalid, "body.timeout", "from 100ms to 2m"},
		"timeout too short":           {"POST", "/v1/endpoints", endpointWith(`"timeout":"99ms"`), nil, 422, codeInvalid, "body.timeout", "from 100ms to 2m"},
		"timeout without a unit":      {"POST", "/v1/endpoints", endpointWith(`"timeout":"20"`), nil, 422, codeInvalid, "body.timeout", "from 100ms to 2m"},
		"unknown order":               {"POST", "/v1/endpoints", endpointWith(`"order":"keys"`), nil, 422, codeInvalid, "body.order", "is not one of: key, none"},
		"description too long":        {"POST", "/v1/endpoints", endpointWith(`"description":"` + strings.Repeat("x", 501) + `"`), nil, 422, codeInvalid, "body.description", "at most 500"},
		"NUL":                         {"POST", "/v1/endpoints", endpointWith(`"description":"a\u0000b"`), nil, 422, codeInvalid, "body.description", "NUL"},
		"invalid UTF-8":               {"POST", "/v1/endpoints", endpointWith("\"description\":\"a\xffb\""), nil, 422, codeInvalid, "body", "UTF-8"},
		"half a character":            {"POST", "/v1/endpoints", endpointWith(`"description":"\ud800"`), nil, 422, codeInvalid, "body.description", "Unicode"},
		"a name twice":                {"POST", "/v1/endpoints", endpointWith(`"url":"https://other.example.com/"`), nil, 422, codeInvalid, "body.url", "stands there twice"},
		"nested deeply":               {"POST", "/v1/endpoints", strings.Repeat(`{"url":`, 40) + "1" + strings.Repeat("}", 40), nil, 422, codeInvalid, "body", "nested"},
		"URL too long":                {"POST", "/v1/endpoints", `{"url":"https://h.example.com/` + strings.Repeat("x", 2048) + `"}`, nil, 422, codeInvalid, "body.url", "at most 2048"},
		"URL of another scheme":       {"POST", "/v1/endpoints", `{"url":"ftp://h.example.com/"}`, nil, 422, codeInvalid, "body.url", "a URL such as"},
		"URL with credentials":        {"POST", "/v1/endpoints", `{"url":"https://user:hunter2@h.example.com/"}`, nil, 422, codeInvalid, "body.url", ""},
		"URL with a private address":  {"POST", "/v1/endpoints", `{"url":"https://10.0.0.1/"}`, nil, 422, codeInvalid, "body.url", ""},
		"URL of the machine itself":   {"POST", "/v1/endpoints", `{"url":"https://[::1]/"}`, nil, 422, codeInvalid, "body.url", ""},
		"URL without TLS":             {"POST", "/v1/endpoints", `{"url":"http://h.example.com/"}`, nil, 422, codeInvalid, "body.url", ""},
		"URL with an unknown name":    {"POST", "/v1/endpoints", `{"url":"https://nowhere.invalid/"}`, nil, 422, codeInvalid, "body.url", ""},
		"secret too short":            {"POST", "/v1/endpoints", endpointWith(`"secret":"whsec_aHVudGVyMg=="`), nil, 422, codeInvalid, "body.secret", "at least 38"},
		"secret of too few bytes":     {"POST", "/v1/endpoints", endpointWith(`"secret":"whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHU="`), nil, 422, codeInvalid, "body.secret", "24 to 64 bytes"},
		"secret that cannot sign":     {"POST", "/v1/endpoints", endpointWith(`"secret":"whpk_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMmg="`), nil, 422, codeInvalid, "body.secret", "whsec_"},
		"secret in rotation":          {"POST", "/v1/endpoints/orders/rotate-secret", `{"secret":"hunter2hunter2hunter2hunter2hunter2hunter2"}`, nil, 422, codeInvalid, "body.secret", "whsec_"},
		"overlap too long":            {"POST", "/v1/endpoints/orders/rotate-secret", `{"overlap":"169h"}`, nil, 422, codeInvalid, "body.overlap", "168h"},
		"empty change":                {"PATCH", "/v1/endpoints/orders", `{}`, nil, 422, codeInvalid, "body", "is empty"},
		"change of what cannot":       {"PATCH", "/v1/endpoints/ep_foreign", `{"tenant":"acme"}`, nil, 422, codeInvalid, "body.tenant", "is not known here"},
		"change of what is declared":  {"PATCH", "/v1/endpoints/orders", `{"concurrency":2}`, nil, 409, "declared", "", ""},
		"no types":                    {"POST", "/v1/subscriptions", `{"endpoint":"orders","types":[]}`, nil, 422, codeInvalid, "body.types", "less than 1"},
		"too many types":              {"POST", "/v1/subscriptions", `{"endpoint":"orders","types":[` + strings.Repeat(`"a",`, 100) + `"b"]}`, nil, 422, codeInvalid, "body.types", "more than 100"},
		"a type twice":                {"POST", "/v1/subscriptions", `{"endpoint":"orders","types":["a","a"]}`, nil, 422, codeInvalid, "body.types[1]", "twice"},
		"a type that is a number":     {"POST", "/v1/subscriptions", `{"endpoint":"orders","types":["a",1]}`, nil, 422, codeInvalid, "body.types[1]", "is a number"},
		"a type with a space":         {"POST", "/v1/subscriptions", `{"endpoint":"orders","types":["a b"]}`, nil, 422, codeInvalid, "body.types[0]", "order.*"},
		"unknown endpoint":            {"POST", "/v1/subscriptions", `{"endpoint":"nobody","types":["*"]}`, nil, 422, codeInvalid, "body.endpoint", "names no endpoint"},
		"from a number":               {"POST", "/v1/subscriptions", subscription + `"from":7}`, nil, 422, codeInvalid, "body.from", "earliest"},
		"from a word":                 {"POST", "/v1/subscriptions", subscription + `"from":"latest"}`, nil, 422, codeInvalid, "body.from", "earliest"},
		"from no day":                 {"POST", "/v1/subscriptions", subscription + `"from":"2026-02-31T00:00:00Z"}`, nil, 422, codeInvalid, "body.from", ""},
		"from a negative seq":         {"POST", "/v1/subscriptions", subscription + `"from":{"shop":-1}}`, nil, 422, codeInvalid, "body.from.shop", "is not from 0"},
		"from a seq that is text":     {"POST", "/v1/subscriptions", subscription + `"from":{"shop":"1"}}`, nil, 422, codeInvalid, "body.from.shop", "whole number"},
		"from a source with a space":  {"POST", "/v1/subscriptions", subscription + `"from":{"my shop":1}}`, nil, 422, codeInvalid, "body.from.my shop", "name of a source"},
		"from nothing":                {"POST", "/v1/subscriptions", subscription + `"from":{}}`, nil, 422, codeInvalid, "body.from", "is empty"},
		"key that has expired":        {"POST", "/v1/keys", `{"name":"a","scope":"read","expires_at":"2020-01-01T00:00:00Z"}`, nil, 422, codeInvalid, "body.expires_at", "has passed"},
		"key with no time":            {"POST", "/v1/keys", `{"name":"a","scope":"read","expires_at":"tomorrow"}`, nil, 422, codeInvalid, "body.expires_at", "is not a time"},
		"key with an unknown scope":   {"POST", "/v1/keys", `{"name":"a","scope":"root"}`, nil, 422, codeInvalid, "body.scope", "read, manage, admin"},
		"admin key of a tenant":       {"POST", "/v1/keys", `{"name":"a","scope":"admin","tenant":"acme"}`, nil, 422, codeInvalid, "body.scope", "key of a tenant"},
		"unknown parameter":           {"GET", "/v1/endpoints?lmit=3", "", nil, 422, codeInvalid, "query.lmit", "did you mean limit?"},
		"limit of nothing":            {"GET", "/v1/endpoints?limit=", "", nil, 422, codeInvalid, "query.limit", "whole number"},
		"limit of zero":               {"GET", "/v1/endpoints?limit=0", "", nil, 422, codeInvalid, "query.limit", "from 1 to 200"},
		"limit too large":             {"GET", "/v1/endpoints?limit=201", "", nil, 422, codeInvalid, "query.limit", "from 1 to 200"},
		"limit with a sign":           {"GET", "/v1/endpoints?limit=%2B3", "", nil, 422, codeInvalid, "query.limit", "digits"},
		"limit twice":                 {"GET", "/v1/endpoints?limit=1&limit=2", "", nil, 422, codeInvalid, "query.limit", "give it once"},
		"cursor of garbage":           {"GET", "/v1/endpoints?cursor=Z2FyYmFnZQ", "", nil, 422, codeInvalid, "query.cursor", "is no cursor"},
		"cursor that is not base64":   {"GET", "/v1/endpoints?cursor=a", "", nil, 422, codeInvalid, "query.cursor", "is no cursor"},
		"cursor with other signs":     {"GET", "/v1/endpoints?cursor=%3D", "", nil, 422, codeInvalid, "query.cursor", "a cursor"},
		"query that is not encoded":   {"GET", "/v1/endpoints?tenant=%zz", "", nil, 400, codeMalformed, "", ""},
		"query with a NUL":            {"GET", "/v1/endpoints?tenant=%00", "", nil, 422, codeInvalid, "query.tenant", "NUL"},
		"query that is not UTF-8":     {"GET", "/v1/endpoints?tenant=%ff", "", nil, 422, codeInvalid, "query.tenant", "Unicode"},
		"unknown state":               {"GET", "/v1/endpoints/orders/exceptions?state=lost", "", nil, 422, codeInvalid, "query.state", "waiting, behind, parked"},
		"tail from a word":            {"GET", "/v1/events?from=latest", "", nil, 422, codeInvalid, "query.from", "earliest"},
		"tail from no day":            {"GET", "/v1/events?from=2026-02-31T00:00:00Z", "", nil, 422, codeInvalid, "query.from", "calendar"},
		"tail of an unknown source":   {"GET", "/v1/events?source=nowhere", "", nil, 404, codeNotFound, "", ""},
		"unknown endpoint in a path":  {"GET", "/v1/endpoints/nobody", "", nil, 404, codeNotFound, "", ""},
		"NUL in a path":               {"GET", "/v1/endpoints/%00", "", nil, 422, codeInvalid, "path.id", "NUL"},
		"id too long":                 {"GET", "/v1/endpoints/" + strings.Repeat("x", 65), "", nil, 422, codeInvalid, "path.id", "at most 64"},
		"slash in an endpoint's id":   {"GET", "/v1/endpoints/a%2Fb", "", nil, 422, codeInvalid, "path.id", "the id of an endpoint"},
		"event that cannot be":        {"GET", "/v1/events/1", "", nil, 422, codeInvalid, "path.id", "evt_"},
		"unknown path":                {"GET", "/v1/endpoint", "", nil, 404, codeNotFound, "", ""},
		"path outside":                {"GET", "/metrics", "", nil, 404, codeNotFound, "", ""},
		"path with two slashes":       {"GET", "/v1//endpoints", "", nil, 404, codeNotFound, "", ""},
		"path with dots":              {"GET", "/v1/types/../keys", "", nil, 404, codeNotFound, "", ""},
		"unencoded slash in an id":    {"GET", "/v1/subscriptions/orders/all", "", nil, 404, codeNotFound, "", ""},
		"unknown method":              {"PUT", "/v1/endpoints", goodEndpoint, nil, 405, codeMethodNotAllowed, "", ""},
		"document with another":       {"POST", "/openapi.json", `{}`, nil, 405, codeMethodNotAllowed, "", ""},
		"malformed JSON":              {"POST", "/v1/endpoints", "{\n  \"url\": oops}", nil, 400, codeMalformed, "body", "line 2, column 10"},
		"JSON that ends early":        {"POST", "/v1/endpoints", `{"url":`, nil, 400, codeMalformed, "body", "line 1"},
		"JSON twice":                  {"POST", "/v1/endpoints", `{} {}`, nil, 400, codeMalformed, "body", "line 1, column 4"},
		"body too large":              {"POST", "/v1/endpoints", endpointWith(`"description":"` + strings.Repeat("x", maxBody) + `"`), nil, 413, codeTooLarge, "", ""},
		"form":                        {"POST", "/v1/endpoints", "url=x", []string{"Content-Type: application/x-www-form-urlencoded"}, 415, codeUnsupportedMedia, "", ""},
		"no content type":             {"POST", "/v1/endpoints", goodEndpoint, []string{"Content-Type: "}, 415, codeUnsupportedMedia, "", ""},
		"another charset":             {"POST", "/v1/endpoints", goodEndpoint, []string{"Content-Type: application/json; charset=latin1"}, 415, codeUnsupportedMedia, "", ""},
		"compressed":                  {"POST", "/v1/endpoints", goodEndpoint, []string{"Content-Encoding: gzip"}, 415, codeUnsupportedMedia, "", ""},
		"accepts XML":                 {"GET", "/v1/endpoints", "", []string{"Accept: text/xml"}, 406, codeNotAcceptable, "", ""},
		"accepts no JSON":             {"GET", "/v1/endpoints", "", []string{"Accept: */*, application/json;q=0"}, 406, codeNotAcceptable, "", ""},
		"backup as JSON":              {"GET", "/v1/backup", "", []string{"Accept: application/json"}, 406, codeNotAcceptable, "", ""},
		"If-Match without quotes":     {"PATCH", "/v1/endpoints/ep_foreign", `{"concurrency":2}`, []string{"If-Match: 1"}, 422, codeInvalid, "header.If-Match", "in quotes"},
		"If-Match with two":           {"PATCH", "/v1/endpoints/ep_foreign", `{"concurrency":2}`, []string{`If-Match: "1", "2"`}, 422, codeInvalid, "header.If-Match", "one entity tag"},
		"stale If-Match":              {"PATCH", "/v1/endpoints/ep_foreign", `{"concurrency":2}`, []string{`If-Match: "9"`}, 412, codeStale, "", ""},
		"weak If-Match":               {"PATCH", "/v1/endpoints/ep_foreign", `{"concurrency":2}`, []string{`If-Match: W/"1"`}, 412, codeStale, "", ""},
		"If-Match with zero":          {"DELETE", "/v1/endpoints/ep_foreign", "", []string{`If-Match: "0"`}, 412, codeStale, "", ""},
		"Idempotency-Key with spaces": {"POST", "/v1/endpoints", goodEndpoint, []string{"Idempotency-Key: a b"}, 422, codeInvalid, "header.Idempotency-Key", "visible"},
		"Idempotency-Key too long":    {"POST", "/v1/endpoints", goodEndpoint, []string{"Idempotency-Key: " + strings.Repeat("k", 256)}, 422, codeInvalid, "header.Idempotency-Key", "at most 255"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := w.ask(c.method, c.target, c.body, c.headers...)
			p := r.problem(t)
			if r.status != c.status || p.Code != c.code {
				t.Fatalf("got %d %s, want %d %s: %s", r.status, p.Code, c.status, c.code, r.body)
			}
			if strings.Contains(r.body, "hunter2") || strings.Contains(r.body, "aHVudGVyM") {
				t.Errorf("a secret is quoted: %s", r.body)
			}
			if c.location == "" {
				return
			}
			i := slices.IndexFunc(p.Errors, func(f FieldProblem) bool { return f.Location == c.location })
			if i < 0 || !strings.Contains(p.Errors[i].Message, c.says) {
				t.Errorf("no problem with %s says %q: %s", c.location, c.says, r.body)
			}
		})
	}
}

func TestHeadersOfProblems(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if r := w.ask("PUT", "/v1/endpoints", ""); r.header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("Allow: %q", r.header.Get("Allow"))
	}
	if r := w.ask("TRACE", "/v1/endpoints/orders/pause", ""); r.status != http.StatusMethodNotAllowed || r.header.Get("Allow") != "POST" {
		t.Errorf("%d, Allow: %q", r.status, r.header.Get("Allow"))
	}
	if r := w.ask("HEAD", "/v1/endpoints", ""); r.status != http.StatusOK {
		t.Errorf("HEAD: %d", r.status)
	}
}

// The patterns of durations let through exactly the durations between their bounds.
func TestDurationPatterns(t *testing.T) {
	t.Parallel()
	var p patterns
	timeout, overlap := attemptTimeout("").Schema(nil).Pattern, rotationOverlap("").Schema(nil).Pattern
	for ms := 0; ms < 130_000; ms += 1 + ms/500*7 { // every one at the lower end
		compareTimeout(t, &p, timeout, ms)
	}
	for _, at := range []int{1000, 10_000, 60_000, 100_000, 110_000, 119_000, 120_000} {
		for ms := at - 101; ms <= at+101; ms++ {
			compareTimeout(t, &p, timeout, ms)
		}
	}
	for unit, most := range map[string]int{"s": 604_800, "m": 10_080, "h": 168} {
		for n := 0; n < most+most/2; n += 1 + n/1000*13 {
			if got := p.match(overlap, fmt.Sprintf("%d%s", n, unit)); got != (n <= most) {
				t.Fatalf("%d%s: %v", n, unit, got)
			}
		}
		if !p.match(overlap, fmt.Sprintf("%d%s", most, unit)) || p.match(overlap, fmt.Sprintf("%d%s", most+1, unit)) {
			t.Errorf("%d%s is not the end", most, unit)
		}
	}
	for _, wrong := range []string{"", "1", "s", "-1s", "1 s", "1d", "1.s", "1h30m", "007s", "1ns", "2m1s", "1m60s", "121s"} {
		if p.match(timeout, wrong) {
			t.Errorf("%q is taken for a timeout", wrong)
		}
	}
}

func compareTimeout(t *testing.T, p *patterns, pattern string, ms int) {
	t.Helper()
	want := ms >= 100 && ms <= 120_000
	// The second is how the process writes it.
	for _, text := range []string{fmt.Sprintf("%dms", ms), (time.Duration(ms) * time.Millisecond).String()} {
		if got := p.match(pattern, text); got != want {
			t.Fatalf("%s: %v", text, got)
		}
	}
}
