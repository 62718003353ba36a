package event

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/rowhook/rowhook/internal/change"
)

// exampleValue returns what appends a value to a row that fits the column's kind and type. A kind that is not known stays NULL.
func exampleValue(c *change.Column, r *rand.Rand) func([]byte) []byte {
	n, typ := r.IntN(9000)+1000, strings.ToLower(c.Type)
	text := func(s string) func([]byte) []byte {
		return func(p []byte) []byte { return change.AppendBytes(p, c.Number, []byte(s), false) }
	}
	switch c.Kind {
	case change.Int:
		return func(p []byte) []byte { return change.AppendInt(p, c.Number, int64(exampleInteger(typ, n))) }
	case change.Uint:
		return func(p []byte) []byte { return change.AppendUint(p, c.Number, uint64(exampleInteger(typ, n))) }
	case change.Float:
		return func(p []byte) []byte { return change.AppendFloat(p, c.Number, float32(n)/4) }
	case change.Double:
		return func(p []byte) []byte { return change.AppendDouble(p, c.Number, float64(n)/4) }
	case change.Decimal:
		return text(exampleDecimal(typ, n))
	case change.Text:
		return text(exampleText(c.Name, c.Type, n))
	case change.Bytes:
		return text(exampleBytes(typ, n))
	case change.JSON:
		return text(fmt.Sprintf(`{"example": %d}`, n))
	case change.Date:
		return text(fmt.Sprintf("2026-01-%02d", n%31+1))
	case change.Time:
		return text(fmt.Sprintf("%02d:%02d:%02d", n%24, n%60, n%59) + fraction(typ))
	case change.Datetime, change.Timestamp:
		return text(fmt.Sprintf("2026-01-%02d %02d:%02d:%02d", n%31+1, n%24, n%60, n%59) + fraction(typ))
	case change.Geometry:
		return text("\x00\x00\x00\x00" + "\x01\x01\x00\x00\x00" + strings.Repeat("\x00", 16)) // POINT(0 0)
	case change.Vector:
		return text(exampleVector(typ, n))
	default:
		return func(p []byte) []byte { return p }
	}
}

func exampleInteger(typ string, n int) int {
	switch {
	case strings.HasPrefix(typ, "tinyint(1)"), strings.HasPrefix(typ, "bit"):
		return n % 2
	case strings.HasPrefix(typ, "tinyint"):
		return n % 100
	case strings.HasPrefix(typ, "year"):
		return 2000 + n%100
	}
	return n
}

// exampleDecimal fits "decimal(12,2)".
func exampleDecimal(typ string, n int) string {
	precision, scale, _ := strings.Cut(arguments(typ), ",")
	p, err1 := strconv.Atoi(strings.TrimSpace(precision))
	s, err2 := strconv.Atoi(strings.TrimSpace(scale))
	if err1 != nil {
		p = 10
	}
	if err2 != nil {
		s = 0
	}
	digits := strconv.Itoa(n)
	whole := digits[:max(0, min(len(digits), p-s))]
	if whole == "" {
		whole = "0"
	}
	if s <= 0 {
		return whole
	}
	return whole + "." + (digits + strings.Repeat("0", s))[:s]
}

func exampleText(name, typ string, n int) string {
	if kind, _, _ := strings.Cut(strings.ToLower(typ), "("); kind == "enum" || kind == "set" {
		return firstLabel(arguments(typ))
	}
	s := fmt.Sprintf("example %d", n)
	switch name := strings.ToLower(name); {
	case strings.Contains(name, "mail"):
		s = fmt.Sprintf("user%d@example.com", n)
	case strings.Contains(name, "url") || strings.Contains(name, "link"):
		s = fmt.Sprintf("https://example.com/%d", n)
	case strings.Contains(name, "phone"):
		s = fmt.Sprintf("+1 555 0100 %d", n)
	case typ == "inet4":
		s = fmt.Sprintf("192.0.2.%d", n%200)
	case typ == "inet6":
		s = fmt.Sprintf("2001:db8::%d", n)
	case typ == "uuid" || strings.Contains(name, "uuid") || arguments(typ) == "36":
		s = fmt.Sprintf("00000000-0000-4000-8000-%012d", n)
	}
	if limit, err := strconv.Atoi(arguments(typ)); err == nil {
		s = s[:min(len(s), max(limit, 0))]
	}
	return s
}

// exampleVector fits "vector(3)".
func exampleVector(typ string, n int) string {
	count, err := strconv.Atoi(arguments(typ))
	if err != nil {
		count = 1
	}
	var b []byte
	for i := range count {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(n+i)/4))
	}
	return string(b)
}

func exampleBytes(typ string, n int) string {
	s := []byte(strconv.Itoa(n))
	limit, err := strconv.Atoi(arguments(typ))
	switch {
	case err != nil:
	case strings.HasPrefix(typ, "binary"):
		s = append(s, bytes.Repeat([]byte{0}, max(0, limit-len(s)))...)[:max(0, limit)]
	default:
		s = s[:min(len(s), max(limit, 0))]
	}
	return string(s)
}

// fraction is as long as the type's fractional digits.
func fraction(typ string) string {
	n, err := strconv.Atoi(arguments(typ))
	if err != nil || n < 1 || n > 6 {
		return ""
	}
	return "." + "500000"[:n]
}

// arguments returns what stands in the type's parentheses.
func arguments(typ string) string {
	_, rest, _ := strings.Cut(typ, "(")
	if i := strings.LastIndexByte(rest, ')'); i >= 0 {
		return rest[:i]
	}
	return ""
}

// firstLabel returns the first label of "'a','b'"; a quote within one is doubled.
func firstLabel(labels string) string {
	var out strings.Builder
	for i := 1; i < len(labels); i++ {
		if labels[i] == '\'' {
			if i+1 >= len(labels) || labels[i+1] != '\'' {
				break
			}
			i++
		}
		out.WriteByte(labels[i])
	}
	return out.String()
}
