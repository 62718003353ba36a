package event

import (
	"fmt"
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
	if near := nearest(got, valid); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if len(valid) == 0 || len(valid) > 20 {
		return ""
	}
	return "; valid are " + strings.Join(valid, ", ")
}

// nearest returns the word that a typo most likely meant, or "".
func nearest(got string, valid []string) string {
	best, bestDistance := "", len(got)/3+2
	for _, w := range valid {
		if d := distance(strings.ToLower(got), strings.ToLower(w)); d < bestDistance {
			best, bestDistance = w, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap with a neighbour to turn a into b.
func distance(a, b string) int {
	const tooLong = 64
	if len(a) > tooLong || len(b) > tooLong {
		return tooLong
	}
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
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
