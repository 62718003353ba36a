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

// jsonText renders MySQL's binary JSON as the server prints it.
type jsonText struct {
	p []byte
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
	t.p, t.budget = p, len(doc)
	ok := t.value(doc[0], doc[1:], 0)
	p, t.p = t.p, nil
	return p, ok
}

// spend takes n bytes, and one for the type, off the budget.
func (t *jsonText) spend(n int) bool {
	t.budget -= n
	return t.budget >= 0
}

// value renders a value that begins at b.
func (t *jsonText) value(typ byte, b []byte, depth int) bool {
	switch typ {
	case jsonSmallObject:
		return t.container(b, 2, true, depth)
	case jsonLargeObject:
		return t.container(b, 4, true, depth)
	case jsonSmallArray:
		return t.container(b, 2, false, depth)
	case jsonLargeArray:
		return t.container(b, 4, false, depth)
	case jsonString:
		v, ok := t.counted(b)
		return ok && t.quote(v)
	case jsonOpaque:
		return t.opaque(b)
	default:
		return t.scalar(typ, b)
	}
}

func (t *jsonText) scalar(typ byte, b []byte) bool {
	n := jsonScalarSize(typ)
	if n == 0 || n > len(b) || !t.spend(n) {
		return false
	}
	switch typ {
	case jsonLiteral:
		return t.literal(b[0])
	case jsonInt16:
		t.p = strconv.AppendInt(t.p, int64(int16(binary.LittleEndian.Uint16(b))), 10)
	case jsonInt32:
		t.p = strconv.AppendInt(t.p, int64(int32(binary.LittleEndian.Uint32(b))), 10)
	case jsonInt64:
		t.p = strconv.AppendInt(t.p, int64(binary.LittleEndian.Uint64(b)), 10)
	case jsonDouble:
		var ok bool
		t.p, ok = appendJSONDouble(t.p, binary.LittleEndian.Uint64(b))
		return ok
	default:
		t.p = strconv.AppendUint(t.p, littleEndian(b[:n]), 10)
	}
	return true
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

func (t *jsonText) literal(b byte) bool {
	switch b {
	case jsonNull:
		t.p = append(t.p, "null"...)
	case jsonTrue:
		t.p = append(t.p, "true"...)
	case jsonFalse:
		t.p = append(t.p, "false"...)
	default:
		return false
	}
	return true
}

// container renders an object or an array. It begins with the number of its elements and its size; then come, for an object, offset
// and length of each key, and for both, type and offset of each value, or the value itself where it fits. Offsets count from b.
func (t *jsonText) container(b []byte, width int, object bool, depth int) bool {
	if depth >= jsonMaxDepth || len(b) < 2*width {
		return false
	}
	count, size := jsonOffset(b, width), jsonOffset(b[width:], width)
	keyEntry, valueEntry := 0, 1+width
	if object {
		keyEntry = width + 2
	}
	if size > len(b) || size < 2*width || count > (size-2*width)/(keyEntry+valueEntry) || !t.spend(2*width+count*(keyEntry+valueEntry)) {
		return false
	}
	b = b[:size]
	brackets := "[]"
	if object {
		brackets = "{}"
	}
	t.p = append(t.p, brackets[0])
	values := 2*width + count*keyEntry
	for i := range count {
		if i > 0 {
			t.p = append(t.p, ", "...)
		}
		if object && !t.key(b, 2*width+i*keyEntry, width) {
			return false
		}
		if !t.element(b, values+i*valueEntry, width, depth+1) {
			return false
		}
	}
	t.p = append(t.p, brackets[1])
	return true
}

func (t *jsonText) key(b []byte, entry, width int) bool {
	at, n := jsonOffset(b[entry:], width), int(binary.LittleEndian.Uint16(b[entry+width:]))
	if at > len(b) || n > len(b)-at || !t.spend(n) || !t.quote(b[at:at+n]) {
		return false
	}
	t.p = append(t.p, ": "...)
	return true
}

// element renders the value whose entry stands at b[entry:].
func (t *jsonText) element(b []byte, entry, width, depth int) bool {
	typ, v := b[entry], b[entry+1:entry+1+width]
	if n := jsonScalarSize(typ); n != 0 && n <= width {
		// A literal takes two bytes too, of which the second is not used.
		t.budget += n // the entry is paid for already
		return t.scalar(typ, v)
	}
	at := jsonOffset(v, width)
	return at <= len(b) && t.value(typ, b[at:], depth)
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

// jsonEscapes has a letter for the characters that are escaped with one, and u for the others.
var jsonEscapes = [256]byte{
	0: 'u', 1: 'u', 2: 'u', 3: 'u', 4: 'u', 5: 'u', 6: 'u', 7: 'u', '\b': 'b', '\t': 't', '\n': 'n', 11: 'u', '\f': 'f', '\r': 'r', 14: 'u', 15: 'u',
	16: 'u', 17: 'u', 18: 'u', 19: 'u', 20: 'u', 21: 'u', 22: 'u', 23: 'u', 24: 'u', 25: 'u', 26: 'u', 27: 'u', 28: 'u', 29: 'u', 30: 'u', 31: 'u',
	'"': '"', '\\': '\\',
}

// quote appends v as a JSON string, and reports whether it is valid UTF-8.
func (t *jsonText) quote(v []byte) bool {
	if !utf8.Valid(v) {
		return false
	}
	p := append(t.p, '"')
	done := 0
	for i, c := range v {
		esc := jsonEscapes[c]
		if esc == 0 {
			continue
		}
		p = append(append(p, v[done:i]...), '\\', esc)
		if esc == 'u' {
			p = append(p, '0', '0', '0'+c>>4, "0123456789abcdef"[c&0xf])
		}
		done = i + 1
	}
	p = append(p, v[done:]...)
	t.p = append(p, '"')
	return true
}

// opaque renders a value of one of MySQL's own types: type, length, bytes.
func (t *jsonText) opaque(b []byte) bool {
	if len(b) < 1 || !t.spend(1) {
		return false
	}
	typ := b[0]
	v, ok := t.counted(b[1:])
	if !ok {
		return false
	}
	switch typ {
	case typeNewDecimal:
		return t.decimal(v)
	case typeDate, typeNewDate, typeTime, typeDatetime, typeTimestamp:
		return t.moment(typ, v)
	default:
		t.p = append(t.p, `"base64:type`...)
		t.p = append(strconv.AppendUint(t.p, uint64(typ), 10), ':')
		for len(v) > jsonBase64Line {
			t.p = append(base64.StdEncoding.AppendEncode(t.p, v[:jsonBase64Line]), `\n`...)
			v = v[jsonBase64Line:]
		}
		t.p = append(base64.StdEncoding.AppendEncode(t.p, v), '"')
		return true
	}
}

// decimal renders a DECIMAL, which has its precision and scale before it.
func (t *jsonText) decimal(v []byte) bool {
	if len(v) < 3 {
		return false
	}
	precision, scale, v := int(v[0]), int(v[1]), v[2:]
	if precision > maxDecimalDigits || scale > precision || scale > maxDecimalScale || len(v) != decimalSize(precision-scale)+decimalSize(scale) {
		return false
	}
	p, ok := appendDecimal(t.p, v, precision-scale, scale)
	t.p = p
	return ok
}

// moment renders a temporal value: its parts in 40 bits, microseconds in 24.
func (t *jsonText) moment(typ byte, v []byte) bool {
	if len(v) != 8 {
		return false
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
		return false
	}
	t.p = append(t.p, '"')
	switch typ {
	case typeDate, typeNewDate:
		t.p = m.appendDate(t.p)
	case typeTime:
		t.p = m.appendTime(t.p, maxFraction)
	default:
		t.p = m.appendDatetime(t.p, maxFraction)
	}
	t.p = append(t.p, '"')
	return true
}
