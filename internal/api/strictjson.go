package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"
)

// maxDepth of nesting; no request needs more than three.
const maxDepth = 16

// readJSON reads a document more strictly than encoding/json: each name once, valid Unicode only, nothing after the end. Numbers
// stay texts.
func readJSON(body []byte) (any, *refusal) {
	if !utf8.Valid(body) {
		return nil, fieldProblem("body", "is not valid UTF-8")
	}
	var whole any
	var syntax *json.SyntaxError
	switch err := json.Unmarshal(body, &whole); {
	case errors.As(err, &syntax):
		return nil, malformedJSON(body, syntax)
	case err != nil: // a number that no float64 holds; the walk below keeps it as text
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	w := walker{d: d}
	v := w.value("body", 0)
	if len(w.fields) > 0 {
		return nil, invalid(w.fields...)
	}
	return v, nil
}

func malformedJSON(body []byte, err *json.SyntaxError) *refusal {
	before := body[:min(max(err.Offset-1, 0), int64(len(body)))]
	line := bytes.Count(before, []byte{'\n'}) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return &refusal{Problem: Problem{
		Status: http.StatusBadRequest, Code: codeMalformed,
		Detail: fmt.Sprintf("the body is not JSON: line %d, column %d: %s", line, column, strings.ToValidUTF8(err.Error(), "?")),
		Hint:   "send a JSON object",
		Fields: []FieldProblem{{Location: "body", Message: fmt.Sprintf("is not JSON at line %d, column %d", line, column)}},
	}}
}

// walker reads values whose syntax is known to be right.
type walker struct {
	d      *json.Decoder
	fields []FieldProblem
}

func (w *walker) fail(at, message string) {
	if len(w.fields) < maxFieldProblems {
		w.fields = append(w.fields, FieldProblem{Location: at, Message: message})
	}
}

func (w *walker) value(at string, depth int) any {
	if depth > maxDepth {
		w.fail("body", "is nested too deeply")
		return nil
	}
	t, err := w.d.Token()
	if err != nil || len(w.fields) >= maxFieldProblems {
		return nil
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return w.object(at, depth)
		}
		return w.list(at, depth)
	case string:
		w.text(at, t)
		return t
	default:
		return t
	}
}

func (w *walker) object(at string, depth int) any {
	out := map[string]any{}
	for w.d.More() && len(w.fields) < maxFieldProblems {
		t, err := w.d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return out
		}
		inner := at + "." + shortName(name)
		w.text(inner, name)
		if _, twice := out[name]; twice {
			w.fail(inner, "stands there twice")
		}
		out[name] = w.value(inner, depth+1)
	}
	_, _ = w.d.Token() // the end, which is there
	return out
}

func (w *walker) list(at string, depth int) any {
	out := []any{}
	for w.d.More() && len(w.fields) < maxFieldProblems {
		out = append(out, w.value(fmt.Sprintf("%s[%d]", at, len(out)), depth+1))
	}
	_, _ = w.d.Token() // the end, which is there
	return out
}

func (w *walker) text(at, s string) {
	if m := unusable(s); m != "" {
		w.fail(at, m)
	}
}

// unusable says what a text has that none may have. A broken escape reads as U+FFFD.
func unusable(s string) string {
	switch {
	case !utf8.ValidString(s), strings.ContainsRune(s, utf8.RuneError):
		return "has a character that is not valid Unicode"
	case strings.ContainsRune(s, 0):
		return "has a NUL character"
	}
	return ""
}

// shortName keeps the name of a field that somebody made up within bounds.
func shortName(name string) string {
	const most = 64
	if utf8.RuneCountInString(name) <= most {
		return name
	}
	return string([]rune(name)[:most]) + "…"
}
