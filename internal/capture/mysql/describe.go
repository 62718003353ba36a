package mysql

import (
	"context"
	"fmt"

	"github.com/rowhook/rowhook/internal/change"
)

// Tables returns the wanted tables as they are now: their columns that would enter the log, and their keys. Kinds are not set:
// they are known when a row comes.
func (r *Replica) Tables(ctx context.Context) ([]*change.Table, error) {
	s, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	defer s.close()
	all, err := s.listTables(ctx)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	var out []*change.Table
	for _, name := range all {
		if !r.tables.wanted(name.schema, name.table) {
			continue
		}
		t, err := r.describe(ctx, s, name)
		if err != nil {
			return nil, fmt.Errorf("describe table %s: %w", name, err)
		}
		out = append(out, t)
	}
	return out, nil
}

func (r *Replica) describe(ctx context.Context, s *session, name serverTableName) (*change.Table, error) {
	rows, err := s.table(ctx, `SELECT COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION`, name.schema, name.table)
	if err != nil {
		return nil, err
	}
	t := &change.Table{Schema: name.schema, Name: name.table}
	for i, row := range rows {
		if !r.tables.excluded(name.schema, name.table, row["column_name"]) {
			t.Columns = append(t.Columns, change.Column{Name: row["column_name"], Number: uint32(i + 1), Type: row["column_type"]})
		}
	}
	keys, err := s.table(ctx, `SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX`, name.schema, name.table)
	if err != nil {
		return nil, err
	}
	for _, row := range keys {
		if i := t.Index(row["column_name"]); i >= 0 {
			t.Key = append(t.Key, i)
		}
	}
	return t, nil
}
