package mysql

import (
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"unicode/utf8"
)

// Types of MySQL's binary JSON. The larger of a pair of containers has offsets of four bytes in place of two.
const (
	jsonSmallObject = 0x00
	jsonLargeObject = 0x01
	jsonSmallArray  = 0x02
	jsonLargeArray  = 0x03
	jsonLiteral     = 0x04
	jsonInt16       = 0x05
	jsonUint16      = 0x06
	jsonInt32       = 0x07
	jsonUint32      = 0x08
	jsonInt64       = 0x09
	jsonUint64      = 0x0a
	jsonDouble      = 0x0b
	jsonString      = 0x0c
	jsonOpaque      = 0x0f
)

const (
	jsonNull  = 0
	jsonTrue  = 1
	jsonFalse = 2
)

// jsonBase64Line is how many bytes the server puts into one line of base64.
const jsonBase64Line = 57

// jsonMaxDepth is the depth of nesting that MySQL allows.
const jsonMaxDepth = 100

// jsonText renders MySQL's binary JSON as the server prints it. The output goes from call to call by value: a slice that is kept
// in the struct would pass the garbage collector's write barrier with each append.
type jsonText struct {
	// budget is how many bytes of the document may still be read. Parts of a document do not overlap, so all of them together are not
	// longer than it; a forged one, whose offsets point back to itself, runs out.
	budget int
}

// append appends the text of a document, and reports whether it is one.
func (t *jsonText) append(p, doc []byte) ([]byte, bool) {
	if len(doc) == 0 {
		// What a NOT NULL column without a default holds after an INSERT IGNORE; the server prints it so.
		return append(p, "null"...), true
	}
	t.budget = len(doc)
	return t.value(p, doc[0], doc[1:], 0)
}

// spend takes n bytes off the budget.
func (t *jsonText) spend(n int) bool {
	t.budget -= n
	return t.budget >= 0
}

// value renders a value that begins at b.
func (t *jsonText) value(p []byte, typ byte, b []byte, depth int) ([]byte, bool) {
	switch typ {
	case jsonSmallObject:
		return t.container(p, b, 2, true, depth)
	case jsonLargeObject:
		return t.container(p, b, 4, true, depth)
	case jsonSmallArray:
		return t.container(p, b, 2, false, depth)
	case jsonLargeArray:
		return t.container(p, b, 4, false, depth)
	case jsonString:
		v, ok := t.counted(b)
		if !ok {
			return p, false
		}
		return appendJSONString(p, v)
	case jsonOpaque:
		return t.opaque(p, b)
	default:
		n := jsonScalarSize(typ)
		if n == 0 || n > len(b) || !t.spend(n) {
			return p, false
		}
		return appendJSONScalar(p, typ, b)
	}
}

// appendJSONScalar appends a number or a literal; b must have its size.
func appendJSONScalar(p []byte, typ byte, b []byte) ([]byte, bool) {
	switch typ {
	case jsonLiteral:
		return appendJSONLiteral(p, b[0])
	case jsonInt16:
		return strconv.AppendInt(p, int64(int16(binary.LittleEndian.Uint16(b))), 10), true
	case jsonUint16:
		return strconv.AppendUint(p, uint64(binary.LittleEndian.Uint16(b)), 10), true
	case jsonInt32:
		return strconv.AppendInt(p, int64(int32(binary.LittleEndian.Uint32(b))), 10), true
	case jsonUint32:
		return strconv.AppendUint(p, uint64(binary.LittleEndian.Uint32(b)), 10), true
	case jsonInt64:
		return strconv.AppendInt(p, int64(binary.LittleEndian.Uint64(b)), 10), true
	case jsonUint64:
		return strconv.AppendUint(p, binary.LittleEndian.Uint64(b), 10), true
	default:
		return appendJSONDouble(p, binary.LittleEndian.Uint64(b))
	}
}

func jsonScalarSize(typ byte) int {
	switch typ {
	case jsonLiteral:
		return 1
	case jsonInt16, jsonUint16:
		return 2
	case jsonInt32, jsonUint32:
		return 4
	case jsonInt64, jsonUint64, jsonDouble:
		return 8
	default:
		return 0
	}
}

func appendJSONLiteral(p []byte, b byte) ([]byte, bool) {
	switch b {
	case jsonNull:
		return append(p, "null"...), true
	case jsonTrue:
		return append(p, "true"...), true
	case jsonFalse:
		return append(p, "false"...), true
	default:
		return p, false
	}
}

// container renders an object or an array. It begins with the number of its elements and its size; then come, for an object, offset
// and length of each key, and for both, type and offset of each value, or the value itself where it fits. Offsets count from b.
func (t *jsonText) container(p, b []byte, width int, object bool, depth int) ([]byte, bool) {
	if depth >= jsonMaxDepth || len(b) < 2*width {
		return p, false
	}
	count, size := jsonOffset(b, width), jsonOffset(b[width:], width)
	keyEntry, open, end := 0, byte('['), byte(']')
	if object {
		keyEntry, open, end = width+2, '{', '}'
	}
	valueEntry := 1 + width
	if size > len(b) || size < 2*width || count > (size-2*width)/(keyEntry+valueEntry) || !t.spend(2*width+count*(keyEntry+valueEntry)) {
		return p, false
	}
	b = b[:size]
	p = append(p, open)
	ok := false
	key, value := 2*width, 2*width+count*keyEntry
	for i := range count {
		if i > 0 {
			p = append(p, ", "...)
		}
		if object {
			if p, ok = t.key(p, b, key, width); !ok {
				return p, false
			}
			key += keyEntry
		}
		if p, ok = t.element(p, b, value, width, depth+1); !ok {
			return p, false
		}
		value += valueEntry
	}
	return append(p, end), true
}

func (t *jsonText) key(p, b []byte, entry, width int) ([]byte, bool) {
	at, n := jsonOffset(b[entry:], width), int(binary.LittleEndian.Uint16(b[entry+width:]))
	if at > len(b) || n > len(b)-at || !t.spend(n) {
		return p, false
	}
	p, ok := appendJSONString(p, b[at:at+n])
	return append(p, ": "...), ok
}

// element renders the value whose entry stands at b[entry:].
func (t *jsonText) element(p, b []byte, entry, width, depth int) ([]byte, bool) {
	typ, v := b[entry], b[entry+1:entry+1+width]
	if n := jsonScalarSize(typ); n != 0 && n <= width {
		return appendJSONScalar(p, typ, v) // the entry is paid for already
	}
	at := jsonOffset(v, width)
	if at > len(b) {
		return p, false
	}
	return t.value(p, typ, b[at:], depth)
}

func jsonOffset(b []byte, width int) int {
	if width == 2 {
		return int(binary.LittleEndian.Uint16(b))
	}
	return int(binary.LittleEndian.Uint32(b))
}

// counted takes the bytes behind their length, which has seven bits in each byte.
func (t *jsonText) counted(b []byte) ([]byte, bool) {
	size, n := binary.Uvarint(b)
	if n < 1 || n > 5 || size > uint64(len(b)-n) || !t.spend(n+int(size)) {
		return nil, false
	}
	return b[n : n+int(size)], true
}

// jsonNotASCII marks the bytes of longer characters in jsonEscapes.
const jsonNotASCII = 1

// jsonEscapes has a letter for the characters that are escaped with one, u for the other control characters, and 0 for what stands
// for itself.
var jsonEscapes = newJSONEscapes()

func newJSONEscapes() (table [256]byte) {
	for c := range 0x20 {
		table[c] = 'u'
	}
	for c := 0x80; c < 0x100; c++ {
		table[c] = jsonNotASCII
	}
	for i := range len(`btnfr`) {
		table["\b\t\n\f\r"[i]] = "btnfr"[i]
	}
	table['"'], table['\\'] = '"', '\\'
	return table
}

// appendJSONString appends v in quotes, and reports whether it is valid UTF-8.
func appendJSONString(p, v []byte) ([]byte, bool) {
	p = append(p, '"')
	done, ascii := 0, true
	for i, c := range v {
		esc := jsonEscapes[c]
		if esc == 0 {
			continue
		}
		if esc == jsonNotASCII {
			ascii = false
			continue
		}
		p = append(append(p, v[done:i]...), '\\', esc)
		if esc == 'u' {
			p = append(p, '0', '0', '0'+c>>4, "0123456789abcdef"[c&0xf])
		}
		done = i + 1
	}
	p = append(append(p, v[done:]...), '"')
	return p, ascii || utf8.Valid(v)
}

// opaque renders a value of one of MySQL's own types: type, length, bytes.
func (t *jsonText) opaque(p, b []byte) ([]byte, bool) {
	if len(b) < 1 || !t.spend(1) {
		return p, false
	}
	typ := b[0]
	v, ok := t.counted(b[1:])
	if !ok {
		return p, false
	}
	switch typ {
	case typeNewDecimal:
		return appendJSONDecimal(p, v)
	case typeDate, typeNewDate, typeTime, typeDatetime, typeTimestamp:
		return appendJSONMoment(p, typ, v)
	}
	p = append(p, `"base64:type`...)
	p = append(strconv.AppendUint(p, uint64(typ), 10), ':')
	for len(v) > jsonBase64Line {
		p = append(base64.StdEncoding.AppendEncode(p, v[:jsonBase64Line]), `\n`...)
		v = v[jsonBase64Line:]
	}
	return append(base64.StdEncoding.AppendEncode(p, v), '"'), true
}

// appendJSONDecimal appends a DECIMAL, which has its precision and scale before it.
func appendJSONDecimal(p, v []byte) ([]byte, bool) {
	if len(v) < 3 {
		return p, false
	}
	precision, scale, v := int(v[0]), int(v[1]), v[2:]
	if precision > maxDecimalDigits || scale > precision || scale > maxDecimalScale || len(v) != decimalSize(precision-scale)+decimalSize(scale) {
		return p, false
	}
	return appendDecimal(p, v, precision-scale, scale)
}

// appendJSONMoment appends a temporal value: its parts in 40 bits, microseconds in 24.
func appendJSONMoment(p []byte, typ byte, v []byte) ([]byte, bool) {
	if len(v) != 8 {
		return p, false
	}
	packed := int64(binary.LittleEndian.Uint64(v))
	negative := packed < 0
	if negative {
		packed = -packed
	}
	m := unpackDatetime(uint64(packed) >> 24)
	if typ == typeTime {
		hms := uint32(packed >> 24)
		m = moment{hour: hms >> 12 & 0x3ff, minute: hms >> 6 & 0x3f, second: hms & 0x3f}
	}
	m.negative, m.frac = negative, uint32(packed&(1<<24-1))
	if !m.valid() || packed < 0 || m.hour > 838 || typ != typeTime && (m.hour > 23 || negative) {
		return p, false
	}
	p = append(p, '"')
	switch typ {
	case typeDate, typeNewDate:
		p = m.appendDate(p)
	case typeTime:
		p = m.appendTime(p, maxFraction)
	default:
		p = m.appendDatetime(p, maxFraction)
	}
	return append(p, '"'), true
}
