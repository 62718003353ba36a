package e2e

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	changes "github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// mirror is a database to which the changes of a log are applied, and which must then hold what the captured one does. It begins as
// an empty copy of the captured database's tables, without their triggers: what these did is in the log.
//
// The log does not say yet when a table was altered. So the mirror is told beforehand what will be, in order, and does the next of it
// when a change no longer fits.
type mirror struct {
	t        *testing.T
	srv      *dbserver.Server
	from     string // the captured database
	name     string // the mirror's
	conn     *sql.Conn
	tables   map[string]*mirrorTable
	altering []alteration // not done yet
	batch    strings.Builder
	single   []string // the statements of the batch
	applied  int
}

// alteration is a statement that changes definitions, and the tables that changes fit afterwards but not before.
type alteration struct {
	sql    string
	tables []string
}

// mirrorTable is what the mirror knows of one of its tables.
type mirrorTable struct {
	columns   []string
	generated map[string]bool
	stored    map[string]string // the column's type
}

// mirrorMode lets everything in that a server may hold, and refuses to bend what does not fit.
const mirrorMode = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION', " +
	"time_zone = '+00:00', foreign_key_checks = 0, unique_checks = 1, sql_log_bin = 0"

// newMirror copies the tables as they are now, all of them empty.
func newMirror(t *testing.T, srv *dbserver.Server, from string) *mirror {
	t.Helper()
	m := &mirror{t: t, srv: srv, from: from, tables: map[string]*mirrorTable{}}
	var db *sql.DB
	m.name, db = dbservertest.Database(t, srv)
	var err error
	if m.conn, err = db.Conn(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.conn.Close() })
	must(t, m.conn, mirrorMode)
	if srv.Kind() == dbserver.MySQL {
		must(t, m.conn, "SET SESSION sql_generate_invisible_primary_key = OFF, show_create_table_skip_secondary_engine = ON")
	}
	for _, table := range tablesOf(t, m.conn, from) {
		if table == marks {
			continue
		}
		var name, create string
		if err := m.conn.QueryRowContext(t.Context(), "SHOW CREATE TABLE "+quoted(from)+"."+quoted(table)).Scan(&name, &create); err != nil {
			t.Fatal(err)
		}
		must(t, m.conn, create)
	}
	must(t, m.conn, "CREATE TABLE "+marks+" (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY)")
	return m
}

func quoted(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func tablesOf(t *testing.T, conn *sql.Conn, database string) []string {
	t.Helper()
	return column(t, conn, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '"+database+"' AND TABLE_TYPE = 'BASE TABLE' ORDER BY 1")
}

func column(t *testing.T, conn *sql.Conn, query string) []string {
	t.Helper()
	rows, err := conn.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatalf("%s: %v", shorten(query), err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// expect announces an alteration.
func (m *mirror) expect(statement string, tables ...string) {
	m.altering = append(m.altering, alteration{statement, tables})
}

// apply applies one change.
func (m *mirror) apply(c *changes.Change) error {
	if c.Table.IsSchemaChange() {
		return nil
	}
	for !m.fits(c.Table) {
		if err := m.alterFor(c.Table.Name); err != nil {
			return fmt.Errorf("seq %d: the columns of %s are %s: %w", c.Seq, c.Table.FullName(), columnNames(c.Table), err)
		}
	}
	statement, err := m.statement(c)
	if err != nil {
		return fmt.Errorf("seq %d: %w", c.Seq, err)
	}
	m.batch.WriteString(statement)
	m.batch.WriteString(";\n")
	m.single = append(m.single, statement)
	m.applied++
	if len(m.single) == 500 || m.batch.Len() > 1<<20 {
		return m.flush()
	}
	return nil
}

// fits reports whether the mirror's table has the change's columns.
func (m *mirror) fits(table *changes.Table) bool {
	have := m.describe(table.Name)
	return slices.EqualFunc(table.Columns, have.columns, func(c changes.Column, name string) bool { return c.Name == name })
}

func columnNames(table *changes.Table) []string {
	var out []string
	for _, c := range table.Columns {
		out = append(out, c.Name)
	}
	return out
}

// describe asks the server once.
func (m *mirror) describe(table string) *mirrorTable {
	m.t.Helper()
	if d := m.tables[table]; d != nil {
		return d
	}
	d := &mirrorTable{generated: map[string]bool{}, stored: map[string]string{}}
	rows, err := m.conn.QueryContext(m.t.Context(), "SELECT COLUMN_NAME, DATA_TYPE, EXTRA FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '"+
		m.name+"' AND TABLE_NAME = '"+table+"' ORDER BY ORDINAL_POSITION")
	if err != nil {
		m.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name, kind, extra string
		if err := rows.Scan(&name, &kind, &extra); err != nil {
			m.t.Fatal(err)
		}
		d.columns = append(d.columns, name)
		d.stored[name] = strings.ToLower(kind)
		d.generated[name] = strings.Contains(extra, "GENERATED") && !strings.Contains(extra, "DEFAULT_GENERATED")
	}
	if err := rows.Err(); err != nil {
		m.t.Fatal(err)
	}
	m.tables[table] = d
	return d
}

// alterFor does what was announced, up to the next alteration of the table.
func (m *mirror) alterFor(table string) error {
	if err := m.flush(); err != nil {
		return err
	}
	for i, a := range m.altering {
		if !slices.Contains(a.tables, table) {
			continue
		}
		return m.alter(i + 1)
	}
	return errors.New("the mirror's are not, and no alteration is left that could change that")
}

// alter does the next n alterations.
func (m *mirror) alter(n int) error {
	for _, a := range m.altering[:n] {
		if _, err := m.conn.ExecContext(m.t.Context(), a.sql); err != nil {
			return fmt.Errorf("%s: %w", a.sql, err)
		}
	}
	m.altering = m.altering[n:]
	clear(m.tables)
	return nil
}

// finish does what is left.
func (m *mirror) finish() {
	m.t.Helper()
	if err := errors.Join(m.flush(), m.alter(len(m.altering))); err != nil {
		m.t.Fatal(err)
	}
}

// flush sends the batch. A change that the tables refuse may have come after an alteration.
func (m *mirror) flush() error {
	if len(m.single) == 0 {
		return nil
	}
	text, single := m.batch.String(), m.single
	m.batch.Reset()
	m.single = nil
	if err := m.transaction(text); err == nil {
		return nil
	} else if len(single) == 1 {
		return fmt.Errorf("%s: %w", shorten(text), err)
	}
	for _, s := range single {
		if err := m.transaction(s + ";"); err != nil {
			return fmt.Errorf("%s: %w", shorten(s), err)
		}
	}
	return nil
}

func (m *mirror) transaction(text string) error {
	_, err := m.conn.ExecContext(m.t.Context(), "BEGIN;\n"+text+"\nCOMMIT")
	if err != nil {
		_, undo := m.conn.ExecContext(context.WithoutCancel(m.t.Context()), "ROLLBACK")
		return errors.Join(err, undo)
	}
	return nil
}

// statement is what does to the mirror's table what the change did.
func (m *mirror) statement(c *changes.Change) (string, error) {
	d := m.describe(c.Table.Name)
	into := quoted(m.name) + "." + quoted(c.Table.Name)
	switch c.Op {
	case changes.Insert:
		names, values, err := d.values(c.After)
		if err != nil {
			return "", err
		}
		return "INSERT INTO " + into + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(values, ", ") + ")", nil
	case changes.Delete:
		where, err := d.where(c)
		return "DELETE FROM " + into + where + " LIMIT 1", err
	case changes.Update:
		names, values, err := d.values(c.After)
		if err != nil {
			return "", err
		}
		for i := range names {
			names[i] += " = " + values[i]
		}
		where, err := d.where(c)
		return "UPDATE " + into + " SET " + strings.Join(names, ", ") + where + " LIMIT 1", err
	default:
		return "", fmt.Errorf("%s of %s", c.Op, c.Table.FullName())
	}
}

// values are the columns that an image carries, except those that the server computes.
func (d *mirrorTable) values(r changes.Row) (names, values []string, err error) {
	all, err := r.Values(nil)
	if err != nil {
		return nil, nil, err
	}
	for i, v := range all {
		c := r.Table.Columns[i]
		if v.State == changes.Absent || d.generated[c.Name] {
			continue
		}
		names = append(names, quoted(c.Name))
		values = append(values, literal(v))
	}
	return names, values, nil
}

// where finds the row as it was before: by its key, or by all of it.
func (d *mirrorTable) where(c *changes.Change) (string, error) {
	all, err := c.Before.Values(nil)
	if err != nil {
		return "", err
	}
	var terms []string
	for i, v := range all {
		col := c.Table.Columns[i]
		if v.State == changes.Absent {
			if slices.Contains(c.Table.Key, i) || len(c.Table.Key) == 0 {
				return "", fmt.Errorf("the image before a change of %s lacks %s", c.Table.FullName(), col.Name)
			}
			continue
		}
		if len(c.Table.Key) > 0 && !slices.Contains(c.Table.Key, i) {
			continue
		}
		terms = append(terms, d.same(col, v))
	}
	return " WHERE " + strings.Join(terms, " AND "), nil
}

// same is the condition that a column holds exactly the value, whatever its collation takes for equal.
func (d *mirrorTable) same(c changes.Column, v changes.Value) string {
	name := quoted(c.Name)
	switch {
	case v.State == changes.Null:
		return name + " IS NULL"
	case c.Kind == changes.Text && (d.stored[c.Name] == "uuid" || strings.HasPrefix(d.stored[c.Name], "inet")):
		return name + " = " + literal(v)
	case c.Kind == changes.Text:
		return "CAST(CONVERT(" + name + " USING utf8mb4) AS BINARY) = " + hexText(v.Bytes(), false)
	case c.Kind == changes.JSON && d.stored[c.Name] == "json":
		return name + " = CAST(" + literal(v) + " AS JSON)"
	case c.Kind == changes.JSON:
		return "CAST(" + name + " AS BINARY) = " + hexText(v.Bytes(), false)
	case c.Kind == changes.Bytes || c.Kind == changes.Geometry || c.Kind == changes.Vector:
		return "CAST(" + name + " AS BINARY) = " + literal(v)
	}
	return name + " = " + literal(v)
}

// literal writes a value in SQL.
func literal(v changes.Value) string {
	if v.State == changes.Null {
		return "NULL"
	}
	switch v.Kind {
	case changes.Int:
		return strconv.FormatInt(v.Int(), 10)
	case changes.Uint:
		return strconv.FormatUint(v.Uint(), 10)
	case changes.Float:
		return strconv.FormatFloat(float64(v.Float()), 'e', -1, 64)
	case changes.Double:
		return strconv.FormatFloat(v.Double(), 'e', -1, 64)
	case changes.Decimal:
		return string(v.Bytes())
	case changes.Bytes, changes.Geometry, changes.Vector:
		return hexText(v.Bytes(), false)
	case changes.Text, changes.JSON:
		return hexText(v.Bytes(), true)
	}
	return "'" + string(v.Bytes()) + "'"
}

// hexText is a string that no quoting can hurt.
func hexText(b []byte, text bool) string {
	h := "X'" + hex.EncodeToString(b) + "'"
	if text {
		return "_utf8mb4 " + h
	}
	return h
}
