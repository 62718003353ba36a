package event

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
	"github.com/rowhook/rowhook/internal/spelling"
)

// definition reads one entry of types.
func (r *reader) definition(t pair) {
	d := Definition{Name: t.name, origin: origin{
		src:    r.src,
		fields: map[string]place{"": t.at},
		items:  map[string][]place{},
		masks:  map[string]maskPlace{},
		inside: map[string]func(place) place{},
		broken: map[string]bool{},
	}}
	fields, ok := r.pairs(t.value, "type "+t.name)
	if !ok {
		return
	}
	for _, f := range fields {
		r.field(&d, f)
	}
	r.defs = append(r.defs, d)
}

func (r *reader) field(d *Definition, f pair) {
	d.origin.fields[f.name] = at(f.value)
	switch f.name {
	case fieldTable:
		d.Table = r.text(d, f)
	case fieldSubject:
		d.Subject = r.text(d, f)
	case fieldTenant:
		d.Tenant = r.text(d, f)
	case fieldWhen:
		d.When = r.text(d, f)
	case fieldOn:
		r.ops(d, f)
	case fieldColumns:
		d.Columns = r.list(d, f)
	case fieldKey:
		d.Key = r.list(d, f)
	case fieldData:
		d.Data = r.list(d, f)
	case fieldMask:
		r.masks(d, f)
	default:
		r.report(f.at, "type %s: unknown key %q%s", d.Name, f.name, didYouMean(f.name, fieldNames()))
		// The key that was meant is not reported as missing on top of it.
		d.origin.broken[spelling.Nearest(f.name, fieldNames())] = true
	}
}

func (r *reader) text(d *Definition, f pair) string {
	s, ok := text(f.value)
	d.origin.inside[f.name] = r.inside(f.value)
	if !ok {
		r.report(at(f.value), "type %s: %s is %s; write text, in quotes if need be", d.Name, f.name, describe(f.value))
		d.origin.broken[f.name] = true
		return ""
	}
	if strings.TrimSpace(s) == "" {
		r.report(at(f.value), "type %s: %s is empty; fill it or remove the key", d.Name, f.name)
		d.origin.broken[f.name] = true
	}
	return s
}

func (r *reader) list(d *Definition, f pair) []string {
	seq, ok := f.value.(*ast.SequenceNode)
	if !ok {
		r.report(at(f.value), "type %s: %s is %s; write a list, such as [a, b]", d.Name, f.name, describe(f.value))
		d.origin.broken[f.name] = true
		return nil
	}
	if len(seq.Values) == 0 {
		r.report(at(f.value), "type %s: %s is an empty list; fill it or remove the key", d.Name, f.name)
		d.origin.broken[f.name] = true
	}
	var out []string
	for _, v := range seq.Values {
		s, ok := text(v)
		if !ok {
			r.report(at(v), "type %s: %s names %s; write a word, in quotes if need be", d.Name, f.name, describe(v))
			d.origin.broken[f.name] = true
			continue
		}
		out = append(out, s)
		d.origin.items[f.name] = append(d.origin.items[f.name], at(v))
	}
	return out
}

func (r *reader) ops(d *Definition, f pair) {
	for i, s := range r.list(d, f) {
		op, ok := opByName(s)
		if !ok {
			r.report(d.origin.at(f.name, i), "type %s: unknown operation %q%s", d.Name, s, didYouMean(s, opNames()))
			d.origin.broken[f.name] = true
			continue
		}
		d.On = append(d.On, op)
	}
}

func (r *reader) masks(d *Definition, f pair) {
	entries, ok := r.pairs(f.value, "type "+d.Name+": mask")
	if ok && len(entries) == 0 {
		r.report(at(f.value), "type %s: mask is empty; fill it or remove the key", d.Name)
	}
	d.Mask = make(map[string]string, len(entries))
	for _, e := range entries {
		word, ok := text(e.value)
		// The mask null reads as YAML's null, but a value that is missing does not ask for it.
		if n, null := e.value.(*ast.NullNode); null && n.Token != nil && n.Token.Type == token.NullType {
			word, ok = "null", true
		}
		if !ok {
			r.report(e.at, "type %s: mask: %s is %s; write a mask: %s", d.Name, e.name, describe(e.value), strings.Join(maskNames(), ", "))
			continue
		}
		d.Mask[e.name] = word
		d.origin.masks[e.name] = maskPlace{e.at, at(e.value)}
	}
}

// inside returns how a place within a scalar maps to the file. It is exact for plain, quoted (without escapes) and
// literal (|) scalars; a folded one has lost its line ends, and gives the place where it starts.
func (r *reader) inside(n ast.Node) func(place) place {
	start := at(n)
	switch s := n.(type) {
	case *ast.LiteralNode:
		if s.Start == nil || s.Start.Type != token.LiteralType {
			return func(place) place { return start }
		}
		first := start.line + 1
		return func(p place) place {
			line := first + p.line - 1
			return place{line, r.indent(first) + p.column}
		}
	case *ast.StringNode:
		if s.Token != nil && (s.Token.Type == token.SingleQuoteType || s.Token.Type == token.DoubleQuoteType) {
			start.column++
		}
	}
	return func(p place) place {
		if p.line > 1 {
			return start
		}
		return place{start.line, start.column + p.column - 1}
	}
}

func (r *reader) indent(line int) int {
	if line > len(r.src.lines) {
		return 0
	}
	s := r.src.lines[line-1]
	return len(s) - len(strings.TrimLeft(s, " "))
}
