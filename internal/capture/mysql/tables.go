package mysql

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rowhook/rowhook/internal/change"
)

// tableSet holds the patterns of wanted tables and excluded columns.
type tableSet struct {
	tables  []tablePattern
	columns []columnPattern
}

type tablePattern struct{ schema, table string }

type columnPattern struct {
	tablePattern
	column string
}

func newTableSet(tables, columns []string) (tableSet, error) {
	var set tableSet
	if len(tables) == 0 {
		return set, errors.New("no tables are named: list at least one as schema.table, for example app.*")
	}
	for _, t := range tables {
		parts := strings.Split(t, ".")
		if len(parts) != 2 || parts[0] == "" || parts[1] == "" {
			return set, fmt.Errorf("table %q is not schema.table", t)
		}
		if parts[0] == change.OwnSchema && parts[1] == change.SchemaChangesName {
			return set, fmt.Errorf("table %q is Rowhook's own: schema changes are in the log without it", t)
		}
		set.tables = append(set.tables, tablePattern{parts[0], parts[1]})
	}
	for _, c := range columns {
		parts := strings.Split(c, ".")
		if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
			return set, fmt.Errorf("excluded column %q is not schema.table.column", c)
		}
		set.columns = append(set.columns, columnPattern{tablePattern{parts[0], parts[1]}, parts[2]})
	}
	return set, nil
}

// wanted reports whether changes of the table enter the log.
func (s tableSet) wanted(schema, table string) bool {
	for _, p := range s.tables {
		if p.matches(schema, table) {
			return true
		}
	}
	return false
}

// wantsAny reports whether a wanted table may be among those that a statement touches.
func (s tableSet) wantsAny(t touched) bool {
	switch {
	case t.schema == change.AllTables:
		return true
	case t.table != change.AllTables:
		return s.wanted(t.schema, t.table)
	}
	for _, p := range s.tables {
		if (!systemSchema(t.schema) || p.schema == t.schema) && change.Glob(p.schema, t.schema) {
			return true
		}
	}
	return false
}

// excluded reports whether a column of a wanted table stays out of the log. Names of columns are not case sensitive on the server.
func (s tableSet) excluded(schema, table, column string) bool {
	for _, p := range s.columns {
		if change.Glob(p.schema, schema) && change.Glob(p.table, table) && change.Glob(strings.ToLower(p.column), strings.ToLower(column)) {
			return true
		}
	}
	return false
}

func (p tablePattern) String() string { return p.schema + "." + p.table }

// matches never lets a wildcard reach the server's own schemas.
func (p tablePattern) matches(schema, table string) bool {
	if systemSchema(schema) && p.schema != schema || schema == change.OwnSchema && table == change.SchemaChangesName {
		return false
	}
	return change.Glob(p.schema, schema) && change.Glob(p.table, table)
}

// systemSchema reports whether the schema belongs to the server, or to Rowhook itself.
func systemSchema(schema string) bool {
	switch schema {
	case "mysql", "sys", "information_schema", "performance_schema", "rowhook":
		return true
	}
	return false
}
