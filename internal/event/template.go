package event

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/rowhook/rowhook/internal/change"
)

// maxRendered bounds a subject or tenant, in bytes; both travel in headers and indexes.
const maxRendered = 1024

// template is text with columns in braces: "sheets/{sheet_id}". {{ and }} stand for the braces themselves.
type template struct{ parts []part }

// part is a column's name, or literal text if the name is empty.
type part struct{ literal, column string }

// templateError is an error at a byte offset of a template.
type templateError struct {
	offset int
	msg    string
}

func (e *templateError) Error() string { return e.msg }

func parseTemplate(s string) (template, *templateError) {
	var t template
	var lit strings.Builder
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case (c == '{' || c == '}') && i+1 < len(s) && s[i+1] == c:
			lit.WriteByte(c)
			i += 2
		case c == '}':
			return t, &templateError{i, "} without {; write }} for a brace"}
		case c == '{':
			end := strings.IndexAny(s[i+1:], "{}")
			if end < 0 || s[i+1+end] == '{' {
				return t, &templateError{i, "{ is not closed; write {column}, or {{ for a brace"}
			}
			name := s[i+1 : i+1+end]
			if name == "" || strings.TrimSpace(name) != name {
				return t, &templateError{i, fmt.Sprintf("{%s} names no column; write {column} without spaces", name)}
			}
			if lit.Len() > 0 {
				t.parts = append(t.parts, part{literal: lit.String()})
				lit.Reset()
			}
			t.parts = append(t.parts, part{column: name})
			i += end + 2
		default:
			lit.WriteByte(c)
			i++
		}
	}
	if lit.Len() > 0 {
		t.parts = append(t.parts, part{literal: lit.String()})
	}
	return t, nil
}

// columns returns the names that the template reads.
func (t template) columns() []string {
	var out []string
	for _, p := range t.parts {
		if p.column != "" {
			out = append(out, p.column)
		}
	}
	return out
}

// boundTemplate is a template whose columns are resolved to indexes of a table. It remembers its last text, because the
// rows of one transaction mostly share their subject.
type boundTemplate struct {
	field   string
	parts   []part
	indexes []int
	last    string
}

func (t template) bind(field string, table *change.Table) boundTemplate {
	b := boundTemplate{field: field, parts: t.parts}
	for _, p := range t.parts {
		i := -1
		if p.column != "" {
			i = table.Index(p.column)
		}
		b.indexes = append(b.indexes, i)
	}
	return b
}

// render returns the text for a row. scratch is returned for the next call.
func (b *boundTemplate) render(row []change.Value, scratch []byte) (string, []byte, *Error) {
	if len(b.parts) == 0 {
		return "", scratch, nil
	}
	scratch = scratch[:0]
	for n, p := range b.parts {
		if p.column == "" {
			scratch = append(scratch, p.literal...)
			continue
		}
		v := row[b.indexes[n]]
		switch v.State {
		case change.Absent:
			return "", scratch, &Error{Code: CodeColumnAbsent, Column: p.column, Message: b.field + " needs the column " + p.column + ", which the row image did not carry"}
		case change.Null:
			return "", scratch, &Error{Code: CodeTemplate, Column: p.column, Message: b.field + " needs the column " + p.column + ", which is NULL"}
		}
		if scratch = appendText(scratch, v); len(scratch) > maxRendered {
			break
		}
	}
	switch {
	case len(scratch) == 0:
		return "", scratch, &Error{Code: CodeTemplate, Message: b.field + " came out empty"}
	case len(scratch) > maxRendered:
		return "", scratch, &Error{Code: CodeTemplate, Message: fmt.Sprintf("%s came out longer than %d bytes", b.field, maxRendered)}
	}
	if string(scratch) != b.last {
		b.last = string(scratch)
	}
	return b.last, scratch, nil
}

// appendText appends a value as it reads in a subject: binary values in lower-case hex, all others as in JSON without quotes.
func appendText(p []byte, v change.Value) []byte {
	switch v.Kind {
	case change.Int:
		return strconv.AppendInt(p, v.Int(), 10)
	case change.Uint:
		return strconv.AppendUint(p, v.Uint(), 10)
	case change.Float:
		return strconv.AppendFloat(p, float64(v.Float()), 'g', -1, 32)
	case change.Double:
		return strconv.AppendFloat(p, v.Double(), 'g', -1, 64)
	case change.Bytes, change.Geometry, change.Vector:
		b := v.Bytes()
		return hex.AppendEncode(p, b[:min(len(b), maxRendered)])
	default:
		b := v.Bytes()
		return append(p, b[:min(len(b), maxRendered+1)]...)
	}
}
