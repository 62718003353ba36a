package mysql

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
)

// typeCase is a column of a table that holds every type.
type typeCase struct {
	name, ddl string
	kind      change.Kind
	edges     []string // SQL literals
	random    func(*rand.Rand) string
	sel       string // what to select in place of the text, with %s for the name
}

func (c typeCase) selected() string {
	switch {
	case c.sel != "":
		return c.sel
	case c.kind == change.Bytes, c.kind == change.Geometry, c.kind == change.Vector:
		return "HEX(%s)"
	case c.kind == change.Float, c.kind == change.Double:
		return "CAST(%s AS DOUBLE)"
	default:
		return "CAST(%s AS CHAR CHARACTER SET utf8mb4)"
	}
}

func (c typeCase) normal(t testing.TB, s string) string {
	if c.kind != change.Float && c.kind != change.Double {
		return s
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func quoted(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

func randInt(lo, hi int64) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		return strconv.FormatInt(lo+int64(r.Uint64()%(uint64(hi-lo)+1)), 10)
	}
}

func randUint(hi uint64) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		v := r.Uint64() >> r.UintN(64)
		if hi != math.MaxUint64 {
			v %= hi + 1
		}
		return strconv.FormatUint(v, 10)
	}
}

func randDecimal(whole, digits int) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		s := strings.Builder{}
		if r.IntN(2) == 0 {
			s.WriteByte('-')
		}
		for range r.IntN(whole + 1) {
			s.WriteByte('0' + byte(r.IntN(10)))
		}
		s.WriteString("0"[:1])
		out := s.String()
		if whole > 0 && len(strings.TrimPrefix(out, "-")) > whole {
			out = out[:len(out)-1]
		}
		if digits > 0 {
			out += "."
			for range 1 + r.IntN(digits) {
				out += string(rune('0' + r.IntN(10)))
			}
		}
		return out
	}
}

func randDate(r *rand.Rand) string {
	return fmt.Sprintf("%04d-%02d-%02d", 1000+r.IntN(9000), 1+r.IntN(12), 1+r.IntN(28))
}

func randClock(r *rand.Rand, hours int, digits int) string {
	s := fmt.Sprintf("%02d:%02d:%02d", r.IntN(hours), r.IntN(60), r.IntN(60))
	if digits > 0 {
		s += "." + fmt.Sprintf("%06d", r.IntN(1000000))[:digits]
	}
	return s
}

func randTime(digits int) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		return quoted([]string{"", "-"}[r.IntN(2)] + randClock(r, 838, digits))
	}
}

func randDatetime(digits int) func(*rand.Rand) string {
	return func(r *rand.Rand) string { return quoted(randDate(r) + " " + randClock(r, 24, digits)) }
}

func randTimestamp(digits int) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		return quoted(fmt.Sprintf("%04d-%02d-%02d ", 1971+r.IntN(66), 1+r.IntN(12), 1+r.IntN(28)) + randClock(r, 24, digits))
	}
}

func randText(limit int, alphabet string) func(*rand.Rand) string {
	runes := []rune(alphabet)
	return func(r *rand.Rand) string {
		var s strings.Builder
		for range r.IntN(limit) {
			s.WriteRune(runes[r.IntN(len(runes))])
		}
		return quoted(strings.TrimRight(s.String(), " "))
	}
}

func randHex(limit int) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		b := make([]byte, 1+r.IntN(limit))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if r.IntN(3) == 0 {
			b[len(b)-1] = 0
		}
		return fmt.Sprintf("x'%x'", b)
	}
}

func randFloat(bits int) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		for {
			f := math.Float64frombits(r.Uint64())
			if bits == 32 {
				f = float64(math.Float32frombits(r.Uint32()))
			}
			if a := math.Abs(f); a > 1e-300 && a < 1e300 && (bits == 64 || a > 1e-37 && a < 3e38) {
				return strconv.FormatFloat(f, 'e', -1, 64)
			}
		}
	}
}

func randLabels(labels ...string) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		var out []string
		for _, l := range labels {
			if r.IntN(3) == 0 {
				out = append(out, l)
			}
		}
		return quoted(strings.Join(out, ","))
	}
}

const (
	unicodeAlphabet = "abcXYZ 019'\"\\\n\t%äöü߀Жש中文日本𝄞😀"
	bmpAlphabet     = "abcXYZ 019'\"äöü߀Жש中文日本"
	latin1Alphabet  = "abc 019äöüßéÿ€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ¡¿"
)

// sixtyFour are the most labels that a SET can have.
func sixtyFour() (labels []string) {
	for i := range 64 {
		labels = append(labels, fmt.Sprintf("m%02dé", i))
	}
	return labels
}

func manyLabels(n int) (labels []string) {
	for i := range n {
		labels = append(labels, fmt.Sprintf("label %d", i))
	}
	return labels
}

func quotedList(labels []string) string {
	var q []string
	for _, l := range labels {
		q = append(q, quoted(l))
	}
	return strings.Join(q, ",")
}

func numberCases() []typeCase {
	ints := []struct {
		ddl  string
		bits uint
	}{{"TINYINT", 8}, {"SMALLINT", 16}, {"MEDIUMINT", 24}, {"INT", 32}, {"BIGINT", 64}}
	var out []typeCase
	for _, i := range ints {
		lo, hi := int64(-1)<<(i.bits-1), int64(1)<<(i.bits-1)-1
		top := uint64(1)<<(i.bits-1)*2 - 1
		out = append(out,
			typeCase{ddl: i.ddl, kind: change.Int, edges: []string{"0", "-1", "1", strconv.FormatInt(lo, 10), strconv.FormatInt(hi, 10)}, random: randInt(lo/2, hi/2)},
			typeCase{ddl: i.ddl + " UNSIGNED", kind: change.Uint, edges: []string{"0", "1", "128", strconv.FormatUint(top, 10), strconv.FormatUint(uint64(hi)+1, 10)}, random: randUint(top)})
	}
	return append(out,
		typeCase{ddl: "INT(7) ZEROFILL", kind: change.Uint, edges: []string{"0", "42", "4294967295"}, sel: "CAST(%s+0 AS CHAR)"},
		typeCase{ddl: "BIGINT(20) UNSIGNED ZEROFILL", kind: change.Uint, edges: []string{"0", "7", "18446744073709551615"}, sel: "CAST(%s+0 AS CHAR)"},
		typeCase{ddl: "BOOL", kind: change.Int, edges: []string{"0", "1", "TRUE", "FALSE"}},
		typeCase{ddl: "TINYINT(1)", kind: change.Int, edges: []string{"0", "1", "TRUE", "-128"}},
		// A YEAR between unsigned columns shows whether its signedness is counted.
		typeCase{ddl: "YEAR", kind: change.Uint, edges: []string{"0", "1901", "2155", "2026"}, sel: "CAST(%s+0 AS CHAR)"},
		typeCase{ddl: "BIGINT UNSIGNED", kind: change.Uint, edges: []string{"18446744073709551615"}},
		typeCase{ddl: "FLOAT", kind: change.Float, edges: []string{"0", "-0e0", "1.5", "-3.4e38", "1.17e-38", "0.1"}, random: randFloat(32)},
		typeCase{ddl: "DOUBLE", kind: change.Double, edges: []string{"0", "1e308", "-1e-307", "0.1", "123456789012345680000"}, random: randFloat(64)},
		typeCase{ddl: "DECIMAL(12,2)", kind: change.Decimal, edges: []string{"0", "-0.01", "0.5", "9999999999.99", "-9999999999.99", "1000000000"}, random: randDecimal(10, 2)},
		typeCase{ddl: "DECIMAL(65,30)", kind: change.Decimal, edges: []string{"0", "-1", "0.000000000000000000000000000001", "-99999999999999999999999999999999999.999999999999999999999999999999"}, random: randDecimal(35, 30)},
		typeCase{ddl: "DECIMAL(65,0)", kind: change.Decimal, edges: []string{"0", "1", strings.Repeat("9", 65), "-" + strings.Repeat("9", 65), "1000000000000000000"}, random: randDecimal(65, 0)},
		typeCase{ddl: "DECIMAL(9,9)", kind: change.Decimal, edges: []string{"0", "0.1", "-0.999999999", "0.000000001"}, random: randDecimal(0, 9)},
		typeCase{ddl: "DECIMAL(10,3) UNSIGNED", kind: change.Decimal, edges: []string{"0", "0.001", "9999999.999"}},
		typeCase{ddl: "DECIMAL(18,9)", kind: change.Decimal, edges: []string{"100000000.000000001", "-0.000000001"}, random: randDecimal(9, 9)},
		typeCase{ddl: "BIT(1)", kind: change.Uint, edges: []string{"0", "1"}, sel: "CAST(%s+0 AS CHAR)"},
		typeCase{ddl: "BIT(7)", kind: change.Uint, edges: []string{"127"}, sel: "CAST(%s+0 AS CHAR)"},
		typeCase{ddl: "BIT(17)", kind: change.Uint, edges: []string{"131071", "1"}, random: randUint(131071), sel: "CAST(%s+0 AS CHAR)"},
		typeCase{ddl: "BIT(64)", kind: change.Uint, edges: []string{"0", "18446744073709551615", "9223372036854775808"}, random: randUint(math.MaxUint64), sel: "CAST(%s+0 AS CHAR)"})
}

func timeCases() []typeCase {
	out := []typeCase{{ddl: "DATE", kind: change.Date, edges: []string{"'0000-00-00'", "'2026-00-00'", "'2026-02-00'", "'9999-12-31'", "'1000-01-01'", "'0000-01-01'"},
		random: func(r *rand.Rand) string { return quoted(randDate(r)) }}}
	for digits := range 7 {
		out = append(out,
			typeCase{ddl: fmt.Sprintf("TIME(%d)", digits), kind: change.Time, random: randTime(digits),
				edges: []string{"'838:59:59'", "'-838:59:59'", "'00:00:00'", "'-00:00:00.1'", "'-00:00:00.99'", "'-00:00:00.123456'", "'-01:00:00'", "'-100:59:59.000001'", "'00:00:00.000001'", "'99:59:59.9'"}},
			typeCase{ddl: fmt.Sprintf("DATETIME(%d)", digits), kind: change.Datetime, random: randDatetime(digits),
				edges: []string{"'0000-00-00 00:00:00'", "'2026-00-00 01:02:03.9'", "'9999-12-31 23:59:59'", "'1000-01-01 00:00:00.123456'", "'0001-01-01 00:00:00.000001'"}},
			typeCase{ddl: fmt.Sprintf("TIMESTAMP(%d) NULL", digits), kind: change.Timestamp, random: randTimestamp(digits),
				edges: []string{"'0000-00-00 00:00:00'", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'2000-02-29 23:59:59.123456'", "'2024-03-01 00:00:00.5'", "'1999-12-31 23:59:59.999'"}})
	}
	return out
}

func textCases() []typeCase {
	long := quoted(strings.Repeat("long € text ", 6000))
	return []typeCase{
		{ddl: "VARCHAR(64)", kind: change.Text, edges: []string{"''", "'x'", "'ends with space '", "'\\0zero'"}, random: randText(60, unicodeAlphabet)},
		{ddl: "VARCHAR(2000)", kind: change.Text, edges: []string{"REPEAT('ä',2000)", "''"}, random: randText(300, unicodeAlphabet)},
		{ddl: "CHAR(20)", kind: change.Text, edges: []string{"''", "'trailing   '", "'日本語日本語日本語日本語日本語日本語日本'"}, random: randText(20, unicodeAlphabet)},
		{ddl: "CHAR(255)", kind: change.Text, edges: []string{"REPEAT('😀',255)", "'x'"}, random: randText(200, unicodeAlphabet)},
		{ddl: "CHAR(100) CHARACTER SET utf8mb3", kind: change.Text, edges: []string{"REPEAT('€',100)"}, random: randText(99, bmpAlphabet)},
		{ddl: "VARCHAR(64) CHARACTER SET utf8mb3 COLLATE utf8mb3_bin", kind: change.Text, edges: []string{"''"}, random: randText(60, bmpAlphabet)},
		{ddl: "VARCHAR(200) CHARACTER SET latin1", kind: change.Text, edges: []string{"'é'", "x'8182838d8f909d80ff'", "REPEAT('ÿ',200)"}, random: randText(150, latin1Alphabet)},
		{ddl: "CHAR(30) CHARACTER SET latin1 COLLATE latin1_german1_ci", kind: change.Text, edges: []string{"'äöü'"}, random: randText(30, latin1Alphabet)},
		{ddl: "TEXT CHARACTER SET latin1", kind: change.Text, edges: []string{"REPEAT('€',3000)", "''"}, random: randText(500, latin1Alphabet)},
		{ddl: "VARCHAR(30) CHARACTER SET ascii", kind: change.Text, edges: []string{"'plain'"}, random: randText(30, "abc 123'\"")},
		{ddl: "TINYTEXT", kind: change.Text, edges: []string{"''", "REPEAT('x',255)"}, random: randText(60, unicodeAlphabet)},
		{ddl: "TEXT", kind: change.Text, edges: []string{"''", long}, random: randText(400, unicodeAlphabet)},
		{ddl: "MEDIUMTEXT", kind: change.Text, edges: []string{"''", "REPEAT('y',70000)"}, random: randText(400, unicodeAlphabet)},
		{ddl: "LONGTEXT", kind: change.Text, edges: []string{"''", "REPEAT('z',70000)"}, random: randText(400, unicodeAlphabet)},
		{ddl: "BINARY(16)", kind: change.Bytes, edges: []string{"''", "x'00'", "x'0102030405060708090a0b0c0d0e0000'", "x'20202020'", "x'000000000000000000000000000000ff'"}, random: randHex(16)},
		{ddl: "CHAR(0)", kind: change.Text, edges: []string{"''"}},
		{ddl: "VARCHAR(0)", kind: change.Text, edges: []string{"''"}},
		{ddl: "BINARY(0)", kind: change.Bytes, edges: []string{"''"}},
		{ddl: "VARBINARY(0)", kind: change.Bytes, edges: []string{"''"}},
		{ddl: "TINYBLOB", kind: change.Bytes, edges: []string{"''", "REPEAT(x'ff',255)"}, random: randHex(250)},
		{ddl: "MEDIUMBLOB", kind: change.Bytes, edges: []string{"''", "REPEAT(x'ff',70000)"}, random: randHex(300)},
		{ddl: "BINARY(255)", kind: change.Bytes, edges: []string{"''", "REPEAT('x',255)"}, random: randHex(255)},
		{ddl: "CHAR(200) CHARACTER SET binary", kind: change.Bytes, edges: []string{"'abc'"}, random: randHex(200)},
		{ddl: "VARBINARY(20)", kind: change.Bytes, edges: []string{"''", "x'0000'", "x'ff20'"}, random: randHex(20)},
		{ddl: "VARBINARY(400)", kind: change.Bytes, edges: []string{"''", "x'80'"}, random: randHex(400)},
		{ddl: "BLOB", kind: change.Bytes, edges: []string{"''", "x'c3'"}, random: randHex(300)},
		{ddl: "LONGBLOB", kind: change.Bytes, edges: []string{"''", "REPEAT(x'00ff',40000)"}, random: randHex(300)},
		{ddl: "ENUM('','a','it''s','näh','x y')", kind: change.Text, edges: []string{"''", "'a'", "'it''s'", "'näh'", "5", "'not a member'"}},
		{ddl: "ENUM('é','€') CHARACTER SET latin1", kind: change.Text, edges: []string{"'é'", "'€'"}},
		{ddl: "SET('a','b','ü','d')", kind: change.Text, edges: []string{"''", "'a'", "'a,b,ü,d'"}, random: randLabels("a", "b", "ü", "d")},
		{ddl: "SET(" + quotedList(sixtyFour()) + ") CHARACTER SET latin1", kind: change.Text, edges: []string{"''", "18446744073709551615", "9223372036854775808"}, random: randLabels(sixtyFour()...)},
		{ddl: "ENUM(" + quotedList(manyLabels(300)) + ")", kind: change.Text, edges: []string{"1", "255", "256", "300", "0"}},
		{ddl: "SET(" + quotedList(sixtyFour()[:9]) + ")", kind: change.Text, edges: []string{"511", "256"}, random: randLabels(sixtyFour()[:9]...)},
		{ddl: "SET(" + quotedList(sixtyFour()[:33]) + ")", kind: change.Text, edges: []string{"4294967296"}, random: randLabels(sixtyFour()[:33]...)},
		{ddl: "GEOMETRYCOLLECTION", kind: change.Geometry, edges: []string{"ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2),POLYGON((0 0,1 0,1 1,0 0)),MULTIPOINT(1 1,2 2))')"}},
		{ddl: "MULTIPOLYGON", kind: change.Geometry, edges: []string{"ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)),((5 5,6 5,6 6,5 5)))')"}},
		{ddl: "GEOMETRY", kind: change.Geometry, edges: []string{"ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('LINESTRING(0 0,1 1,2 2)', 4326)"}},
		{ddl: "POINT", kind: change.Geometry, edges: []string{"ST_GeomFromText('POINT(1 2)', 4326)"}},
		// After a geometry: MariaDB counts it among the columns with a character set, MySQL does not.
		{ddl: "VARCHAR(30) CHARACTER SET latin1", kind: change.Text, edges: []string{"'é€'"}, random: randText(20, latin1Alphabet)},
	}
}

func casesFor(srv *dbserver.Server) []typeCase {
	out := append(append(numberCases(), timeCases()...), textCases()...)
	kind := srv.Kind()
	if kind == dbserver.MySQL {
		out = append(out, typeCase{ddl: "JSON", kind: change.JSON, edges: jsonEdges(), random: randJSON},
			typeCase{ddl: "VARCHAR(40) COLLATE utf8mb4_0900_ai_ci", kind: change.Text, edges: []string{"'é'"}},
			typeCase{ddl: "VECTOR(5)", kind: change.Vector, edges: []string{"STRING_TO_VECTOR('[1,-2.5,1e-30,3.4028235e38,0.1]')", "x'0000803f'"}, random: randVector(5)},
			typeCase{ddl: "VECTOR(3000)", kind: change.Vector, edges: []string{"REPEAT(x'cdcccc3d', 3000)"}, random: randVector(3000)})
	} else {
		out = append(append(out, mariadbCases(srv)...), typeCase{ddl: "JSON", kind: change.JSON, edges: []string{`'{"b": 1, "a": [1.0,2]}'`, `'"é"'`}},
			typeCase{ddl: "VARCHAR(40) COLLATE utf8mb4_nopad_bin", kind: change.Text, edges: []string{"'é'"}},
			typeCase{ddl: "VARCHAR(40) COLLATE utf8mb3_uca1400_ai_ci", kind: change.Text, edges: []string{"'é'"}})
	}
	for i := range out {
		out[i].name = fmt.Sprintf("c%02d", i)
	}
	return out
}

// mariadbCases are types that only MariaDB has.
func mariadbCases(srv *dbserver.Server) []typeCase {
	out := []typeCase{
		{ddl: "UUID", kind: change.Text, random: randUUID, edges: []string{"'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'", "'123e4567-e89b-12d3-a456-426655440000'", "UUID()"}},
		{ddl: "INET4", kind: change.Text, edges: []string{"'0.0.0.0'", "'255.255.255.255'", "'10.0.0.0'", "'1.2.3.4'", "'32.0.0.32'"}},
		{ddl: "INET6", kind: change.Text, random: randInet6, edges: []string{"'::'", "'::1'", "'::1.2.3.4'", "'::ffff:1.2.3.4'", "'::ffff:0:0'", "'1::'", "'1:0:0:2::'", "'1:0:0:2:0:0:0:3'", "'1:0:2:3:4:5:6:7'",
			"'::2:3:4:5:6:7:8'", "'0:1:2:3:4:5:6:0'", "'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'", "'::0.0.1.0'", "'::1:0:0'", "'0:0:0:0:0:0:0:ffff'", "'64:ff9b::1.2.3.4'", "'::ffff:0.0.0.0'", "'2001:db8::'"}},
		{ddl: "BINARY(16)", kind: change.Bytes, edges: []string{"''", "x'00'"}, random: randHex(16)},
		{ddl: "BINARY(4)", kind: change.Bytes, edges: []string{"''", "x'01020300'"}, random: randHex(4)},
		{ddl: "VARCHAR(254) COMPRESSED", kind: change.Text, edges: []string{"''", "REPEAT('x',254)", "'short'"}, random: randText(250, unicodeAlphabet)},
		{ddl: "VARCHAR(63) COMPRESSED CHARACTER SET utf8mb4", kind: change.Text, edges: []string{"''", "REPEAT('x',63)"}, random: randText(60, unicodeAlphabet)},
		{ddl: "VARCHAR(255) COMPRESSED CHARACTER SET latin1", kind: change.Text, edges: []string{"''", "REPEAT('é',255)", "'é'"}, random: randText(200, latin1Alphabet)},
		{ddl: "VARCHAR(254) COMPRESSED CHARACTER SET latin1", kind: change.Text, edges: []string{"''", "REPEAT('é',254)"}, random: randText(200, latin1Alphabet)},
		{ddl: "VARBINARY(2000) COMPRESSED", kind: change.Bytes, edges: []string{"''", "REPEAT('x',2000)", "x'00'", "x'80'"}, random: randHex(400)},
		{ddl: "TINYTEXT COMPRESSED", kind: change.Text, edges: []string{"''", "REPEAT('x',250)"}, random: randText(60, unicodeAlphabet)},
		{ddl: "TEXT COMPRESSED CHARACTER SET utf16", kind: change.Text, edges: []string{"''", "REPEAT('x',3000)"}, random: randText(400, unicodeAlphabet)},
		{ddl: "MEDIUMTEXT COMPRESSED", kind: change.Text, edges: []string{"''", "REPEAT('y',70000)"}, random: randText(400, unicodeAlphabet)},
		{ddl: "LONGBLOB COMPRESSED", kind: change.Bytes, edges: []string{"''", "REPEAT(x'00ff',40000)", "x'00'"}, random: randHex(300)},
	}
	if !strings.HasPrefix(srv.Version(), "10.") {
		out = append(out, typeCase{ddl: "VECTOR(5)", kind: change.Vector, edges: []string{"VEC_FromText('[1,-2.5,1e-30,3.4028235e38,0.1]')"}, random: randVector(5)})
	}
	return out
}

func randVector(n int) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		var b []byte
		for range n {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(r.NormFloat64())))
		}
		return fmt.Sprintf("x'%x'", b)
	}
}

// randUUID gives each version and variant that MariaDB takes.
func randUUID(r *rand.Rand) string {
	hi, lo := r.Uint64(), r.Uint64()|1<<63
	if r.IntN(3) == 0 {
		lo &= ^uint64(0) << (8 * r.UintN(8))
	}
	return fmt.Sprintf("'%08x-%04x-%04x-%04x-%012x'", hi>>32, hi>>16&0xffff, hi&0xffff, lo>>48, lo&(1<<48-1))
}

func randInet6(r *rand.Rand) string {
	var groups []string
	for range 8 {
		groups = append(groups, strconv.FormatUint(uint64(r.Uint32()>>16*(r.Uint32()%2)>>r.UintN(16)), 16))
	}
	return quoted(strings.Join(groups, ":"))
}

func createTable(cases []typeCase) string {
	var cols []string
	for _, c := range cases {
		cols = append(cols, c.name+" "+c.ddl)
	}
	return "CREATE TABLE t (id INT PRIMARY KEY, " + strings.Join(cols, ", ") + ") CHARACTER SET utf8mb4 ROW_FORMAT=DYNAMIC"
}

// literal is the value of column c in row n: NULL, then each edge, then random ones.
func (c typeCase) literal(r *rand.Rand, n int) string {
	switch {
	case n == 0:
		return "NULL"
	case n <= len(c.edges):
		return c.edges[n-1]
	case c.random != nil && r.IntN(20) > 0:
		return c.random(r)
	case r.IntN(10) == 0:
		return "NULL"
	default:
		return c.edges[r.IntN(len(c.edges))]
	}
}

func checkKinds(t *testing.T, table *change.Table, cases []typeCase) {
	t.Helper()
	if len(table.Columns) != len(cases)+1 || len(table.Key) != 1 || table.Key[0] != 0 {
		t.Fatalf("table of %d columns and key %v", len(table.Columns), table.Key)
	}
	for i, c := range cases {
		if got := table.Columns[i+1]; got.Name != c.name || got.Kind != c.kind || got.Number != uint32(i+2) {
			t.Fatalf("column %+v, want %s of kind %d", got, c.ddl, c.kind)
		}
	}
}

func sameRow(t *testing.T, what string, cases []typeCase, want, got map[string]string) {
	t.Helper()
	for _, c := range cases {
		w, wSet := want[c.name]
		g, gSet := got[c.name]
		if w != g || wSet != gSet {
			t.Errorf("%s, row %s, %s: %s", what, want["id"], c.ddl, cmp.Diff(fmt.Sprint(w, wSet), fmt.Sprint(g, gSet)))
		}
	}
}
