package change

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
)

// TextValue returns a value of KindText, or NULL if text is nil. It aliases text.
func TextValue(text []byte) Value {
	if text == nil {
		return Value{State: Null, Kind: Text}
	}
	return Value{State: Set, Kind: Text, bytes: text}
}

// AppendText appends a set value as text: what events hold of it in JSON, without quotes and escapes. Integers are digits, binary
// values base64, timestamps RFC 3339, a vector the JSON array of its numbers; a document stands as the server gave it.
func (v Value) AppendText(p []byte) []byte {
	switch v.Kind {
	case Int:
		return strconv.AppendInt(p, v.Int(), 10)
	case Uint:
		return strconv.AppendUint(p, v.Uint(), 10)
	case Float:
		return AppendNumber(p, float64(v.Float()), 32)
	case Double:
		return AppendNumber(p, v.Double(), 64)
	case Bytes, Geometry:
		return base64.StdEncoding.AppendEncode(p, v.bytes)
	case Timestamp:
		return AppendTimestamp(p, v.bytes)
	case Vector:
		return AppendVector(p, v.bytes)
	default:
		return append(p, v.bytes...)
	}
}

// AppendNumber appends the shortest decimal number that reads back as the same float of so many bits, in the form of JSON.
func AppendNumber(p []byte, f float64, bits int) []byte {
	abs, format := math.Abs(f), byte('f')
	if abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(p, f, format, -1, bits)
}

// VectorNumbers returns the numbers of a KindVector value, one after the other.
func VectorNumbers(b []byte) func(yield func(float32) bool) {
	return func(yield func(float32) bool) {
		for ; len(b) >= 4; b = b[4:] {
			if !yield(math.Float32frombits(binary.LittleEndian.Uint32(b))) {
				return
			}
		}
	}
}

// AppendVector appends the numbers of a vector as a JSON array, each the shortest that reads back as the same.
func AppendVector(p, b []byte) []byte {
	p = append(p, '[')
	first := true
	for f := range VectorNumbers(b) {
		if !first {
			p = append(p, ',')
		}
		p, first = AppendNumber(p, float64(f), 32), false
	}
	return append(p, ']')
}

// AppendTimestamp turns "2026-01-31 13:37:00.000" into "2026-01-31T13:37:00.000Z". A zero timestamp, and what is not laid out as the
// server does it, stays as it is.
func AppendTimestamp(p, b []byte) []byte {
	const day = len("2026-01-31")
	if !IsTimestamp(b) {
		return append(p, b...)
	}
	p = append(p, b[:day]...)
	p = append(append(p, 'T'), b[day+1:]...)
	return append(p, 'Z')
}

// IsTimestamp reports whether b is a timestamp of the server, and not the zero one.
func IsTimestamp(b []byte) bool {
	const layout = "0000-00-00 00:00:00.000000"
	if len(b) < len("2026-01-31 13:37:00") || len(b) > len(layout) || bytes.HasPrefix(b, []byte(layout[:10])) {
		return false
	}
	for i, c := range b {
		if l := layout[i]; c != l && (l != '0' || c < '0' || c > '9') {
			return false
		}
	}
	return true
}
