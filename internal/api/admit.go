package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// maxBody bounds the body of a request, in bytes.
const maxBody = 64 << 10

// admit lets a request through to its operation once everything about it is known to be right.
func (s *Server) admit(rt route, op *huma.Operation, next http.HandlerFunc) http.HandlerFunc {
	patterns := &patterns{}
	return func(w http.ResponseWriter, r *http.Request) {
		body, p := s.examine(rt, op, patterns, w, r)
		if p != nil {
			s.refuse(w, r, p)
			return
		}
		if !rt.streams() {
			ctx, cancel := context.WithTimeout(r.Context(), cmpTimeout(rt.timeout))
			defer cancel()
			r = r.WithContext(ctx)
		}
		if key := r.Header.Get(headerIdempotencyKey); rt.repeatable() && key != "" {
			s.once(w, r, key, body, next)
			return
		}
		next(w, r)
	}
}

func cmpTimeout(d time.Duration) time.Duration {
	if d == 0 {
		return usualTimeout
	}
	return d
}

// examine checks a request, and leaves its body to be read again.
func (s *Server) examine(rt route, op *huma.Operation, p *patterns, w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	if p := rt.allowed(visitOf(r.Context()).caller); p != nil {
		return nil, p
	}
	if !acceptable(r.Header.Values("Accept"), rt.mediaType()) {
		return nil, &refusal{Problem: Problem{Status: http.StatusNotAcceptable, Code: codeNotAcceptable, Detail: "the answer is " + rt.mediaType() + ", which the request does not accept", Hint: "send Accept: " + rt.mediaType() + ", or no Accept"}}
	}
	c := &checker{schemas: s.api.OpenAPI().Components.Schemas, patterns: p}
	if p := c.parameters(op, r); p != nil {
		return nil, p
	}
	body, problem := readBody(w, r)
	if problem != nil {
		return nil, problem
	}
	if problem := c.body(op, r, body); problem != nil {
		return nil, problem
	}
	if len(c.fields) > 0 {
		return nil, invalid(c.fields...)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return body, nil
}

// readBody reads a whole body within its limits of time and size.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	control := http.NewResponseController(w)
	if r.Body == nil || r.Body == http.NoBody {
		_ = control.SetReadDeadline(time.Time{}) // that of the server would end a stream
		return nil, nil
	}
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // writers of tests have no deadlines
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	_ = control.SetReadDeadline(time.Time{})
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &refusal{Problem: Problem{Status: http.StatusRequestEntityTooLarge, Code: codeTooLarge, Detail: fmt.Sprintf("the body has more than %d bytes", maxBody), Hint: "no request here needs so much"}}
	case err != nil:
		return nil, malformed("the body could not be read to its end", "send as many bytes as Content-Length says")
	}
	return body, nil
}

func malformed(detail, hint string) *refusal {
	return &refusal{Problem: Problem{Status: http.StatusBadRequest, Code: codeMalformed, Detail: detail, Hint: hint}}
}

func (c *checker) body(op *huma.Operation, r *http.Request, body []byte) *refusal {
	switch {
	case op.RequestBody == nil && len(body) > 0:
		c.fail("body", "is too much: this request has none")
		return nil
	case len(body) == 0:
		if op.RequestBody != nil && op.RequestBody.Required {
			c.fail("body", "is missing; send a JSON object")
		}
		return nil
	}
	if p := jsonBody(r); p != nil {
		return p
	}
	v, p := readJSON(body)
	if p != nil {
		return p
	}
	c.value(op.RequestBody.Content[jsonMediaType].Schema, "body", v)
	return nil
}

// jsonBody refuses bodies that do not say that they are JSON as it is.
func jsonBody(r *http.Request) *refusal {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	encoding := strings.ToLower(r.Header.Get("Content-Encoding"))
	if err == nil && media == jsonMediaType && (charset == "" || charset == "utf-8") && (encoding == "" || encoding == "identity") {
		return nil
	}
	return &refusal{
		Problem: Problem{Status: http.StatusUnsupportedMediaType, Code: codeUnsupportedMedia, Detail: "the body is not declared as plain JSON", Hint: "send Content-Type: application/json, in UTF-8 and without Content-Encoding"},
		header:  http.Header{"Accept": {jsonMediaType}},
	}
}

// parameters checks those of the path, the query and the headers. What cannot be read at all is a problem of its own.
func (c *checker) parameters(op *huma.Operation, r *http.Request) *refusal {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return malformed("the query is not percent-encoded", "write % as %25, & as %26 and ; as %3B")
	}
	var known []string
	for _, p := range op.Parameters {
		at := p.In + "." + p.Name
		switch p.In {
		case "path":
			c.parameter(p, at, []string{r.PathValue(p.Name)})
		case "query":
			known = append(known, p.Name)
			c.parameter(p, at, query[p.Name])
		case "header":
			c.parameter(p, at, r.Header.Values(p.Name))
		}
	}
	slices.Sort(known)
	for _, name := range sortedKeys(query) {
		if !slices.Contains(known, name) {
			c.fail("query."+shortName(strings.ToValidUTF8(name, "?")), "is not known here; %s", didYouMean(name, known))
		}
	}
	return nil
}

func sortedKeys(q url.Values) []string {
	var out []string
	for k := range q {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (c *checker) parameter(p *huma.Param, at string, given []string) {
	switch {
	case len(given) == 0:
		if p.Required {
			c.fail(at, "is missing")
		}
	case p.Schema.Type == huma.TypeArray:
		list := make([]any, len(given))
		for i, g := range given {
			list[i] = g
		}
		c.value(p.Schema, at, list)
	case len(given) > 1:
		c.fail(at, "is given %d times; give it once", len(given))
	case p.Schema.Type == huma.TypeInteger:
		c.integerText(p.Schema, at, given[0])
	default:
		c.value(p.Schema, at, given[0])
	}
}

func (c *checker) integerText(s *huma.Schema, at, t string) {
	if t == "" || strings.Trim(t, "0123456789") != "" {
		c.fail(at, "is not a whole number in digits")
		return
	}
	c.integer(s, at, json.Number(t))
}
