package api

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// visit is one request on its way.
type visit struct {
	id      string
	caller  Caller
	pattern string
	request *http.Request
}

type visitKey struct{}

func visitOf(ctx context.Context) *visit { return ctx.Value(visitKey{}).(*visit) }

// newRequestID returns an id that nobody can foresee, so that one in a bug report belongs to one line of the log.
func newRequestID() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // it never fails
	return "req_" + strings.ToLower(base32.HexEncoding.EncodeToString(b[:]))
}

// serve answers one request, whatever happens.
func (s *Server) serve(trusted bool, w http.ResponseWriter, r *http.Request) {
	v := &visit{id: newRequestID()}
	a := &answer{ResponseWriter: w, control: http.NewResponseController(w)}
	a.Header().Set("X-Request-Id", v.id)
	a.Header().Set("X-Content-Type-Options", "nosniff")
	a.Header().Set("Cache-Control", "no-store")
	r = r.WithContext(context.WithValue(r.Context(), visitKey{}, v))
	v.request = r
	defer s.finish(a, r, time.Now())
	s.dispatch(trusted, a, r)
}

// finish notes how a request ended, and makes a Problem of a panic.
func (s *Server) finish(a *answer, r *http.Request, began time.Time) {
	v := visitOf(r.Context())
	thrown := recover()
	if thrown != nil && thrown != http.ErrAbortHandler { //nolint:errorlint // a panic carries the value itself
		s.log.Error("a request panicked", "request", v.id, "method", r.Method, "route", v.pattern, "panic", describePanic(thrown), "stack", string(debug.Stack()))
		if !a.begun() {
			s.refuse(a, r, errInternal())
			thrown = nil
		} else {
			thrown = http.ErrAbortHandler // the answer must not look complete
		}
	}
	s.log.Debug("request", "request", v.id, "method", r.Method, "route", v.pattern, "status", a.status, "took", time.Since(began), "key", v.caller.KeyID)
	if thrown != nil {
		panic(thrown)
	}
}

// describePanic says what was thrown without what may be in it: only errors of the runtime are known to quote no rows.
func describePanic(thrown any) string {
	if err, ok := thrown.(runtime.Error); ok {
		return err.Error()
	}
	return "a value that is not logged"
}

// dispatch finds out who asks for what.
func (s *Server) dispatch(trusted bool, a *answer, r *http.Request) {
	v := visitOf(r.Context())
	if s.document.serve(s, a, r) {
		return
	}
	if p := s.identify(trusted, r); p != nil {
		s.refuse(a, r, p)
		return
	}
	h, pattern := s.mux.Handler(r)
	if pattern == "" || !cleanPath(r) {
		s.refuse(a, r, noRoute(h, r))
		return
	}
	v.pattern = pattern
	s.mux.ServeHTTP(a, r)
}

// identify sets the caller.
func (s *Server) identify(trusted bool, r *http.Request) *refusal {
	v := visitOf(r.Context())
	switch {
	case trusted:
		v.caller = Caller{KeyID: "socket", Scope: ScopeAdmin}
		return nil
	case r.URL.Path != "/v1" && !strings.HasPrefix(r.URL.Path, "/v1/"):
		return nil // there is nothing
	}
	caller, p := s.authenticate(r)
	v.caller = caller
	return p
}

// cleanPath reports whether the path stands as routes do; the mux would redirect others, which is no answer to a POST.
func cleanPath(r *http.Request) bool {
	p := r.URL.EscapedPath()
	return !strings.Contains(p, "//") && !strings.Contains(p+"/", "/./") && !strings.Contains(p+"/", "/../")
}

// noRoute tells a path that does not exist from a method that does not.
func noRoute(h http.Handler, r *http.Request) *refusal {
	probe := &probe{header: http.Header{}}
	if cleanPath(r) {
		h.ServeHTTP(probe, r)
	}
	if probe.status != http.StatusMethodNotAllowed {
		return &refusal{Problem: Problem{Status: http.StatusNotFound, Code: codeNotFound, Detail: "there is nothing at this path", Hint: "the paths stand in /openapi.json; a / within an id is written %2F"}}
	}
	allow := probe.header.Get("Allow")
	return &refusal{
		Problem: Problem{Status: http.StatusMethodNotAllowed, Code: codeMethodNotAllowed, Detail: "this path is not for that method", Hint: "it takes " + allow},
		header:  http.Header{"Allow": {allow}},
	}
}

// probe takes the answer of the mux to what has no route.
type probe struct {
	header http.Header
	status int
}

func (p *probe) Header() http.Header         { return p.header }
func (p *probe) Write(b []byte) (int, error) { return len(b), nil }
func (p *probe) WriteHeader(status int)      { p.status = status }

// answer is a response that knows whether it has begun and gives each write its own deadline.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	status  int
}

func (a *answer) begun() bool { return a.status != 0 }

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader begins the answer.
func (a *answer) WriteHeader(status int) {
	if a.begun() {
		return
	}
	a.status = status
	a.extend()
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if !a.begun() {
		a.WriteHeader(http.StatusOK)
	}
	a.extend()
	return a.ResponseWriter.Write(b)
}

// extend gives the next write its time. Not every writer has deadlines: those of tests have none.
func (a *answer) extend() { _ = a.control.SetWriteDeadline(time.Now().Add(writeTimeout)) }
