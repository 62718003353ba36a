package mysql

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/rowhook/rowhook/internal/change"
)

// Column types as TABLE_MAP names them.
const (
	typeDecimal           = 0
	typeTiny              = 1
	typeShort             = 2
	typeLong              = 3
	typeFloat             = 4
	typeDouble            = 5
	typeTimestamp         = 7
	typeLongLong          = 8
	typeInt24             = 9
	typeDate              = 10
	typeTime              = 11
	typeDatetime          = 12
	typeYear              = 13
	typeNewDate           = 14
	typeVarchar           = 15
	typeBit               = 16
	typeTimestamp2        = 17
	typeDatetime2         = 18
	typeTime2             = 19
	typeBlobCompressed    = 140
	typeVarcharCompressed = 141
	typeVector            = 242
	typeJSON              = 245
	typeNewDecimal        = 246
	typeEnum              = 247
	typeSet               = 248
	typeBlob              = 252
	typeVarString         = 253
	typeString            = 254
	typeGeometry          = 255
)

// Kinds of optional metadata.
const (
	metaSignedness         = 1
	metaDefaultCharset     = 2
	metaColumnCharset      = 3
	metaColumnName         = 4
	metaSetValues          = 5
	metaEnumValues         = 6
	metaPrimaryKey         = 8
	metaPrimaryKeyPrefix   = 9
	metaEnumSetDefault     = 10
	metaEnumSetCharset     = 11
	tableMapPostHeader     = 8 // table id and flags
	maxTableColumns        = 4096
	unknownCollation       = math.MaxUint64
	metadataLengthsUnknown = -1
)

// tableMap is what a TABLE_MAP event says.
type tableMap struct {
	schema, name string
	columns      []mappedColumn
	key          []int
	nulls        []byte // a bit for each column that may be NULL
	signs        bool   // whether it says which columns are unsigned

	flavor change.Flavor
}

func (m *tableMap) nullable(column int) bool { return m.nulls[column/8]&(1<<(column%8)) != 0 }

// mappedColumn is one column of a tableMap.
type mappedColumn struct {
	name string
	// typ is the real type: typeString is split into typeString, typeEnum and typeSet.
	typ  byte
	meta [2]byte
	// metaKnown is false after a column whose type has metadata of unknown length.
	metaKnown bool
	unsigned  bool
	collation uint64
	members   [][]byte // of an ENUM or SET, in the column's character set
}

// length is the declared length in bytes of a typeString.
func (c *mappedColumn) length() int {
	if c.typ != typeString {
		return int(binary.LittleEndian.Uint16(c.meta[:]))
	}
	// Lengths over 255 use two bits of the type's byte.
	return int(c.meta[1]) | (int(c.meta[0]&0x30)^0x30)<<4
}

// parseTableMap reads a TABLE_MAP body behind the table id and the flags.
func parseTableMap(body []byte, flavor change.Flavor) (*tableMap, error) {
	r := eventReader{b: body}
	m := &tableMap{flavor: flavor}
	m.schema, m.name = r.name(), r.name()
	n := r.count()
	if r.failed || n > maxTableColumns {
		return nil, malformedEvent("TABLE_MAP with %d columns in %d bytes", n, len(body))
	}
	types, meta := r.take(n), r.take(r.count())
	m.nulls = r.take((n + 7) / 8)
	if r.failed {
		return nil, malformedEvent("TABLE_MAP of %s.%s is cut off", m.schema, m.name)
	}
	m.columns = make([]mappedColumn, n)
	if !m.parseTypes(types, meta) {
		return nil, malformedEvent("TABLE_MAP of %s.%s: column metadata is cut off", m.schema, m.name)
	}
	for len(r.b) > 0 {
		kind, v := r.byte(), r.take(r.count())
		if r.failed || !m.parseOptional(kind, v) {
			return nil, malformedEvent("TABLE_MAP of %s.%s: optional metadata %d is cut off", m.schema, m.name, kind)
		}
	}
	if !m.namesAreText() {
		return nil, malformedEvent("TABLE_MAP of %q.%q: a name is not UTF-8", m.schema, m.name)
	}
	return m, nil
}

// namesAreText reports whether all names are UTF-8, as they are on both servers, and as the log needs them.
func (m *tableMap) namesAreText() bool {
	for i := range m.columns {
		if !utf8.ValidString(m.columns[i].name) {
			return false
		}
	}
	return utf8.ValidString(m.schema) && utf8.ValidString(m.name)
}

func (m *tableMap) parseTypes(types, meta []byte) bool {
	r, known := eventReader{b: meta}, true
	for i, t := range types {
		c := &m.columns[i]
		c.typ, c.collation = t, unknownCollation
		n := metadataLength(t)
		if n == metadataLengthsUnknown {
			known = false
		}
		if !known {
			continue
		}
		c.metaKnown = true
		copy(c.meta[:], r.take(n))
		if t == typeString && c.meta[0]&0x30 == 0x30 && (c.meta[0] == typeEnum || c.meta[0] == typeSet) {
			c.typ = c.meta[0]
		}
	}
	return !r.failed
}

func metadataLength(t byte) int {
	switch t {
	case typeFloat, typeDouble, typeBlob, typeGeometry, typeJSON, typeVector, typeBlobCompressed,
		typeTimestamp2, typeDatetime2, typeTime2:
		return 1
	case typeVarchar, typeVarString, typeVarcharCompressed, typeString, typeEnum, typeSet, typeNewDecimal, typeBit:
		return 2
	case typeTiny, typeShort, typeLong, typeLongLong, typeInt24, typeTimestamp, typeDate, typeTime, typeDatetime, typeYear, typeNewDate:
		return 0
	default:
		return metadataLengthsUnknown
	}
}

func (m *tableMap) parseOptional(kind byte, v []byte) bool {
	r := eventReader{b: v}
	switch kind {
	case metaSignedness:
		m.parseSignedness(v)
	case metaDefaultCharset:
		m.parseDefaultCharset(&r, m.hasCharset)
	case metaColumnCharset:
		m.parseColumnCharset(&r, m.hasCharset)
	case metaEnumSetDefault:
		m.parseDefaultCharset(&r, isEnumOrSet)
	case metaEnumSetCharset:
		m.parseColumnCharset(&r, isEnumOrSet)
	case metaColumnName:
		for i := range m.columns {
			m.columns[i].name = string(r.take(r.count()))
		}
	case metaSetValues:
		m.parseMembers(&r, typeSet)
	case metaEnumValues:
		m.parseMembers(&r, typeEnum)
	case metaPrimaryKey, metaPrimaryKeyPrefix:
		return m.parseKey(&r, kind == metaPrimaryKeyPrefix)
	}
	return !r.failed
}

// parseSignedness reads one bit for each numeric column; a missing one says signed.
func (m *tableMap) parseSignedness(bits []byte) {
	m.signs = true
	n := 0
	for i := range m.columns {
		if !isNumeric(&m.columns[i]) {
			continue
		}
		m.columns[i].unsigned = n/8 < len(bits) && bits[n/8]&(0x80>>(n%8)) != 0
		n++
	}
}

// parseDefaultCharset reads a collation for all columns, and those of the columns that differ, which are counted among their like.
func (m *tableMap) parseDefaultCharset(r *eventReader, has func(*mappedColumn) bool) {
	var like []*mappedColumn
	byDefault := r.lenenc()
	for i := range m.columns {
		if c := &m.columns[i]; has(c) {
			c.collation = byDefault
			like = append(like, c)
		}
	}
	for len(r.b) > 0 && !r.failed {
		i, collation := r.count(), r.lenenc()
		if i >= len(like) {
			r.failed = true
			return
		}
		like[i].collation = collation
	}
}

func (m *tableMap) parseColumnCharset(r *eventReader, has func(*mappedColumn) bool) {
	for i := range m.columns {
		if c := &m.columns[i]; has(c) {
			c.collation = r.lenenc()
		}
	}
}

func (m *tableMap) parseMembers(r *eventReader, typ byte) {
	for i := range m.columns {
		c := &m.columns[i]
		if c.typ != typ {
			continue
		}
		c.members = nil
		for n := r.count(); n > 0 && !r.failed; n-- {
			c.members = append(c.members, r.take(r.count()))
		}
	}
}

func (m *tableMap) parseKey(r *eventReader, prefixes bool) bool {
	m.key = m.key[:0]
	for len(r.b) > 0 && !r.failed {
		i := r.count()
		if prefixes {
			r.lenenc()
		}
		if i >= len(m.columns) || len(m.key) >= len(m.columns) {
			return false
		}
		m.key = append(m.key, i)
	}
	return !r.failed
}

func isNumeric(c *mappedColumn) bool {
	switch c.typ {
	case typeTiny, typeShort, typeInt24, typeLong, typeLongLong, typeDecimal, typeNewDecimal, typeFloat, typeDouble, typeYear:
		return true
	}
	return false
}

// hasCharset says which columns the server lists collations for.
func (m *tableMap) hasCharset(c *mappedColumn) bool {
	switch c.typ {
	case typeString, typeVarString, typeVarchar, typeBlob:
		return true
	case typeGeometry, typeBlobCompressed, typeVarcharCompressed:
		return m.flavor == change.MariaDB
	case typeVector:
		return m.flavor == change.MySQL
	}
	return false
}

func isEnumOrSet(c *mappedColumn) bool { return c.typ == typeEnum || c.typ == typeSet }

// eventReader reads the parts of an event. Once something is missing, failed stays set and everything reads as zero.
type eventReader struct {
	b      []byte
	failed bool
}

func (r *eventReader) take(n int) []byte {
	if n < 0 || n > len(r.b) || r.failed {
		r.b, r.failed = nil, true
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *eventReader) byte() byte {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

// name reads a name with its length before it and a zero byte behind it.
func (r *eventReader) name() string {
	s := string(r.take(int(r.byte())))
	r.take(1)
	return s
}

// lenenc reads a length-encoded integer.
func (r *eventReader) lenenc() uint64 {
	first := r.byte()
	n := 0
	switch first {
	case 0xfc:
		n = 2
	case 0xfd:
		n = 3
	case 0xfe:
		n = 8
	case 0xfb, 0xff:
		r.failed = true
		return 0
	default:
		return uint64(first)
	}
	return littleEndian(r.take(n))
}

// count reads a length-encoded integer that counts things in memory.
func (r *eventReader) count() int {
	v := r.lenenc()
	if v > math.MaxInt32 {
		r.failed = true
		return 0
	}
	return int(v)
}

// littleEndian reads up to eight bytes.
func littleEndian(b []byte) (v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	return v
}

// bigEndian reads up to eight bytes.
func bigEndian(b []byte) (v uint64) {
	for _, x := range b {
		v = v<<8 | uint64(x)
	}
	return v
}

func uint48(b []byte) uint64 {
	_ = b[5]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 | uint64(b[4])<<32 | uint64(b[5])<<40
}
