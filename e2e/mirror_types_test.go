package e2e

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/rowhook/rowhook/internal/dbserver"
)

// mirrorType is a column type and how to write a random value of it in SQL.
type mirrorType struct {
	sql   string
	value func(*rand.Rand) string
	// only is the kind of server that has the type; empty means both.
	only dbserver.Kind
}

// wholeNumber writes integers between two bounds, often the bounds themselves.
func wholeNumber(low, high int64) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		switch r.IntN(8) {
		case 0:
			return strconv.FormatInt(low, 10)
		case 1:
			return strconv.FormatInt(high, 10)
		}
		return strconv.FormatInt(low+int64(r.Uint64N(uint64(high)-uint64(low))), 10)
	}
}

func positive(high uint64) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		if r.IntN(6) == 0 {
			return strconv.FormatUint(high, 10)
		}
		return strconv.FormatUint(r.Uint64N(high), 10)
	}
}

func decimalValue(whole, fraction int) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		var b strings.Builder
		if r.IntN(2) == 0 {
			b.WriteByte('-')
		}
		b.WriteByte('0')
		for range r.IntN(whole + 1) {
			b.WriteByte(byte('0' + r.IntN(10)))
		}
		b.WriteByte('.')
		for range fraction {
			b.WriteByte(byte('0' + r.IntN(10)))
		}
		return b.String()
	}
}

func doubleValue(r *rand.Rand) string {
	f := math.Float64frombits(r.Uint64())
	if math.IsNaN(f) || math.IsInf(f, 0) || math.Abs(f) < 1e-300 {
		f = r.NormFloat64()
	}
	return strconv.FormatFloat(f, 'e', -1, 64)
}

func floatValue(r *rand.Rand) string {
	f := math.Float32frombits(r.Uint32())
	if f != f || math.IsInf(float64(f), 0) || math.Abs(float64(f)) < 1e-37 {
		f = float32(r.NormFloat64())
	}
	return strconv.FormatFloat(float64(f), 'e', -1, 32)
}

// textOf writes text of up to n characters out of an alphabet.
func textOf(alphabet string, n int) func(*rand.Rand) string {
	letters := []rune(alphabet)
	return func(r *rand.Rand) string {
		var b strings.Builder
		for range r.IntN(n + 1) {
			b.WriteRune(letters[r.IntN(len(letters))])
		}
		return "_utf8mb4 X'" + hex.EncodeToString([]byte(b.String())) + "'"
	}
}

func bytesOf(n int) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		b := make([]byte, r.IntN(n+1))
		for i := range b {
			b[i] = byte(r.UintN(256))
		}
		if len(b) > 1 && r.IntN(3) == 0 {
			b[len(b)-1] = 0
		}
		return "X'" + hex.EncodeToString(b) + "'"
	}
}

func dateValue(r *rand.Rand) string {
	switch r.IntN(12) {
	case 0:
		return "0000-00-00"
	case 1:
		return fmt.Sprintf("%04d-%02d-00", r.IntN(9999), r.IntN(13))
	}
	return fmt.Sprintf("%04d-%02d-%02d", 1+r.IntN(9999), 1+r.IntN(12), 1+r.IntN(28))
}

// clockValue is a time of day with so many digits of a second.
func clockValue(r *rand.Rand, hours, digits int) string {
	text := fmt.Sprintf("%02d:%02d:%02d", r.IntN(hours), r.IntN(60), r.IntN(60))
	if digits > 0 {
		text += "." + fmt.Sprintf("%06d", r.IntN(1_000_000))[:digits]
	}
	return text
}

func timeValue(digits int) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		sign := ""
		if r.IntN(3) == 0 {
			sign = "-"
		}
		return "'" + sign + clockValue(r, 839, digits) + "'"
	}
}

func datetimeValue(digits int) func(*rand.Rand) string {
	return func(r *rand.Rand) string { return "'" + dateValue(r) + " " + clockValue(r, 24, digits) + "'" }
}

func timestampValue(digits int) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		return "'" + fmt.Sprintf("%04d-%02d-%02d ", 1971+r.IntN(66), 1+r.IntN(12), 1+r.IntN(28)) + clockValue(r, 24, digits) + "'"
	}
}

func labelOf(labels ...string) func(*rand.Rand) string {
	return func(r *rand.Rand) string { return "'" + labels[r.IntN(len(labels))] + "'" }
}

func setOf(labels ...string) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		var some []string
		for _, l := range labels {
			if r.IntN(2) == 0 {
				some = append(some, l)
			}
		}
		return "'" + strings.Join(some, ",") + "'"
	}
}

// jsonValue is a document without decimals and moments: those the server cannot read back from its own text.
func jsonValue(r *rand.Rand) string {
	return "'" + strings.ReplaceAll(jsonText(r, 0), `\`, `\\`) + "'"
}

func jsonText(r *rand.Rand, depth int) string {
	kinds := 8
	if depth > 2 {
		kinds = 6
	}
	switch r.IntN(kinds) {
	case 0:
		return "null"
	case 1:
		return "true"
	case 2:
		return strconv.FormatInt(int64(r.Uint64()), 10)
	case 3:
		return strconv.FormatUint(r.Uint64(), 10)
	case 4:
		return strconv.FormatFloat(float64(r.Int64N(1_000_000_000))/1024, 'f', -1, 64)
	case 5:
		return []string{`""`, `"käse"`, `"\u0001\n\t"`, `"日本🦆"`, `"a\\b"`}[r.IntN(5)]
	case 6:
		var items []string
		for range r.IntN(5) {
			items = append(items, jsonText(r, depth+1))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	var items []string
	for i := range r.IntN(5) {
		items = append(items, fmt.Sprintf(`"k%d": %s`, i, jsonText(r, depth+1)))
	}
	return "{" + strings.Join(items, ", ") + "}"
}

func shape(r *rand.Rand) string {
	point := func() string { return fmt.Sprintf("%d %d.25", r.IntN(90)-45, r.IntN(90)-45) }
	text := "POINT(" + point() + ")"
	if r.IntN(2) == 0 {
		text = "LINESTRING(" + point() + ", " + point() + ", " + point() + ")"
	}
	return fmt.Sprintf("ST_GeomFromText('%s', %d)", text, []int{0, 4326}[r.IntN(2)])
}

func vectorValue(r *rand.Rand) string {
	b := make([]byte, 0, 12)
	for range 3 {
		bits := math.Float32bits(float32(r.NormFloat64()))
		b = append(b, byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24))
	}
	return "X'" + hex.EncodeToString(b) + "'"
}

const (
	asciiLetters  = "abcXYZ 019_-'\"\\%;"
	latinLetters  = asciiLetters + "äöüßéÿ€Š"
	anyLetters    = latinLetters + "日本語ж🦆\u0000\n"
	basicLetters  = latinLetters + "日本語ж\n"
	chineseLetter = asciiLetters + "中文国"
	kanjiLetters  = asciiLetters + "日本語カ"
	koreanLetters = asciiLetters + "한국어"
)

// mirrorTypes are the types that random tables are made of.
func mirrorTypes() []mirrorType {
	return []mirrorType{
		{sql: "TINYINT", value: wholeNumber(-128, 127)},
		{sql: "BOOL", value: wholeNumber(0, 1)},
		{sql: "SMALLINT UNSIGNED", value: wholeNumber(0, 65535)},
		{sql: "MEDIUMINT", value: wholeNumber(-1<<23, 1<<23-1)},
		{sql: "MEDIUMINT UNSIGNED", value: wholeNumber(0, 1<<24-1)},
		{sql: "INT", value: wholeNumber(math.MinInt32, math.MaxInt32)},
		{sql: "INT UNSIGNED", value: wholeNumber(0, math.MaxUint32)},
		{sql: "BIGINT", value: wholeNumber(math.MinInt64, math.MaxInt64)},
		{sql: "BIGINT UNSIGNED", value: positive(math.MaxUint64)},
		{sql: "DECIMAL(10,2)", value: decimalValue(7, 2)},
		{sql: "DECIMAL(65,30)", value: decimalValue(34, 30)},
		{sql: "DECIMAL(18,0) UNSIGNED", value: positive(999_999_999_999_999_999)},
		{sql: "FLOAT", value: floatValue},
		{sql: "DOUBLE", value: doubleValue},
		{sql: "BIT(1)", value: wholeNumber(0, 1)},
		{sql: "BIT(13)", value: wholeNumber(0, 1<<13-1)},
		{sql: "BIT(64)", value: positive(math.MaxUint64)},
		{sql: "CHAR(12) CHARACTER SET utf8mb4", value: textOf(anyLetters, 12)},
		{sql: "CHAR(40) CHARACTER SET latin1", value: textOf(latinLetters, 40)},
		{sql: "VARCHAR(60) CHARACTER SET latin1", value: textOf(latinLetters, 60)},
		{sql: "VARCHAR(300) CHARACTER SET utf8mb4", value: textOf(anyLetters, 300)},
		{sql: "VARCHAR(20) CHARACTER SET utf8mb3", value: textOf(basicLetters, 20)},
		{sql: "VARCHAR(20) CHARACTER SET gbk", value: textOf(chineseLetter, 20)},
		{sql: "VARCHAR(20) CHARACTER SET sjis", value: textOf(kanjiLetters, 20)},
		{sql: "VARCHAR(20) CHARACTER SET euckr", value: textOf(koreanLetters, 20)},
		{sql: "VARCHAR(20) CHARACTER SET ucs2", value: textOf(basicLetters, 20)},
		{sql: "VARCHAR(20) CHARACTER SET utf16", value: textOf(anyLetters, 20)},
		{sql: "VARCHAR(20) CHARACTER SET utf32", value: textOf(anyLetters, 20)},
		{sql: "TINYTEXT CHARACTER SET utf8mb4", value: textOf(anyLetters, 40)},
		{sql: "TEXT CHARACTER SET latin1", value: textOf(latinLetters, 900)},
		{sql: "LONGTEXT CHARACTER SET utf8mb4", value: textOf(anyLetters, 2000)},
		{sql: "BINARY(9)", value: bytesOf(9)},
		{sql: "VARBINARY(300)", value: bytesOf(300)},
		{sql: "TINYBLOB", value: bytesOf(255)},
		{sql: "BLOB", value: bytesOf(1000)},
		{sql: "MEDIUMBLOB", value: bytesOf(3000)},
		{sql: "DATE", value: func(r *rand.Rand) string { return "'" + dateValue(r) + "'" }},
		{sql: "TIME", value: timeValue(0)},
		{sql: "TIME(3)", value: timeValue(3)},
		{sql: "TIME(6)", value: timeValue(6)},
		{sql: "DATETIME", value: datetimeValue(0)},
		{sql: "DATETIME(2)", value: datetimeValue(2)},
		{sql: "DATETIME(6)", value: datetimeValue(6)},
		{sql: "TIMESTAMP NULL", value: timestampValue(0)},
		{sql: "TIMESTAMP(5) NULL", value: timestampValue(5)},
		{sql: "YEAR", value: wholeNumber(1901, 2155)},
		{sql: "ENUM('small','größer','it''s') CHARACTER SET utf8mb4", value: labelOf("small", "größer", "it''s")},
		{sql: "SET('a','b','ç','d') CHARACTER SET latin1", value: setOf("a", "b", "ç", "d")},
		{sql: "JSON", value: jsonValue},
		{sql: "GEOMETRY", value: shape},
		{sql: "VECTOR(3)", value: vectorValue, only: dbserver.MySQL},
		{sql: "UUID", value: func(r *rand.Rand) string {
			return fmt.Sprintf("'%08x-%04x-4%03x-%04x-%012x'", r.Uint32(), r.UintN(1<<16), r.UintN(1<<12), 0x8000+r.UintN(1<<14), r.Uint64N(1<<48))
		}, only: dbserver.MariaDB},
		{sql: "INET6", value: func(r *rand.Rand) string { return fmt.Sprintf("'2001:db8::%x:%x'", r.UintN(1<<16), r.UintN(1<<16)) }, only: dbserver.MariaDB},
		{sql: "INET4", value: func(r *rand.Rand) string {
			return fmt.Sprintf("'10.%d.%d.%d'", r.UintN(256), r.UintN(256), r.UintN(256))
		}, only: dbserver.MariaDB},
	}
}
