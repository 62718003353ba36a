package mysql

import (
	"context"
	"fmt"
	"github.com/rowhook/rowhook/internal/spelling"
	"strings"
)

// serverTableName is a table as the server lists it.
type serverTableName struct{ schema, table string }

func (t serverTableName) String() string { return t.schema + "." + t.table }

func (t serverTableName) quoted() string { return quoteName(t.schema) + "." + quoteName(t.table) }

// checkTables finds patterns without a table, tables that may not be read, and columns that are not captured exactly.
func (r *Replica) checkTables(ctx context.Context, s *session) ([]Finding, error) {
	all, err := s.listTables(ctx)
	if err != nil {
		return nil, err
	}
	found, wanted := r.matchTables(all)
	for _, t := range wanted {
		more, err := r.checkTable(ctx, s, t)
		if err != nil {
			return found, err
		}
		found = append(found, more...)
	}
	return found, nil
}

// listTables returns the tables that the user can see.
func (s *session) listTables(ctx context.Context) ([]serverTableName, error) {
	rows, err := s.table(ctx, "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE NOT IN ('VIEW', 'SYSTEM VIEW', 'SEQUENCE') ORDER BY 1, 2")
	if err != nil {
		return nil, err
	}
	out := make([]serverTableName, 0, len(rows))
	for _, row := range rows {
		out = append(out, serverTableName{row["table_schema"], row["table_name"]})
	}
	return out, nil
}

func (r *Replica) matchTables(all []serverTableName) (found []Finding, wanted []serverTableName) {
	for _, p := range r.tables.tables {
		n := 0
		for _, t := range all {
			if p.matches(t.schema, t.table) {
				n++
			}
		}
		if n > 0 {
			found = append(found, Finding{Code: CodeUnknownTable, Severity: OK, Subject: p.String(), Message: fmt.Sprintf("%s names %d table(s)", p, n)})
			continue
		}
		found = append(found, r.unknownTable(p, all))
	}
	for _, t := range all {
		if r.tables.wanted(t.schema, t.table) {
			wanted = append(wanted, t)
		}
	}
	return found, wanted
}

func (r *Replica) unknownTable(p tablePattern, all []serverTableName) Finding {
	f := Finding{Code: CodeUnknownTable, Severity: Error, Subject: p.String(), Message: fmt.Sprintf("no table %s is visible to user %q", p, r.dsn.User)}
	if near := nearest(p.String(), all); near != "" {
		f.Message += "; did you mean " + near + "?"
	}
	if !strings.ContainsAny(p.schema, "*?") {
		on := quoteName(p.schema) + ".*"
		if !strings.ContainsAny(p.table, "*?") {
			on = quoteName(p.schema) + "." + quoteName(p.table)
		}
		f.SQL = fmt.Sprintf("GRANT SELECT ON %s TO %s@'%%'; -- if the table exists", on, quote(r.dsn.User))
	}
	return f
}

// nearest returns the table's name that want is most likely a slip of.
func nearest(want string, all []serverTableName) string {
	var names []string
	for _, t := range all {
		if !systemSchema(t.schema) {
			names = append(names, t.String())
		}
	}
	return spelling.Nearest(want, names)
}

func (r *Replica) checkTable(ctx context.Context, s *session, t serverTableName) ([]Finding, error) {
	_, err := s.table(ctx, "SELECT * FROM "+t.quoted()+" LIMIT 0")
	if code, text := serverErrorCode(err); code != 0 {
		return []Finding{{Code: CodeMissingPrivilege, Severity: Error, Subject: t.String(), Message: fmt.Sprintf("%s cannot be read: %s", t, text),
			SQL: fmt.Sprintf("GRANT SELECT ON %s TO %s@'%%';", t.quoted(), quote(r.dsn.User))}}, nil
	}
	if err != nil {
		return nil, err
	}
	columns, err := s.table(ctx, `SELECT COLUMN_NAME, COLUMN_TYPE, COLUMN_KEY, CHARACTER_SET_NAME FROM information_schema.COLUMNS
		WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION`, t.schema, t.table)
	if err != nil {
		return nil, err
	}
	var found []Finding
	for _, c := range columns {
		name := c["column_name"]
		excluded := r.tables.excluded(t.schema, t.table, name)
		if why := unsupportedColumn(s.flavor, c["column_type"], c["character_set_name"]); why != "" && !excluded {
			found = append(found, Finding{Code: CodeUnsupportedColumn, Severity: Error, Subject: t.String() + "." + name,
				Message: fmt.Sprintf("%s.%s is %s, %s: the source would stop at its first row; name it under exclude_columns", t, name, c["column_type"], why)})
		}
		if excluded && c["column_key"] == "PRI" {
			found = append(found, Finding{Code: CodeExcludedKey, Severity: Warning, Subject: t.String() + "." + name,
				Message: fmt.Sprintf("%s.%s is excluded but part of the primary key: all rows of the table are kept in one order, which is slow; give its event types a key", t, name)})
		}
	}
	return found, nil
}
