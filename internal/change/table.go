package change

import rowhookv1 "github.com/rowhook/rowhook/gen/rowhook/v1"

// Kind says how a column's value stands on the wire; block.proto describes each.
type Kind int32

// The kinds, numbered as in block.proto.
const (
	Int       = Kind(rowhookv1.Kind_KIND_INT)
	Uint      = Kind(rowhookv1.Kind_KIND_UINT)
	Float     = Kind(rowhookv1.Kind_KIND_FLOAT)
	Double    = Kind(rowhookv1.Kind_KIND_DOUBLE)
	Decimal   = Kind(rowhookv1.Kind_KIND_DECIMAL)
	Text      = Kind(rowhookv1.Kind_KIND_TEXT)
	Bytes     = Kind(rowhookv1.Kind_KIND_BYTES)
	JSON      = Kind(rowhookv1.Kind_KIND_JSON)
	Date      = Kind(rowhookv1.Kind_KIND_DATE)
	Time      = Kind(rowhookv1.Kind_KIND_TIME)
	Datetime  = Kind(rowhookv1.Kind_KIND_DATETIME)
	Timestamp = Kind(rowhookv1.Kind_KIND_TIMESTAMP)
	Geometry  = Kind(rowhookv1.Kind_KIND_GEOMETRY)
	Vector    = Kind(rowhookv1.Kind_KIND_VECTOR)
)

// Op is what happened to a row.
type Op int32

// The operations, numbered as in block.proto.
const (
	Insert   = Op(rowhookv1.Op_OP_INSERT)
	Update   = Op(rowhookv1.Op_OP_UPDATE)
	Delete   = Op(rowhookv1.Op_OP_DELETE)
	Snapshot = Op(rowhookv1.Op_OP_SNAPSHOT)
)

// String returns the word that event types use: insert, update, delete or snapshot.
func (o Op) String() string {
	switch o {
	case Insert:
		return "insert"
	case Update:
		return "update"
	case Delete:
		return "delete"
	case Snapshot:
		return "snapshot"
	default:
		return "unknown"
	}
}

// Column describes one value of a row.
type Column struct {
	Name string
	// Number is the value's field number in a row: the column's place in the table, from 1.
	Number uint32
	Kind   Kind
	// Type is the database's own name for the type, such as "decimal(12,2)".
	Type string
}

// Table describes the rows of one table at the time of a change. It is never modified once a change refers to it.
type Table struct {
	Schema, Name string
	// Columns in table order; those that were excluded from the log are missing.
	Columns []Column
	// Key holds the indexes of the primary key's columns, in key order.
	Key []int
}

// FullName returns "schema.name".
func (t *Table) FullName() string { return t.Schema + "." + t.Name }

// Index returns the index of the named column, or -1.
func (t *Table) Index(name string) int {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return i
		}
	}
	return -1
}

func (t *Table) proto() *rowhookv1.Table {
	p := &rowhookv1.Table{Schema: t.Schema, Name: t.Name}
	for _, c := range t.Columns {
		p.Columns = append(p.Columns, &rowhookv1.Column{Name: c.Name, Number: c.Number, Kind: rowhookv1.Kind(c.Kind), Type: c.Type})
	}
	for _, k := range t.Key {
		p.Key = append(p.Key, uint32(k))
	}
	return p
}

func tableFromProto(p *rowhookv1.Table) (*Table, error) {
	t := &Table{Schema: p.Schema, Name: p.Name}
	var last uint32
	for _, c := range p.Columns {
		if c.Number <= last {
			return nil, malformed("columns of %s out of order", t.FullName())
		}
		last = c.Number
		t.Columns = append(t.Columns, Column{Name: c.Name, Number: c.Number, Kind: Kind(c.Kind), Type: c.Type})
	}
	for _, k := range p.Key {
		if int(k) >= len(t.Columns) {
			return nil, malformed("key of %s names column %d of %d", t.FullName(), k, len(t.Columns))
		}
		t.Key = append(t.Key, int(k))
	}
	return t, nil
}
