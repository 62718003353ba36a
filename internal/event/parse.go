package event

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a file of event types. The YAML parser recurses, and a stack that overflows cannot be caught.
const (
	maxFileSize = 1 << 20
	maxNesting  = 64
)

// Parse reads event types from YAML. The error joins a *Problem for everything that is wrong, not only for the first, and
// includes what Compile would find; the definitions are complete only if it is nil. file is used in messages alone.
func Parse(file string, data []byte) ([]Definition, error) {
	r := &reader{src: newSource(file, data)}
	if root := r.parse(data); root != nil {
		r.file(root)
	}
	for i := range r.defs {
		c := compiler{def: &r.defs[i]}
		c.compile()
		r.problems = append(r.problems, c.problems...)
	}
	return r.defs, errors.Join(r.problems...)
}

// reader walks the syntax tree of one file and collects what is wrong with it.
type reader struct {
	src      *source
	defs     []Definition
	problems []error
}

func (r *reader) report(at place, format string, args ...any) {
	r.problems = append(r.problems, r.src.problem(at, format, args...))
}

// parse returns the root of the only document, or nil after it reported why there is none.
func (r *reader) parse(data []byte) (root ast.Node) {
	if err := checkBounds(data); err != nil {
		r.problems = append(r.problems, fmt.Errorf("%s: %w", r.src.file, err))
		return nil
	}
	// The YAML parser is foreign code over foreign bytes: a panic of it is a syntax error of the file.
	defer func() {
		if p := recover(); p != nil {
			root = nil
			r.problems = append(r.problems, fmt.Errorf("%s: not valid YAML: the parser stopped with: %v", r.src.file, p))
		}
	}()
	f, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return nil
	}
	var docs []ast.Node
	for _, d := range f.Docs {
		if d.Body != nil {
			docs = append(docs, d.Body)
		}
	}
	switch {
	case len(docs) == 0:
		r.report(place{1, 1}, `the file is empty; start it with "types:"`)
		return nil
	case len(docs) > 1:
		r.report(at(docs[1]), "a second YAML document; put all types under one types: and remove the --- line")
		return nil
	}
	return docs[0]
}

func checkBounds(data []byte) error {
	if len(data) > maxFileSize {
		return fmt.Errorf("the file has %d bytes, more than %d; split it", len(data), maxFileSize)
	}
	if !utf8.Valid(data) {
		return errors.New("the file is not UTF-8; save it as UTF-8")
	}
	for i, line := range strings.Split(string(data), "\n") {
		// Each level of nesting needs one of these characters; counting them all is crude, and no honest line comes near.
		if n := strings.Count(line, "[") + strings.Count(line, "{") + strings.Count(line, "- ") + strings.Count(line, "? ") +
			strings.Count(line, ": ") + strings.Count(line, "&") + strings.Count(line, "!"); n > 4*maxNesting {
			return fmt.Errorf("line %d has %d brackets, dashes and colons, more than %d; break it up", i+1, n, 4*maxNesting)
		}
	}
	if n := bracketDepth(data); n > maxNesting {
		return fmt.Errorf("lists and maps are nested %d deep, more than %d", n, maxNesting)
	}
	return nil
}

func bracketDepth(data []byte) int {
	depth, deepest := 0, 0
	for _, c := range data {
		switch c {
		case '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ']', '}':
			depth = max(depth-1, 0)
		}
	}
	return deepest
}

func (r *reader) syntax(err error) {
	var se yaml.Error
	if !errors.As(err, &se) {
		r.problems = append(r.problems, fmt.Errorf("%s: not valid YAML: %w", r.src.file, err))
		return
	}
	var p place
	if t := se.GetToken(); t != nil {
		p = tokenPlace(t)
	}
	r.report(p, "not valid YAML: %s", se.GetMessage())
}

func tokenPlace(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{t.Position.Line, t.Position.Column}
}

func at(n ast.Node) place {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && !m.IsFlowStyle {
		return at(m.Values[0])
	}
	if m, ok := n.(*ast.MappingValueNode); ok {
		return at(m.Key)
	}
	if n == nil {
		return place{}
	}
	return tokenPlace(n.GetToken())
}

type pair struct {
	name  string
	at    place
	value ast.Node
}

// pairs returns the entries of a mapping; what says what the mapping is, for messages.
func (r *reader) pairs(n ast.Node, what string) ([]pair, bool) {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		r.report(at(n), "%s is %s; write keys and values", what, describe(n))
		return nil, false
	}
	var out []pair
	for _, v := range values {
		key, ok := v.Key.(ast.Node)
		if !ok || v.Key.IsMergeKey() {
			r.report(at(v), "merge keys are not supported; write the keys out")
			continue
		}
		name, ok := text(key)
		if !ok {
			r.report(at(key), "a key is %s; write a word", describe(key))
			continue
		}
		if i := slices.IndexFunc(out, func(p pair) bool { return p.name == name }); i >= 0 {
			r.report(at(key), "%s: %q stands twice, first on line %d; remove one", what, name, out[i].at.line)
			continue
		}
		out = append(out, pair{name, at(key), v.Value})
	}
	return out, true
}

func text(n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	}
	return "", false
}

func describe(n ast.Node) string {
	switch n.(type) {
	case nil, *ast.NullNode:
		return "empty"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a map"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.AnchorNode, *ast.AliasNode:
		return "an anchor or alias, which is not supported"
	case *ast.TagNode:
		return "a tag, which is not supported"
	case *ast.BoolNode:
		return "a boolean"
	default:
		return "a number"
	}
}

func (r *reader) file(root ast.Node) {
	top, ok := r.pairs(root, "the file")
	if !ok {
		return
	}
	found := false
	for _, p := range top {
		if p.name != "types" {
			r.report(p.at, "unknown key %q%s", p.name, didYouMean(p.name, []string{"types"}))
			continue
		}
		found = true
		types, ok := r.pairs(p.value, "types")
		if !ok {
			continue
		}
		for _, t := range types {
			r.definition(t)
		}
	}
	if !found && len(top) == 0 {
		r.report(place{1, 1}, `the file has no "types:"`)
	}
}
