package event

import (
	"fmt"
	"strings"

	"github.com/rowhook/rowhook/internal/change"
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
	return change.Glob(p.schema, schema) && change.Glob(p.table, table)
}
