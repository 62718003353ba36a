package mysql

import (
	"database/sql"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

var update = flag.Bool("update", false, "write charset_tables.txt anew, from the servers")

// tableCharsets are the character sets that need a table, with the bytes of their longest code.
func tableCharsets(kind dbserver.Kind) map[string]int {
	sets := map[string]int{
		"big5": 2, "cp932": 2, "sjis": 2, "euckr": 2, "gb2312": 2, "gbk": 2, "ujis": 3, "eucjpms": 3,
	}
	for _, name := range strings.Fields(`latin1 latin2 latin5 latin7 cp1250 cp1251 cp1256 cp1257 cp850 cp852 cp866 koi8r koi8u greek hebrew
		macce macroman armscii8 geostd8 dec8 hp8 keybcs2 swe7 tis620`) {
		sets[name] = 1
	}
	if kind == dbserver.MySQL {
		sets["gb18030"] = 4
	}
	return sets
}

// serverCodes asks the server what each code of a character set is, for all codes of so many bytes. Codes that begin with one of single,
// which is a character by itself, are none.
func serverCodes(t *testing.T, c *sql.Conn, charset string, size int, single map[uint32]rune) map[uint32]rune {
	t.Helper()
	// The codes are those of the bytes a to d; c and d are the fastest.
	code, from, group := "UNHEX(CONCAT(d.h))", "n d", "''"
	switch size {
	case 2:
		code, from, group = "UNHEX(CONCAT(c.h, d.h))", "n c JOIN n d ON c.n > 127 AND d.n > 47", "c.n"
	case 3:
		code, from, group = "UNHEX(CONCAT('8F', c.h, d.h))", "n c JOIN n d ON c.n > 127 AND d.n > 127", "c.n"
	case 4:
		code = "UNHEX(CONCAT(a.h, b.h, c.h, d.h))"
		from, group = "n a JOIN n b ON "+quadLeads()+" AND b.n BETWEEN 48 AND 57 JOIN n c ON c.n BETWEEN 129 AND 254 JOIN n d ON d.n BETWEEN 48 AND 57", "a.n, b.n"
	}
	rows, err := c.QueryContext(t.Context(), fmt.Sprintf(`SELECT GROUP_CONCAT(HEX(%s), ' ', COALESCE(HEX(CONVERT(CONVERT(%s USING %s) USING utf32)), '') SEPARATOR ',')
		FROM %s GROUP BY %s`, code, code, charset, from, group))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[uint32]rune{}
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		for pair := range strings.SplitSeq(text, ",") {
			code, char, _ := strings.Cut(pair, " ")
			n, err := strconv.ParseUint(code, 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			// A question mark stands for what is no character; more than one character, or none, for what is no code.
			if r, err := strconv.ParseUint(char, 16, 32); err == nil && len(char) == 8 && (r != '?' || n == '?') {
				if _, whole := single[uint32(n)>>(8*(size-1))]; size == 1 || !whole {
					out[uint32(n)] = rune(r)
				}
			}
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// eachCode calls f for each length of codes that the character set has.
func eachCode(t *testing.T, c *sql.Conn, charset string, longest int, f func(size int, codes map[uint32]rune)) {
	t.Helper()
	single := serverCodes(t, c, charset, 1, nil)
	f(1, single)
	for size := 2; size <= longest; size++ {
		if longest != 4 || size != 3 {
			f(size, serverCodes(t, c, charset, size, single))
		}
	}
}

// quadLeads are the first bytes of four that are looked at: of the planes behind the first, whose codes are in order, only the ends.
func quadLeads() string {
	if *update {
		return "a.n BETWEEN 129 AND 254"
	}
	return "a.n IN (129, 130, 131, 132, 133, 143, 144, 227, 228, 254)"
}

// byteTable makes the table n of all bytes and their hex digits.
func byteTable(t *testing.T, c *sql.Conn) {
	t.Helper()
	var values []string
	for n := range 256 {
		values = append(values, fmt.Sprintf("(%d, '%02X')", n, n))
	}
	must(t, c, "SET SESSION group_concat_max_len = 4000000, max_error_count = 0; CREATE TABLE n (n INT PRIMARY KEY, h CHAR(2)) CHARACTER SET ascii; INSERT INTO n VALUES "+strings.Join(values, ","))
}

// Every code of every character set is the character that the server makes of it, and no other code is any.
func TestCharsetTables(t *testing.T) {
	t.Parallel()
	if *update {
		writeCharsetTables(t)
	}
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		_, db := dbservertest.Database(t, srv)
		c := connection(t, db)
		byteTable(t, c)
		for charset, longest := range tableCharsets(srv.Kind()) {
			table := charTableOf(charset, change.Flavor(srv.Kind()))
			if table == nil {
				t.Errorf("no table of %s", charset)
				continue
			}
			eachCode(t, c, charset, longest, func(size int, codes map[uint32]rune) { compareCodes(t, charset, size, table, codes) })
		}
	})
}

// compareCodes looks at all codes of so many bytes that the server was asked for.
func compareCodes(t *testing.T, charset string, size int, table *charTable, want map[uint32]rune) {
	t.Helper()
	wrong := 0
	check := func(code uint32) {
		b := []byte{byte(code >> 24), byte(code >> 16), byte(code >> 8), byte(code)}[4-size:]
		r, n := table.next(b)
		if n != size {
			r = noCharacter
		}
		w, ok := want[code]
		if !ok {
			w = noCharacter
		}
		if r != w && wrong < 5 {
			t.Errorf("%s: %x is %U, the server says %U", charset, b, r, w)
			wrong++
		}
	}
	switch size {
	case 1:
		for code := range uint32(256) {
			check(code)
		}
	case 2:
		for code := uint32(0x8030); code <= 0xffff; code++ {
			if code&0xff >= 0x30 {
				check(code)
			}
		}
	case 3:
		for code := uint32(0x8f8080); code <= 0x8fffff; code++ {
			if code&0xff >= 0x80 {
				check(code)
			}
		}
	default:
		for code := range want {
			check(code)
		}
	}
}

// writeCharsetTables asks one server of each kind.
func writeCharsetTables(t *testing.T) {
	t.Helper()
	texts := map[string]map[dbserver.Kind]string{}
	for _, kind := range dbserver.Kinds() {
		_, db := dbservertest.Database(t, dbservertest.Get(t, kind))
		c := connection(t, db)
		byteTable(t, c)
		for charset, longest := range tableCharsets(kind) {
			var b strings.Builder
			eachCode(t, c, charset, longest, func(size int, codes map[uint32]rune) { writeCodes(&b, size, codes) })
			if texts[charset] == nil {
				texts[charset] = map[dbserver.Kind]string{}
			}
			texts[charset][kind] = b.String()
		}
	}
	var sections []string
	for _, charset := range slices.Sorted(maps.Keys(texts)) {
		maria, my := texts[charset][dbserver.MariaDB], texts[charset][dbserver.MySQL]
		if maria == my || maria == "" {
			sections = append(sections, charset+"\n"+my)
			continue
		}
		sections = append(sections, charset+" mariadb\n"+maria, charset+" mysql\n"+my)
	}
	if err := os.WriteFile("charset_tables.txt", []byte(strings.Join(sections, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Fatal("charset_tables.txt is written; run the tests again")
}

// writeCodes writes the lines of the codes of so many bytes.
func writeCodes(b *strings.Builder, size int, codes map[uint32]rune) {
	sorted := slices.Sorted(maps.Keys(codes))
	follows := func(a, b uint32) bool { return b == a+1 && b&0xff != 0 }
	if size == 4 {
		follows = func(a, b uint32) bool { return quadNumber(bigEndianBytes(b)) == quadNumber(bigEndianBytes(a))+1 }
	}
	for i := 0; i < len(sorted); {
		run := 1
		for i+run < len(sorted) && follows(sorted[i+run-1], sorted[i+run]) && codes[sorted[i+run]] == codes[sorted[i]]+rune(run) {
			run++
		}
		if run > 3 || size == 4 || !printable(codes[sorted[i]]) {
			fmt.Fprintf(b, "%0*x+%d %04X\n", 2*size, sorted[i], run, codes[sorted[i]])
			i += run
			continue
		}
		i = writeText(b, size, sorted, i, codes)
	}
}

// writeText writes one line of characters as they are.
func writeText(b *strings.Builder, size int, sorted []uint32, i int, codes map[uint32]rune) int {
	fmt.Fprintf(b, "%0*x ", 2*size, sorted[i])
	for first := i; i < len(sorted) && (i == first || sorted[i] == sorted[i-1]+1 && sorted[i]&0xff != 0 && printable(codes[sorted[i]])); i++ {
		b.WriteRune(codes[sorted[i]])
	}
	b.WriteByte('\n')
	return i
}

func printable(r rune) bool { return unicode.IsPrint(r) && r != ' ' && !unicode.Is(unicode.M, r) }

func bigEndianBytes(v uint32) []byte {
	return []byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
}
