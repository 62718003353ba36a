package mysql

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/rowhook/rowhook/internal/change"
)

// plan is how rows of one table definition are decoded.
type plan struct {
	body   []byte // of the TABLE_MAP, without table id and flags
	wanted bool
	schema string
	name   string
	table  *change.Table
	// columns holds all columns of the row image, excluded ones too, for their bytes have to be passed over.
	columns []rowColumn
	// err is why rows of the table cannot be decoded.
	err error
}

// rowColumn is one column of a plan.
type rowColumn struct {
	op decodeOp
	// prefix is the width of the length before the value; 0 says that it always has size bytes.
	prefix uint8
	size   uint32
	// tag is the Protobuf tag of the value, index the column's place in change.Table.Columns, -1 if it is excluded.
	tag   uint32
	index int32
	// digits are the fractional digits of a time or a decimal, whole the digits before the point.
	digits, whole uint8
	// coding is how the text of opText becomes UTF-8.
	coding *textCoding
	// unpacked is how the value of opCompressed is decoded once it is unpacked.
	unpacked *rowColumn
	// members are the labels of an ENUM (as Protobuf values, tag and length before them) or of a SET.
	members [][]byte
	name    string
}

// decodeOp says how a value is rendered. opSkip passes over it.
type decodeOp uint8

const (
	opSkip decodeOp = iota
	opInt8
	opInt16
	opInt24
	opInt32
	opInt64
	opUint8
	opUint16
	opUint24
	opUint32
	opUint64
	opFloat
	opDouble
	opDecimal
	opYear
	opBit
	opDate
	opTime
	opDatetime
	opTimestamp
	opOldTime
	opOldDatetime
	opOldTimestamp
	opUTF8
	opASCII
	opLatin1
	opText
	opBytes
	opPaddedBytes
	opVector
	opUUID
	opInet4
	opInet6
	opCompressed
	opEnum
	opSet
	opJSON
)

// newPlan makes the plan of a TABLE_MAP. Only a failure to ask for the column types is an error here; whatever speaks against the
// table itself is kept until a row of it arrives.
func (d *Decoder) newPlan(body []byte) (*plan, error) {
	r := eventReader{b: body}
	p := &plan{body: body, schema: r.name(), name: r.name()}
	if r.failed {
		return nil, malformedEvent("TABLE_MAP of %d bytes is cut off", len(body))
	}
	if p.wanted = d.opts.Wanted(p.schema, p.name); !p.wanted {
		return p, nil
	}
	m, err := parseTableMap(body, d.opts.Flavor)
	if err != nil {
		return nil, err
	}
	if !m.named() {
		if p.err, err = d.complete(m); p.err != nil || err != nil {
			return p, err
		}
	}
	types, err := d.opts.ColumnTypes(p.schema, p.name)
	if err != nil {
		return nil, fmt.Errorf("ask for the column types of %s.%s: %w", p.schema, p.name, err)
	}
	p.err = p.build(m, types, d.opts.Exclude)
	return p, nil
}

// complete names the columns of a TABLE_MAP that does not. why is what speaks against the table.
func (d *Decoder) complete(m *tableMap) (why, err error) {
	if d.opts.Schema == nil {
		return fmt.Errorf("table %s.%s: %w", m.schema, m.name, ErrRowMetadata), nil
	}
	t, err := d.opts.Schema(m.schema, m.name)
	if errors.Is(err, errUncertain) {
		return err, nil
	}
	if err != nil {
		return nil, err
	}
	return m.complete(t), nil
}

// named reports whether every column has a name.
func (m *tableMap) named() bool {
	for i := range m.columns {
		if m.columns[i].name == "" {
			return false
		}
	}
	return len(m.columns) > 0
}

func (p *plan) build(m *tableMap, types map[string]string, exclude func(schema, table, column string) bool) error {
	p.table = &change.Table{Schema: p.schema, Name: p.name}
	p.columns = make([]rowColumn, len(m.columns))
	for i := range m.columns {
		c, rc := &m.columns[i], &p.columns[i]
		rc.name = c.name
		excluded := exclude != nil && exclude(p.schema, p.name, c.name) || c.hidden(types, m.flavor)
		kind, why := rc.plan(c, types[c.name], m.flavor)
		if excluded {
			rc.op, rc.index = opSkip, -1
			if rc.prefix == 0 && rc.size == 0 {
				return p.unsupported(c.name, why+"; even left out, the length of its values is unknown")
			}
			continue
		}
		if why != "" {
			return p.unsupported(c.name, why)
		}
		rc.index = int32(len(p.table.Columns))
		col := change.Column{Name: c.name, Number: uint32(i + 1), Kind: kind, Type: columnType(c, types[c.name], m.flavor)}
		rc.tag = col.Number<<3 | uint32(wireType(kind))
		if rc.unpacked != nil {
			rc.unpacked.tag, rc.unpacked.name = rc.tag, rc.name
		}
		if rc.op == opEnum {
			rc.encodeLabels()
		}
		p.table.Columns = append(p.table.Columns, col)
	}
	p.table.Key = p.key(m.key)
	return nil
}

func (p *plan) unsupported(column, why string) error {
	return fmt.Errorf("%w: %s.%s.%s: %s; name it in exclude_columns to go on without it",
		ErrUnsupportedColumn, p.schema, p.name, column, why)
}

// key turns the indexes of the primary key into those of the columns that enter the log. A key of which a column is left out does
// not name rows, and is none.
func (p *plan) key(columns []int) []int {
	var out []int
	for _, i := range columns {
		if p.columns[i].index < 0 {
			return nil
		}
		out = append(out, int(p.columns[i].index))
	}
	return out
}

func wireType(k change.Kind) protowire.Type {
	switch k {
	case change.Int, change.Uint:
		return protowire.VarintType
	case change.Float:
		return protowire.Fixed32Type
	case change.Double:
		return protowire.Fixed64Type
	default:
		return protowire.BytesType
	}
}

// plan fills in how values of c are decoded. why says what stands against it; the length is known then too, if it can be.
func (rc *rowColumn) plan(c *mappedColumn, now string, flavor change.Flavor) (kind change.Kind, why string) {
	if !c.metaKnown {
		return 0, fmt.Sprintf("its type (number %d in the binlog) is unknown, or stands behind one that is", c.typ)
	}
	switch c.typ {
	case typeTiny, typeShort, typeInt24, typeLong, typeLongLong:
		return rc.planInteger(c), ""
	case typeFloat:
		return rc.fixed(opFloat, 4, change.Float), ""
	case typeDouble:
		return rc.fixed(opDouble, 8, change.Double), ""
	case typeNewDecimal:
		return rc.planDecimal(c)
	case typeYear:
		return rc.fixed(opYear, 1, change.Uint), ""
	case typeBit:
		return rc.planBit(c)
	case typeDate, typeNewDate:
		return rc.fixed(opDate, 3, change.Date), ""
	case typeTime2, typeDatetime2, typeTimestamp2:
		return rc.planTime(c)
	case typeTime, typeDatetime, typeTimestamp:
		return rc.planOldTime(c, now, flavor)
	case typeEnum, typeSet:
		return rc.planLabels(c, flavor)
	case typeJSON:
		return rc.long(c, opJSON, change.JSON)
	case typeGeometry:
		return rc.long(c, opBytes, change.Geometry)
	case typeVector:
		return rc.long(c, opVector, change.Vector)
	default:
		return rc.planString(c, now, flavor)
	}
}

func (rc *rowColumn) fixed(op decodeOp, size uint32, kind change.Kind) change.Kind {
	rc.op, rc.size = op, size
	return kind
}

// long plans a value of the BLOB family, whose length has as many bytes as the metadata says.
func (rc *rowColumn) long(c *mappedColumn, op decodeOp, kind change.Kind) (change.Kind, string) {
	if c.meta[0] < 1 || c.meta[0] > 4 {
		return 0, fmt.Sprintf("length of %d bytes in the binlog's metadata", c.meta[0])
	}
	rc.op, rc.prefix = op, c.meta[0]
	return kind, ""
}

// baseWord returns the first word of a COLUMN_TYPE: "decimal" of "decimal(12,2) unsigned".
func baseWord(columnType string) string {
	for i := range len(columnType) {
		if c := columnType[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return strings.ToLower(columnType[:i])
		}
	}
	return strings.ToLower(columnType)
}
