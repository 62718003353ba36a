package event

import (
	"fmt"
	"strings"
)

// ownSchema holds Rowhook's own tables (canary, markers). They are matched by their exact names only.
const ownSchema = "rowhook"

// pattern matches tables by name.
type pattern struct{ schema, table string }

func parsePattern(s string) (pattern, error) {
	schema, table, ok := strings.Cut(s, ".")
	if !ok || schema == "" || table == "" {
		return pattern{}, fmt.Errorf(`%q is not schema.table, such as "app.orders" or "app.*"`, s)
	}
	if strings.Contains(table, ".") {
		return pattern{}, fmt.Errorf("%q has more than one dot; write schema.table", s)
	}
	p := pattern{schema, table}
	if p.glob() && schema == ownSchema {
		return pattern{}, fmt.Errorf("%q matches nothing: * never matches tables of the schema %s; name the table", s, ownSchema)
	}
	return p, nil
}

func (p pattern) glob() bool {
	return strings.Contains(p.schema, "*") || strings.Contains(p.table, "*")
}

func (p pattern) match(schema, table string) bool {
	if p.glob() && schema == ownSchema {
		return false
	}
	return globMatch(p.schema, schema) && globMatch(p.table, table)
}

// globMatch matches * with any characters, in time linear in the text per star.
func globMatch(glob, s string) bool {
	g, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case g < len(glob) && glob[g] == '*':
			star, mark = g, i
			g++
		case g < len(glob) && glob[g] == s[i]:
			g++
			i++
		case star >= 0:
			mark++
			g, i = star+1, mark
		default:
			return false
		}
	}
	for g < len(glob) && glob[g] == '*' {
		g++
	}
	return g == len(glob)
}
