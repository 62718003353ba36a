package mysql

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// jsonEdges are SQL expressions of JSON documents that are easily rendered wrong.
func jsonEdges() []string {
	docs := []string{`null`, `true`, `false`, `0`, `-1`, `32767`, `32768`, `-32769`, `65535`, `65536`, `2147483648`, `-2147483649`, `9223372036854775807`,
		`-9223372036854775808`, `18446744073709551615`, `18446744073709551616`, `1.0`, `-0.0`, `0.1`, `1e15`, `1e14`, `123456789012345`, `1234567890123456.5`, `1234567890123456.0`, `12345678901234567e0`, `1.5e-15`, `1.23456789e-15`, `1.5e-16`, `1e-5`, `1e-15`, `1e-16`, `2.5e-7`,
		`1e100`, `1.7976931348623157e308`, `5e-324`, `100.0`, `123456789.125`, `""`, `"é😀"`, `"\u0000\u0001\u001f\u007f\b\f\n\r\t\"\\\/"`, `[]`, `{}`, `[[[]]]`,
		`{"b":1,"a":{"c":[1,2.0,"x",null,true]}}`, `{"":1,"long key":[{}],"ä":"ö"}`, `[1,-1,70000,-70000,3.5,"s",{"k":[false]}]`}
	var out []string
	for _, d := range docs {
		out = append(out, quoted(d))
	}
	return append(out,
		"JSON_OBJECT('d', CAST('12.340' AS DECIMAL(10,3)), 'n', CAST('-0.5' AS DECIMAL(3,2)), 'z', CAST('0' AS DECIMAL(65,30)))",
		"JSON_ARRAY(CAST('2026-01-02' AS DATE), CAST('2026-01-02 03:04:05' AS DATETIME), CAST('2026-01-02 03:04:05.123456' AS DATETIME(6)), TIMESTAMP'2026-01-02 03:04:05.5')",
		"JSON_ARRAY(CAST('-838:59:59' AS TIME), CAST('00:00:00.000001' AS TIME(6)), CAST('-00:00:00.5' AS TIME(1)), CAST('100:00:00' AS TIME))",
		"JSON_ARRAY(CAST('0000-00-00' AS DATE), CAST('2026-00-00' AS DATE))",
		"JSON_OBJECT('b', x'cafe', 'e', CAST('' AS BINARY), 'long', CAST(REPEAT('abc', 100) AS BINARY), 'line', CAST(REPEAT('a', 57) AS BINARY), 'more', CAST(REPEAT('a', 58) AS BINARY), 'bit', b'101', 'y', CAST(2026 AS YEAR))",
		"JSON_ARRAY(CAST(1.5 AS FLOAT), CAST(0.1 AS FLOAT), PI(), 1/3, 1e0/3)",
		"CAST(CONCAT('[', REPEAT('123456,', 20000), '\"end\"]') AS JSON)",                                    // large array, small values
		"CAST(CONCAT('{\"big\":\"', REPEAT('x', 70000), '\",\"i\":-70000,\"u\":65536,\"t\":true}') AS JSON)", // large object, values in their entries
		"CAST(CONCAT(REPEAT('[', 100), REPEAT(']', 100)) AS JSON)",
		"JSON_SET('{\"a\":1}', '$.a', 2.0, '$.b', 1e0)")
}

// randJSON returns a document with everything in it.
func randJSON(r *rand.Rand) string {
	var b strings.Builder
	writeJSON(r, &b, 0)
	return quoted(b.String())
}

func writeJSON(r *rand.Rand, b *strings.Builder, depth int) {
	n := 9
	if depth > 4 {
		n = 7
	}
	switch r.IntN(n) {
	case 0:
		b.WriteString([]string{"null", "true", "false"}[r.IntN(3)])
	case 1:
		b.WriteString(strconv.FormatInt(int64(r.Uint64())>>r.UintN(64), 10))
	case 2:
		b.WriteString(strconv.FormatUint(r.Uint64()>>r.UintN(64), 10))
	case 3:
		b.WriteString(strconv.FormatFloat(float64(r.IntN(2000000)-1000000)/math.Pow(10, float64(r.IntN(12))), 'e', -1, 64))
	case 4:
		for {
			if f := math.Float64frombits(r.Uint64()); !math.IsNaN(f) && math.Abs(f) < 1e308 && math.Abs(f) > 1e-307 {
				b.WriteString(strconv.FormatFloat(f, 'e', -1, 64))
				return
			}
		}
	case 5, 6:
		fmt.Fprintf(b, "%s", jsonQuoted(r))
	case 7:
		b.WriteByte('[')
		for i := range r.IntN(6) {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSON(r, b, depth+1)
		}
		b.WriteByte(']')
	default:
		b.WriteByte('{')
		for i := range r.IntN(6) {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(jsonQuoted(r) + ":")
			writeJSON(r, b, depth+1)
		}
		b.WriteByte('}')
	}
}

func jsonQuoted(r *rand.Rand) string {
	runes := []rune("abc/\x00\x1f\x7f\n\"\\é中😀 ")
	var s strings.Builder
	s.WriteByte('"')
	for range r.IntN(20) {
		switch c := runes[r.IntN(len(runes))]; {
		case c < 0x20:
			fmt.Fprintf(&s, `\u%04x`, c)
		case c == '"' || c == '\\':
			s.WriteString(`\` + string(c))
		default:
			s.WriteRune(c)
		}
	}
	return s.String() + `"`
}
