package e2e

import (
	"fmt"
	"slices"
	"strings"
)

// equal holds that the mirror has what the captured database has: the same tables, and in each the same rows, byte for byte.
func (m *mirror) equal() {
	m.t.Helper()
	want, have := tablesOf(m.t, m.conn, m.from), tablesOf(m.t, m.conn, m.name)
	if !slices.Equal(want, have) {
		m.t.Fatalf("tables of %s: %v; of its mirror: %v", m.from, want, have)
	}
	rows := 0
	for _, table := range want {
		rows += m.equalTable(table)
	}
	m.t.Logf("%d changes applied, %d tables with %d rows are equal", m.applied, len(want), rows)
}

// equalTable compares one table and returns its number of rows.
func (m *mirror) equalTable(table string) int {
	m.t.Helper()
	exprs := m.exact(table)
	query := "SELECT CONCAT_WS(' ', " + strings.Join(exprs, ", ") + ") FROM "
	want := column(m.t, m.conn, query+quoted(m.from)+"."+quoted(table))
	have := column(m.t, m.conn, query+quoted(m.name)+"."+quoted(table))
	slices.Sort(want)
	slices.Sort(have)
	if slices.Equal(want, have) {
		return len(want)
	}
	missing, extra := difference(want, have), difference(have, want)
	m.t.Errorf("%s has %d rows, its mirror %d; of the source's, %d are not in the mirror, which has %d others\ncolumns: %s\nsource:\n%s\nmirror:\n%s",
		table, len(want), len(have), len(missing), len(extra), strings.Join(exprs, "\n  "), first(missing), first(extra))
	return len(want)
}

// exact are expressions that differ wherever two values of a column differ.
func (m *mirror) exact(table string) []string {
	m.t.Helper()
	d := m.describe(table)
	var out []string
	for _, name := range d.columns {
		value := quoted(name)
		switch d.stored[name] {
		case "float", "double":
			value = "CAST(" + value + " + 0e0 AS CHAR)"
		case "enum", "set", "bit":
			value = "CAST(" + value + " + 0 AS CHAR)"
		case "char", "varchar", "tinytext", "text", "mediumtext", "longtext", "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob",
			"vector", "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geomcollection", "geometrycollection":
		default:
			value = "CAST(" + value + " AS CHAR)"
		}
		out = append(out, fmt.Sprintf("IFNULL(HEX(%s), 'NULL')", value))
	}
	return out
}

// difference returns what a has and b does not; both are sorted.
func difference(a, b []string) []string {
	var out []string
	for _, s := range a {
		switch {
		case len(b) == 0 || b[0] > s:
			out = append(out, s)
		case b[0] == s:
			b = b[1:]
		default:
			for len(b) > 0 && b[0] < s {
				b = b[1:]
			}
			if len(b) > 0 && b[0] == s {
				b = b[1:]
			} else {
				out = append(out, s)
			}
		}
	}
	return out
}

func first(rows []string) string {
	var b strings.Builder
	for _, r := range rows[:min(len(rows), 4)] {
		b.WriteString("  " + shorten(r) + "\n")
	}
	return b.String()
}
