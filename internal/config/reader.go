package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// reader walks a file's nodes, makes values of them, and gathers what is wrong.
// A value that is wrong reads as the zero value; the walk goes on.
type reader struct {
	file  string
	lines []string
	env   func(string) (string, bool)
	keys  map[string]Key
	errs  Errors
	// hidden are the texts of secret values in the file, masked in excerpts.
	hidden []string
	// files are those that the configuration names; resolve looks at them.
	files []file
	// read and given note, by path, the keys that were asked for and those that
	// were in the file, so that a test can hold them against Keys.
	read, given map[string]bool
}

// value is what stands at one key, or in one element of a list.
type value struct {
	place
	path  string // as in Key.Path
	node  ast.Node
	given bool // in the file, not a default
}

// field is a key of a mapping and what reads its value.
type field struct {
	name string
	read func(value)
}

func newReader(file string, src []byte, env func(string) (string, bool)) *reader {
	r := &reader{file: file, env: env, keys: map[string]Key{}, read: map[string]bool{}, given: map[string]bool{}}
	r.lines = strings.Split(strings.ReplaceAll(string(src), "\r\n", "\n"), "\n")
	for _, k := range Keys() {
		r.keys[k.Path] = k
	}
	return r
}

// fail notes an error at v.
func (r *reader) fail(v value, hint, message string, args ...any) {
	r.errs = append(r.errs, v.error(fmt.Sprintf(message, args...), hint))
}

// failed reports whether an error was noted at v, or at an element of it.
func (r *reader) failed(v value) bool {
	for _, e := range r.errs {
		if e.Key == v.key || strings.HasPrefix(e.Key, v.key+"[") || strings.HasPrefix(e.Key, v.key+".") {
			return true
		}
	}
	return false
}

// object reads the keys of a mapping with fields, in their order, and those
// that are absent from their defaults. A value without a node has no keys.
func (r *reader) object(v value, fields ...field) {
	given, ok := r.entries(v, fields)
	if !ok {
		return
	}
	for _, f := range fields {
		child, ok := given[f.name]
		if !ok {
			child, ok = r.absent(v, f.name)
		}
		r.read[joinPath(v.path, f.name)] = true
		if ok {
			f.read(child)
		}
	}
}

// entries returns what is given of a mapping, by name.
func (r *reader) entries(v value, fields []field) (map[string]value, bool) {
	given := map[string]value{}
	if v.node == nil {
		return given, true
	}
	m, ok := v.node.(ast.MapNode)
	if !ok {
		r.fail(v, "", "wants keys below it, not %s", describe(v.node))
		return nil, false
	}
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	for entries := m.MapRange(); entries.Next(); {
		name, at := entries.Key().String(), entries.Key().GetToken()
		if key, ok := entries.Key().(*ast.StringNode); ok {
			name = key.Value
		}
		child := value{r.at(at, joinPath(v.key, name)), joinPath(v.path, name), entries.Value(), true}
		if !slices.Contains(names, name) {
			child.key = v.key
			r.fail(child, didYouMean(name, names), "unknown key %q", name)
			continue
		}
		given[name] = child
		r.given[child.path] = true
	}
	return given, true
}

// absent returns the default for a key below v. It is false if there is none.
func (r *reader) absent(v value, name string) (value, bool) {
	key := r.keys[joinPath(v.path, name)]
	child := value{place: v.place, path: key.Path}
	child.key = joinPath(v.key, name)
	switch {
	case key.Required:
		r.fail(child, "it takes: "+key.Value, "is missing")
		return child, false
	case key.holder:
		return child, true
	case key.Default == "":
		return child, false
	}
	file, err := parser.ParseBytes([]byte(key.Default), 0)
	if err != nil {
		r.fail(child, "", "its default %q is not YAML", key.Default)
		return child, false
	}
	child.node = file.Docs[0].Body
	return child, true
}

// list reads each element of a list. It is false if v is not a list.
func (r *reader) list(v value, read func(value)) bool {
	if v.node == nil {
		return true
	}
	seq, ok := v.node.(*ast.SequenceNode)
	if !ok {
		r.fail(v, "put it in [ ], or give each element a line that begins with -", "wants a list, not %s", describe(v.node))
		return false
	}
	for i, node := range seq.Values {
		p := v.place
		if v.given {
			p = r.at(firstToken(node), "")
		}
		p.key = fmt.Sprintf("%s[%d]", v.key, i)
		path := v.path
		if r.keys[v.path].holder {
			path += "[]"
		}
		read(value{p, path, node, v.given})
	}
	return true
}

// at returns the place of a token, with its line made safe to show.
func (r *reader) at(t *token.Token, key string) place {
	p := place{file: r.file, key: key, line: 1, column: 1}
	if t == nil || t.Position == nil {
		return p
	}
	p.line, p.column = max(1, t.Position.Line), max(1, t.Position.Column)
	if p.line <= len(r.lines) {
		line := []rune(r.lines[p.line-1])
		p.column = min(p.column, len(line)+1)
		p.excerpt = r.safe(string(line))
		// What is masked before the column moves the mark.
		p.mark = min(utf8.RuneCountInString(r.safe(string(line[:p.column-1]))), utf8.RuneCountInString(p.excerpt))
	}
	return p
}

// maxExcerpt is how much of a long line an error shows, in bytes.
const maxExcerpt = 160

// safe returns a line without what must not be shown.
func (r *reader) safe(line string) string {
	for _, text := range r.hidden {
		line = strings.ReplaceAll(line, text, "***")
	}
	line = strings.ToValidUTF8(strings.Map(printable, line), "�")
	if len(line) > maxExcerpt {
		line = strings.ToValidUTF8(line[:maxExcerpt], "") + "…"
	}
	return line
}

// printable replaces what would move the terminal's cursor.
func printable(c rune) rune {
	if c < ' ' || c == 0x7f {
		return ' '
	}
	return c
}

// keyOfLine is what may be shown of a line whose value is not understood.
var keyOfLine = regexp.MustCompile(`^\s*(- +)?[A-Za-z_]+:`)

// hide finds the secret values, wherever they stand, so that no excerpt shows
// them. It goes by the last word of the path, so that it also finds those that
// stand in the wrong place.
func (r *reader) hide(node ast.Node) {
	names := map[string]bool{}
	for path, key := range r.keys {
		if key.secret {
			names[path[strings.LastIndexByte(path, '.')+1:]] = true
		}
	}
	ast.Walk(finder{names, &r.hidden}, node)
	// A text may begin with another one.
	slices.SortFunc(r.hidden, func(a, b string) int { return len(b) - len(a) })
}

// finder gathers the texts below keys that have certain names.
type finder struct {
	names map[string]bool
	found *[]string
}

// Visit implements ast.Visitor.
func (f finder) Visit(node ast.Node) ast.Visitor {
	entry, ok := node.(*ast.MappingValueNode)
	if !ok {
		return f
	}
	if key, ok := entry.Key.(*ast.StringNode); ok && f.names[key.Value] {
		ast.Walk(texts{f.found}, entry.Value)
		return nil
	}
	return f
}

// minHidden keeps a slip such as "secrets: [a]" from masking each a in the
// file. Nothing that is a secret, a DSN or a URL is shorter.
const minHidden = 4

// texts gathers the texts of all scalars, as they stand in the file.
type texts struct{ found *[]string }

// Visit implements ast.Visitor.
func (t texts) Visit(node ast.Node) ast.Visitor {
	if literal, ok := node.(*ast.LiteralNode); ok {
		node = literal.Value
	}
	if _, ok := node.(ast.ScalarNode); ok && node.GetToken() != nil {
		// A text of several lines stands in none of them as a whole.
		for line := range strings.Lines(node.GetToken().Value + "\n" + node.GetToken().Origin) {
			if line = strings.Trim(line, " \t\r\n\"'"); len(line) >= minHidden {
				*t.found = append(*t.found, line)
			}
		}
	}
	return t
}

// firstToken returns the token that a node begins with; that of a mapping
// itself is the first colon.
func firstToken(node ast.Node) *token.Token {
	if m, ok := node.(ast.MapNode); ok {
		if flow, ok := node.(*ast.MappingNode); ok && flow.IsFlowStyle {
			return flow.Start
		}
		if entries := m.MapRange(); entries.Next() {
			return entries.Key().GetToken()
		}
	}
	return node.GetToken()
}

// describe names a kind of node for people.
func describe(node ast.Node) string {
	switch node.(type) {
	case *ast.NullNode:
		return "nothing (remove the key, or give it a value)"
	case *ast.SequenceNode:
		return "a list"
	case ast.MapNode:
		return "keys below it"
	case *ast.IntegerNode, *ast.FloatNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return "an anchor or alias: write the value out"
	case *ast.TagNode:
		return "a tag: write the value alone"
	}
	return "this kind of value"
}

// joinPath appends a key to a path.
func joinPath(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
