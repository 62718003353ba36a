package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"time"
)

const (
	headerIdempotencyKey = "Idempotency-Key"
	headerReplayed       = "Idempotency-Replayed"
)

// settleTimeout bounds how long an answer takes to be remembered or forgotten.
const settleTimeout = 10 * time.Second

// keptHeaders are those of an answer that are given again.
func keptHeaders() []string { return []string{"Content-Type", "Etag", "Location", "Link"} }

// once does what a request asks for unless it was done already. It goes on when the caller has gone: who repeats the request then
// gets the answer.
func (s *Server) once(w http.ResponseWriter, r *http.Request, key string, body []byte, next http.HandlerFunc) {
	v := visitOf(r.Context())
	before, same, err := s.backend.BeginIdempotent(r.Context(), v.caller, key, fingerprint(r, body))
	switch {
	case err != nil:
		s.refuse(w, r, s.failure(r.Context(), err))
		return
	case before != nil:
		s.again(w, r, before, same)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), remaining(r.Context()))
	defer cancel()
	kept := &recorder{header: w.Header()}
	finished := false
	defer func() {
		if !finished { // a panic: what was done is unknown
			s.settle(ctx, v.caller, key, nil)
		}
	}()
	next(kept, r.WithContext(ctx))
	finished = true
	s.settle(ctx, v.caller, key, kept.stored())
	kept.send(w)
}

func remaining(ctx context.Context) time.Duration {
	if at, ok := ctx.Deadline(); ok {
		return time.Until(at)
	}
	return usualTimeout
}

// again answers a repeated request.
func (s *Server) again(w http.ResponseWriter, r *http.Request, before *StoredAnswer, same bool) {
	switch {
	case !same:
		s.refuse(w, r, &refusal{Problem: Problem{
			Status: http.StatusUnprocessableEntity, Code: codeIdempotencyReused, Detail: "another request has been made with this Idempotency-Key",
			Hint: "take a new key for a new request", Fields: []FieldProblem{{Location: "header." + headerIdempotencyKey, Message: "was used for another request"}},
		}})
	case before.Status == 0:
		p := &refusal{Problem: Problem{Status: http.StatusConflict, Code: codeIdempotencyRunning, Detail: "the first request with this Idempotency-Key is still being worked on", Hint: hintRepeatAfterRestart}}
		s.refuse(w, r, p.retryAfter(retryWhileRunning))
	default:
		for k, v := range before.Headers {
			w.Header().Set(k, v)
		}
		w.Header().Set(headerReplayed, "true")
		w.WriteHeader(before.Status)
		_, _ = w.Write(before.Body) // whoever asked may be gone
	}
}

// settle keeps an answer, or forgets the request. The caller has his answer either way; without it being kept, a repetition is
// refused as still running until it is forgotten.
func (s *Server) settle(ctx context.Context, c Caller, key string, a *StoredAnswer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if err := s.backend.FinishIdempotent(ctx, c, key, a); err != nil {
		s.log.Warn("the answer to a repeatable request was not kept", "request", visitOf(ctx).id, "err", err)
	}
}

// fingerprint tells requests apart: the method, the path, the condition and the body. The lengths keep two lists of texts from
// giving the same bytes.
func fingerprint(r *http.Request, body []byte) [32]byte {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(r.Method), []byte(r.URL.EscapedPath()), []byte(r.URL.RawQuery), []byte(r.Header.Get("If-Match")), body} {
		_ = binary.Write(h, binary.BigEndian, uint64(len(part))) // a hash never fails
		h.Write(part)
	}
	return [32]byte(h.Sum(nil))
}

// recorder holds back an answer until it is kept.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *recorder) Header() http.Header { return k.header }

func (k *recorder) WriteHeader(status int) {
	if k.status == 0 {
		k.status = status
	}
}

func (k *recorder) Write(b []byte) (int, error) {
	k.WriteHeader(http.StatusOK)
	return k.body.Write(b)
}

// stored is what is kept; nil if the process has failed, and the same request may succeed later.
func (k *recorder) stored() *StoredAnswer {
	if k.status == 0 || k.status >= http.StatusInternalServerError || k.status == http.StatusTooManyRequests {
		return nil
	}
	out := &StoredAnswer{Status: k.status, Headers: map[string]string{}, Body: bytes.Clone(k.body.Bytes())}
	for _, name := range keptHeaders() {
		if v := k.header.Get(name); v != "" {
			out.Headers[name] = v
		}
	}
	return out
}

func (k *recorder) send(w http.ResponseWriter) {
	k.WriteHeader(http.StatusOK)
	w.WriteHeader(k.status)
	_, _ = w.Write(k.body.Bytes()) // whoever asked may be gone
}
