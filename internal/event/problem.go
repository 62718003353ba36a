package event

import (
	"fmt"
	"github.com/rowhook/rowhook/internal/spelling"
	"slices"
	"strings"
)

// Problem is one thing wrong with the definition of an event type, with the place to mend it.
type Problem struct {
	// File, and Line and Column from 1, in characters; Line is 0 for a definition that was not read from a file.
	File         string
	Line, Column int
	// Message says what is wrong, and what to write instead where that is known.
	Message string
	// Excerpt shows the line and points at the column; empty where there is no line.
	Excerpt string
}

// Error returns "file:line:column: message", followed by the excerpt on lines of its own.
func (p *Problem) Error() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	}
	b.WriteString(p.Message)
	if p.Excerpt != "" {
		b.WriteString("\n" + p.Excerpt)
	}
	return b.String()
}

// place is a position in a file, from 1; the zero place is nowhere.
type place struct{ line, column int }

// source is a file that definitions came from.
type source struct {
	file  string
	lines []string
}

func newSource(file string, data []byte) *source {
	return &source{file: file, lines: strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")}
}

func (s *source) problem(at place, format string, args ...any) *Problem {
	p := &Problem{Message: fmt.Sprintf(format, args...)}
	if s == nil || at.line == 0 {
		return p
	}
	p.File, p.Line, p.Column = s.file, at.line, max(at.column, 1)
	p.Excerpt = s.excerpt(p.Line, p.Column)
	return p
}

const excerptWidth = 160

func (s *source) excerpt(line, column int) string {
	if line > len(s.lines) {
		return ""
	}
	text := []rune(s.lines[line-1])
	if len(text) > excerptWidth {
		return ""
	}
	pad := make([]rune, 0, column)
	for i := range min(column-1, len(text)) {
		// A tab moves the mark exactly as far as it moves the text above it.
		if text[i] == '\t' {
			pad = append(pad, '\t')
			continue
		}
		pad = append(pad, ' ')
	}
	return fmt.Sprintf("%6d | %s\n       | %s^", line, string(text), string(pad))
}

// didYouMean returns `; did you mean "x"?` for the valid word nearest to got, or the list of valid words.
func didYouMean(got string, valid []string) string {
	if near := spelling.Nearest(got, valid); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if len(valid) == 0 || len(valid) > 20 {
		return ""
	}
	return "; valid are " + strings.Join(valid, ", ")
}

func duplicates(words []string) []string {
	sorted := slices.Sorted(slices.Values(words))
	var out []string
	for i := 1; i < len(sorted); i++ {
		if sorted[i] == sorted[i-1] && !slices.Contains(out, sorted[i]) {
			out = append(out, sorted[i])
		}
	}
	return out
}
