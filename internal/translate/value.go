package translate

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/rowhook/rowhook/internal/change"
)

// ErrNotExact is wrapped by errors about values that JSON cannot hold exactly.
var ErrNotExact = errors.New("JSON cannot hold the value")

func appendValue(p []byte, c *change.Column, v change.Value) ([]byte, error) {
	if v.State == change.Null {
		return append(p, "null"...), nil
	}
	switch v.Kind {
	case change.Int:
		if fitsNumber(c.Type) {
			return strconv.AppendInt(p, v.Int(), 10), nil
		}
		return append(strconv.AppendInt(append(p, '"'), v.Int(), 10), '"'), nil
	case change.Uint:
		if fitsNumber(c.Type) {
			return strconv.AppendUint(p, v.Uint(), 10), nil
		}
		return append(strconv.AppendUint(append(p, '"'), v.Uint(), 10), '"'), nil
	case change.Float:
		return appendFloat(p, float64(v.Float()), 32)
	case change.Double:
		return appendFloat(p, v.Double(), 64)
	case change.Decimal, change.Text, change.Date, change.Time, change.Datetime:
		return appendText(p, v.Bytes())
	case change.Timestamp:
		return appendTimestamp(p, v.Bytes())
	case change.Bytes, change.Geometry:
		return append(base64.StdEncoding.AppendEncode(append(p, '"'), v.Bytes()), '"'), nil
	case change.Vector:
		return appendVector(p, v.Bytes())
	case change.JSON:
		if validJSON(v.Bytes()) {
			return append(p, v.Bytes()...), nil
		}
		return appendText(p, v.Bytes())
	default:
		return nil, fmt.Errorf("%w: a value of kind %d", ErrNotExact, v.Kind)
	}
}

// fitsNumber reports whether every value of the integer type survives a reader that keeps numbers as doubles. The form follows
// from the type alone, so that it never changes from row to row; a type that is not known gives strings.
func fitsNumber(typ string) bool {
	if typ == "" {
		return false
	}
	switch typ[0] | 0x20 {
	case 't', 's', 'm', 'i', 'y': // tinyint, smallint, mediumint, int and integer, year
		return true
	case 'b': // bit(n), but not bigint
		return len(typ) >= 4 && typ[1]|0x20 == 'i' && typ[2]|0x20 == 't' && bitWidth(typ[3:]) <= 32
	}
	return false
}

func bitWidth(s string) int {
	n := 0
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= '0' && c <= '9' {
			n = min(n*10+int(c-'0'), 1000)
		}
	}
	return n
}

func appendFloat(p []byte, f float64, bits int) ([]byte, error) {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, fmt.Errorf("%w: the number is %v", ErrNotExact, f)
	}
	return change.AppendNumber(p, f, bits), nil
}

// appendVector appends the array of the vector's numbers. MySQL keeps out what is no number; what came otherwise is not sent.
func appendVector(p, b []byte) ([]byte, error) {
	if len(b)%4 != 0 {
		return nil, fmt.Errorf("%w: a vector of %d bytes", ErrNotExact, len(b))
	}
	for f := range change.VectorNumbers(b) {
		if f64 := float64(f); math.IsInf(f64, 0) || math.IsNaN(f64) {
			return nil, fmt.Errorf("%w: a vector holds the number %v", ErrNotExact, f)
		}
	}
	return change.AppendVector(p, b), nil
}

// appendTimestamp appends a timestamp as RFC 3339; what is none is text like any other.
func appendTimestamp(p, b []byte) ([]byte, error) {
	if !change.IsTimestamp(b) {
		return appendText(p, b)
	}
	return append(change.AppendTimestamp(append(p, '"'), b), '"'), nil
}
