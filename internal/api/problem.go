package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// The codes of problems that this package finds itself; a Backend has its own beside them.
const (
	codeMalformed            = "malformed_request"
	codeUnauthorized         = "unauthorized"
	codeForbidden            = "forbidden"
	codeNotFound             = "not_found"
	codeMethodNotAllowed     = "method_not_allowed"
	codeNotAcceptable        = "not_acceptable"
	codeIdempotencyRunning   = "idempotency_key_in_use"
	codeStale                = "precondition_failed"
	codeTooLarge             = "too_large"
	codeUnsupportedMedia     = "unsupported_media_type"
	codeInvalid              = "invalid"
	codeIdempotencyReused    = "idempotency_key_reused"
	codeTooManyAttempts      = "too_many_failures"
	codeInternal             = "internal"
	codeStopping             = "stopping"
	codeTimeout              = "timeout"
	problemType              = "urn:rowhook:problem:"
	problemInstance          = "urn:rowhook:request:"
	problemMediaType         = "application/problem+json"
	jsonMediaType            = "application/json"
	retryWhileRunning        = time.Second
	maxFieldProblems         = 20
	hintSeeDocument          = "/openapi.json says what is expected"
	hintRepeatAfterRestart   = "repeat the request in a moment"
	hintQuoteRequestInstance = "the log of the process has the cause beside this request's id"
)

// problemDocument is a Problem as it is sent: RFC 9457.
type problemDocument struct {
	Type     string         `json:"type" doc:"urn:rowhook:problem: and the code"`
	Title    string         `json:"title" doc:"the HTTP status in words"`
	Status   int            `json:"status" minimum:"400" maximum:"599"`
	Detail   string         `json:"detail" doc:"what is wrong with this request"`
	Instance string         `json:"instance" doc:"urn:rowhook:request: and the id in X-Request-Id"`
	Code     string         `json:"code" doc:"a stable word for programs"`
	Hint     string         `json:"hint,omitempty" doc:"what to do next"`
	Errors   []FieldProblem `json:"errors,omitempty" doc:"what is wrong with which field"`
}

// refusal is a Problem on its way out, with headers.
type refusal struct {
	Problem
	header http.Header
	// document is set once the request is known.
	instance string
}

// GetStatus and the methods below are what huma asks of an error.
func (p *refusal) GetStatus() int { return p.Status }

// GetHeaders returns the headers that belong to the problem.
func (p *refusal) GetHeaders() http.Header { return p.header }

// ContentType returns that of problems.
func (p *refusal) ContentType(string) string { return problemMediaType }

// MarshalJSON writes the document.
func (p *refusal) MarshalJSON() ([]byte, error) {
	return json.Marshal(problemDocument{
		Type: problemType + p.Code, Title: http.StatusText(p.Status), Status: p.Status, Detail: p.Detail,
		Instance: problemInstance + p.instance, Code: p.Code, Hint: p.Hint, Errors: p.Fields,
	})
}

// retryAfter adds the header, in whole seconds and at least one.
func (p *refusal) retryAfter(d time.Duration) *refusal {
	p.header = http.Header{"Retry-After": {strconv.Itoa(max(1, int((d+time.Second-1)/time.Second)))}}
	return p
}

// refuse answers with a problem.
func (s *Server) refuse(a http.ResponseWriter, r *http.Request, p *refusal) {
	p.instance = visitOf(r.Context()).id
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // texts only
	}
	for k, v := range p.header {
		a.Header()[k] = v
	}
	a.Header().Set("Content-Type", problemMediaType)
	a.WriteHeader(p.Status)
	_, _ = a.Write(append(body, '\n')) // whoever asked may be gone
}

// failure makes what is sent of an error of the Backend.
func (s *Server) failure(ctx context.Context, err error) *refusal {
	v := visitOf(ctx)
	out := s.refusalOf(ctx, err)
	out.instance = v.id
	if out.Status == http.StatusInternalServerError {
		s.log.Error("a request failed", "request", v.id, "route", v.pattern, "key", v.caller.KeyID, "err", err)
	}
	return out
}

func (s *Server) refusalOf(ctx context.Context, err error) *refusal {
	var r *refusal
	var p *Problem
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &p):
		return problemOf(p)
	case errors.Is(err, context.DeadlineExceeded):
		return unavailable(codeTimeout, "the process did not get it done in time", "look at /v1/status, then repeat the request")
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return unavailable(codeStopping, "the request was given up, or the process is stopping", hintRepeatAfterRestart)
	default:
		return errInternal()
	}
}

// problemOf holds a Backend to its promise: a Problem without a status that is one has failed.
func problemOf(p *Problem) *refusal {
	if p.Status < 400 || p.Status > 599 || p.Code == "" {
		return errInternal()
	}
	out := &refusal{Problem: *p}
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		return out.retryAfter(retryWhileRunning)
	}
	return out
}

func unavailable(code, detail, hint string) *refusal {
	return (&refusal{Problem: Problem{Status: http.StatusServiceUnavailable, Code: code, Detail: detail, Hint: hint}}).retryAfter(retryWhileRunning)
}

func errInternal() *refusal {
	return &refusal{Problem: Problem{Status: http.StatusInternalServerError, Code: codeInternal, Detail: "the process failed to answer", Hint: hintQuoteRequestInstance}}
}

// invalid is a problem with fields.
func invalid(fields ...FieldProblem) *refusal {
	detail := "the request is not valid"
	if len(fields) > 0 {
		detail = fields[0].Location + " " + fields[0].Message
	}
	return &refusal{Problem: Problem{Status: http.StatusUnprocessableEntity, Code: codeInvalid, Detail: detail, Hint: hintSeeDocument, Fields: fields}}
}

// fieldProblem is a problem with one field.
func fieldProblem(location, message string) *refusal {
	return invalid(FieldProblem{Location: location, Message: message})
}

// transform turns an error that huma has found into a Problem. What reaches it has passed every check of this package, so it is a
// difference between the two; the values that huma quotes are left out.
func transform(ctx huma.Context, _ string, v any) (any, error) {
	model, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	out := &refusal{Problem: Problem{Status: model.Status, Code: codeInvalid, Detail: model.Detail, Hint: hintSeeDocument}, instance: visitOf(ctx.Context()).id}
	if model.Status >= http.StatusInternalServerError {
		out.Code = codeInternal
	}
	for _, e := range model.Errors {
		out.Fields = append(out.Fields, FieldProblem{Location: e.Location, Message: e.Message})
	}
	return out, nil
}
