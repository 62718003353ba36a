package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing that is wrong in a file.
type Error struct {
	File    string
	Line    int // from 1; 0 if the whole file is meant
	Column  int // from 1, in characters
	Key     string
	Message string
	Hint    string // what to type; may be empty

	excerpt string // the line, without anything secret; may be empty
	mark    int    // how many characters of the excerpt stand before the column
}

// Error gives the place, the key and the message on the first line, then the
// line itself with a mark below the column, then the hint.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	if e.Key != "" {
		b.WriteString(": " + e.Key)
	}
	b.WriteString(": " + e.Message)
	if e.excerpt != "" {
		fmt.Fprintf(&b, "\n%6d | %s\n       | %s^", e.Line, e.excerpt, strings.Repeat(" ", e.mark))
	}
	if e.Hint != "" {
		b.WriteString("\n  hint: " + e.Hint)
	}
	return b.String()
}

// Errors is everything that one Load or CheckTypes found, in the order of the
// file. It is never empty when it is returned as an error.
type Errors []*Error

// Error gives each error, separated by empty lines, and their number if there
// are several.
func (e Errors) Error() string {
	texts := make([]string, 0, len(e)+1)
	for _, one := range e {
		texts = append(texts, one.Error())
	}
	if len(e) > 1 {
		texts = append(texts, fmt.Sprintf("%d errors in the configuration", len(e)))
	}
	return strings.Join(texts, "\n\n")
}

// Unwrap returns each error, for errors.As.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

// err returns e sorted, or nil if there is none in it.
func (e Errors) err() error {
	if len(e) == 0 {
		return nil
	}
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return e
}

// place is where in a file something stands, and what may be shown of it.
type place struct {
	file         string
	line, column int
	key          string
	excerpt      string
	mark         int
}

// error returns an Error about this place.
func (p place) error(message, hint string) *Error {
	return &Error{p.file, p.line, p.column, p.key, message, hint, p.excerpt, p.mark}
}
