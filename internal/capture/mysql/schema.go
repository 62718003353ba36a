package mysql

import (
	"context"
	"errors"
	"fmt"

	"github.com/rowhook/rowhook/internal/change"
)

// errUncertain is wrapped when the columns of a table cannot be told for certain, because the binlog does not name them.
var errUncertain = fmt.Errorf("%w, and what they were is not certain", ErrRowMetadata)

// lowerNames reports whether names of schemas and tables do not tell case apart.
func (s *session) lowerNames() bool {
	v := s.vars["lower_case_table_names"]
	return v != "" && v != "0"
}

// schemas knows the columns of wanted tables where the binlog does not name them: those that information_schema names, as long as it is
// certain that they were the same at the place of the stream. It belongs to the goroutine of the stream.
//
// information_schema shows the present, and the stream may be in the past. So the tables are read first, and then the binlog is looked
// through from the place of the stream to its end, which is no earlier than the reading: a table that no statement touched in between
// is now what it was. From there on the stream itself brings each statement. See docs/decisions/0015.
type schemas struct {
	read  func() (map[serverTableName]*tableSchema, error)
	until func(from place, touched func(touched)) error
	held  map[serverTableName]heldSchema
}

// heldSchema is a table's schema from the place at which it was read on, until a statement touches the table.
type heldSchema struct {
	*tableSchema
	// later is set if a statement between the place of the stream and the reading touched the table: what it was before is not known.
	later bool
}

// tableSchema is what information_schema says of a table.
type tableSchema struct {
	columns []schemaColumn
	key     []int // indexes into columns
}

type schemaColumn struct {
	name, typ string
	charset   string // empty for a column without one
	nullable  bool
	// collation has the column's character set.
	collation uint64
}

func newSchemas(ctx context.Context, r *Replica, s *session, n names, heard func()) *schemas {
	return &schemas{
		held: map[serverTableName]heldSchema{},
		read: func() (map[serverTableName]*tableSchema, error) { return s.readSchemas(ctx, r.tables) },
		until: func(from place, f func(touched)) error {
			return r.scan(ctx, s, &ddlScan{names: n, touched: f, heardOf: heard, from: from, file: from.file, end: from.offset}, from)
		},
	}
}

// of returns the schema of a table at a place of the stream. An error that wraps errUncertain is about the table, any other one is not.
func (c *schemas) of(at place, schema, table string) (*tableSchema, error) {
	name := serverTableName{schema, table}
	if _, ok := c.held[name]; !ok {
		if err := c.refresh(at); err != nil {
			return nil, fmt.Errorf("read the columns of the tables: %w", err)
		}
	}
	switch h, ok := c.held[name]; {
	case !ok:
		return nil, fmt.Errorf("table %s: %w: the server has no such table now", name, errUncertain)
	case h.later:
		return nil, fmt.Errorf("table %s: %w: a statement behind %s:%d changes it", name, errUncertain, at.file, at.offset)
	default:
		return h.tableSchema, nil
	}
}

// refresh reads all tables anew. What is certain already stays: the reading may be of a later shape.
func (c *schemas) refresh(at place) error {
	now, err := c.read()
	if err != nil {
		return err
	}
	fresh := map[serverTableName]heldSchema{}
	for name, t := range now {
		fresh[name] = heldSchema{tableSchema: t}
	}
	err = c.until(at, func(t touched) {
		for name, h := range fresh {
			if t.covers(name.schema, name.table) {
				h.later = true
				fresh[name] = h
			}
		}
	})
	if err != nil {
		return err
	}
	for name, h := range fresh {
		if old, ok := c.held[name]; !ok || old.later {
			c.held[name] = h
		}
	}
	return nil
}

// touch forgets what a statement of the stream changed.
func (c *schemas) touch(t touched) {
	for name := range c.held {
		if t.covers(name.schema, name.table) {
			delete(c.held, name)
		}
	}
}

// covers reports whether the table may be the one that was touched.
func (t touched) covers(schema, table string) bool {
	return (t.schema == schema || t.schema == change.AllTables) && (t.table == table || t.table == change.AllTables)
}

// readSchemas reads the columns and keys of all wanted tables.
func (s *session) readSchemas(ctx context.Context, tables tableSet) (map[serverTableName]*tableSchema, error) {
	all, err := s.listTables(ctx)
	if err != nil {
		return nil, err
	}
	collations, err := s.collations(ctx)
	if err != nil {
		return nil, err
	}
	out := map[serverTableName]*tableSchema{}
	done := map[string]bool{}
	for _, t := range all {
		if done[t.schema] || !tables.wanted(t.schema, t.table) {
			continue
		}
		done[t.schema] = true
		if err := s.readColumns(ctx, t.schema, tables, collations, out); err != nil {
			return nil, fmt.Errorf("schema %s: %w", t.schema, err)
		}
	}
	return out, nil
}

// collations returns a collation of each character set.
func (s *session) collations(ctx context.Context) (map[string]uint64, error) {
	rows, err := s.table(ctx, "SELECT CHARACTER_SET_NAME, MIN(ID) AS ID FROM information_schema.COLLATIONS WHERE ID IS NOT NULL AND CHARACTER_SET_NAME IS NOT NULL GROUP BY CHARACTER_SET_NAME")
	if err != nil {
		return nil, err
	}
	out := make(map[string]uint64, len(rows))
	for _, row := range rows {
		var id uint64
		if _, err := fmt.Sscan(row["id"], &id); err != nil {
			return nil, fmt.Errorf("collation %q: %w", row["id"], err)
		}
		out[row["character_set_name"]] = id
	}
	return out, nil
}

var errHidden = errors.New("the server does not show a column of the primary key")

func (s *session) readColumns(ctx context.Context, schema string, tables tableSet, collations map[string]uint64, out map[serverTableName]*tableSchema) error {
	rows, err := s.table(ctx, `SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, CHARACTER_SET_NAME FROM information_schema.COLUMNS
		WHERE TABLE_SCHEMA = ? ORDER BY TABLE_NAME, ORDINAL_POSITION`, schema)
	if err != nil {
		return err
	}
	for _, row := range rows {
		name := serverTableName{schema, row["table_name"]}
		if !tables.wanted(name.schema, name.table) {
			continue
		}
		t := out[name]
		if t == nil {
			t = &tableSchema{}
			out[name] = t
		}
		c := schemaColumn{name: row["column_name"], typ: row["column_type"], nullable: row["is_nullable"] == "YES", charset: row["character_set_name"], collation: collationBinary}
		if c.charset != "" {
			var ok bool
			if c.collation, ok = collations[c.charset]; !ok {
				c.collation = unknownCollation
			}
		}
		t.columns = append(t.columns, c)
	}
	return s.readKeys(ctx, schema, out)
}

func (s *session) readKeys(ctx context.Context, schema string, out map[serverTableName]*tableSchema) error {
	rows, err := s.table(ctx, `SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? AND INDEX_NAME = 'PRIMARY'
		ORDER BY TABLE_NAME, SEQ_IN_INDEX`, schema)
	if err != nil {
		return err
	}
	for _, row := range rows {
		t := out[serverTableName{schema, row["table_name"]}]
		if t == nil {
			continue
		}
		i := t.index(row["column_name"])
		if i < 0 {
			return fmt.Errorf("%s.%s: %w: %s", schema, row["table_name"], errHidden, row["column_name"])
		}
		t.key = append(t.key, i)
	}
	return nil
}

func (t *tableSchema) index(column string) int {
	for i := range t.columns {
		if t.columns[i].name == column {
			return i
		}
	}
	return -1
}
