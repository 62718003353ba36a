// Package changetest builds blocks and changes for tests, from Go values instead of a binlog.
package changetest

import (
	"testing"

	"github.com/rowhook/rowhook/internal/change"
)

// Absent stands for a column that a row image does not carry.
const Absent = absent(0)

type absent int

// Row holds one value for each column of a table: nil (NULL), Absent, an integer, a float, a string or bytes.
type Row []any

// Change is one row's change. Before is used by updates and deletes, After by all but deletes.
type Change struct {
	Op            change.Op
	Table         *change.Table
	Before, After Row
}

// Tx is a transaction with its changes.
type Tx struct {
	change.Transaction
	Changes []Change
}

// Table returns a table with the columns, numbered from 1, and a primary key of the named ones; key may be nil.
func Table(schema, name string, key []string, columns ...change.Column) *change.Table {
	t := &change.Table{Schema: schema, Name: name, Columns: columns}
	for i := range t.Columns {
		t.Columns[i].Number = uint32(i + 1)
	}
	for _, k := range key {
		t.Key = append(t.Key, t.Index(k))
	}
	return t
}

// Column returns a column; its number is set by Table.
func Column(name string, kind change.Kind, typ string) change.Column {
	return change.Column{Name: name, Kind: kind, Type: typ}
}

// Block returns the bytes of a block of the source that holds the transactions, whole, and whose first change has the seq.
func Block(tb testing.TB, source string, firstSeq uint64, txs ...Tx) []byte {
	tb.Helper()
	b := change.NewBuilder(source, 1)
	for i := range txs {
		b.BeginSegment(&txs[i].Transaction, 0, nil, true)
		for _, c := range txs[i].Changes {
			b.BeginChange(c.Op, c.Table)
			if c.Op == change.Update || c.Op == change.Delete {
				appendRow(tb, b, c.Table, c.Before, true)
			}
			if c.Op != change.Delete {
				appendRow(tb, b, c.Table, c.After, false)
			}
			b.EndChange()
		}
		b.EndSegment(true)
	}
	out, err := b.Finish(firstSeq, change.Position{})
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// Changes returns the changes of a block that holds the transactions, as a reader of the log sees them.
func Changes(tb testing.TB, source string, firstSeq uint64, txs ...Tx) []*change.Change {
	tb.Helper()
	blk, err := change.Parse(Block(tb, source, firstSeq, txs...))
	if err != nil {
		tb.Fatal(err)
	}
	var out []*change.Change
	if err := blk.Each(func(c *change.Change) error {
		cp := *c
		out = append(out, &cp)
		return nil
	}); err != nil {
		tb.Fatal(err)
	}
	return out
}

func appendRow(tb testing.TB, b *change.Builder, t *change.Table, row Row, before bool) {
	tb.Helper()
	if len(row) != len(t.Columns) {
		tb.Fatalf("%s has %d columns, the row %d values", t.FullName(), len(t.Columns), len(row))
	}
	p := b.BeginRow(before)
	var bits []byte
	for i, v := range row {
		switch v.(type) {
		case nil:
		case absent:
			if bits == nil {
				bits = make([]byte, (len(row)+7)/8)
			}
			bits[i/8] |= 1 << (i % 8)
		default:
			p = appendValue(tb, p, t.Columns[i], v)
		}
	}
	b.EndRow(p, before, bits)
}

func appendValue(tb testing.TB, p []byte, c change.Column, v any) []byte {
	tb.Helper()
	switch c.Kind {
	case change.Int:
		return change.AppendInt(p, c.Number, integer(tb, c, v))
	case change.Uint:
		if u, ok := v.(uint64); ok {
			return change.AppendUint(p, c.Number, u)
		}
		return change.AppendUint(p, c.Number, uint64(integer(tb, c, v)))
	case change.Float:
		if f, ok := v.(float32); ok {
			return change.AppendFloat(p, c.Number, f)
		}
	case change.Double:
		if f, ok := v.(float64); ok {
			return change.AppendDouble(p, c.Number, f)
		}
	default:
		switch s := v.(type) {
		case string:
			return change.AppendBytes(p, c.Number, []byte(s), false)
		case []byte:
			return change.AppendBytes(p, c.Number, s, false)
		}
	}
	tb.Fatalf("column %s of kind %d cannot hold a %T", c.Name, c.Kind, v)
	return nil
}

func integer(tb testing.TB, c change.Column, v any) int64 {
	tb.Helper()
	switch n := v.(type) {
	case int:
		return int64(n)
	case int64:
		return n
	}
	tb.Fatalf("column %s of kind %d cannot hold a %T", c.Name, c.Kind, v)
	return 0
}
