package mysql

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// The numbers of the collations are the server's.
func TestCollationNumbers(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		db, err := srv.Open("")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		view := "collations"
		if srv.Kind() == dbserver.MariaDB {
			view = "collation_character_set_applicability"
		}
		rows, err := db.QueryContext(t.Context(), "SELECT id, character_set_name FROM information_schema."+view+" WHERE id IS NOT NULL")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		n := 0
		for rows.Next() {
			var id uint64
			var want string
			if err := rows.Scan(&id, &want); err != nil {
				t.Fatal(err)
			}
			n++
			if got := charsetName(id, change.Flavor(srv.Kind())); got != strings.Replace(want, "utf8_", "utf8mb3_", 1) {
				t.Errorf("collation %d has character set %s, want %s", id, got, want)
			}
		}
		if err := rows.Err(); err != nil || n < 200 {
			t.Errorf("%d collations, %v", n, err)
		}
	})
}

// Whatever the bytes, text of each character set is UTF-8 or refused, with a place inside the text.
func FuzzText(f *testing.F) {
	for _, charset := range charsetsOf(dbserver.MySQL) {
		f.Add(charset, []byte("a\x00\xd8\x00\xdc\x8f\xa1\xa1\x81\x30\x81\x30\xff"))
	}
	f.Fuzz(func(t *testing.T, charset string, text []byte) {
		for _, flavor := range []change.Flavor{change.MySQL, change.MariaDB} {
			coding := codingNamed(charset, flavor)
			if coding == nil {
				continue
			}
			out, ok := coding.toUTF8(nil, text)
			if ok && !utf8.Valid(out) {
				t.Errorf("%s: %x became %x", charset, text, out)
			}
			if at, n := coding.invalid(text); at+n > len(text) || !ok && n == 0 || ok && n > 0 {
				t.Errorf("%s: %x is valid: %v; at %d, %d bytes are no character", charset, text, ok, at, n)
			}
		}
	})
}

// A value of a compressed column is unpacked to the size that it says, or refused.
func FuzzCompressedColumn(f *testing.F) {
	for _, v := range []string{"", "\x00plain", "\x81\x03x\x9c\x4b\x4c\x4a\x06\x00\x02\x4d\x01\x27", "\x89\x03\x4b\x4c\x4a\x06\x00", "\x84\xff\xff\xff\xffx\x9c\x03\x00\x00\x00\x00\x01", "\x88", "\x10\x01"} {
		f.Add([]byte(v))
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		var inflater columnInflater
		for range 2 { // the readers are used again
			out, ok := inflater.inflate(v)
			if ok && len(v) > 0 && v[0] != 0 && uint64(len(out)) != bigEndian(v[1:1+v[0]&7]) {
				t.Errorf("%x unpacks to %d bytes", v, len(out))
			}
		}
	})
}

func TestCompressedColumn(t *testing.T) {
	t.Parallel()
	var inflater columnInflater
	for v, want := range map[string]string{"": "", "\x00plain": "plain", "\x81\x03x\x9c\x4b\x4c\x4a\x06\x00\x02\x4d\x01\x27": "abc", "\x89\x03\x4b\x4c\x4a\x06\x00": "abc"} {
		if got, ok := inflater.inflate([]byte(v)); !ok || string(got) != want {
			t.Errorf("%x unpacks to %q, %v; want %q", v, got, ok, want)
		}
	}
	for _, v := range []string{"\x10\x01a", "\x81", "\x80x", "\x85\x00\x00\x00\x00\x03", "\x89\x04\x4b\x4c\x4a\x06\x00", "\x89\x02\x4b\x4c\x4a\x06\x00", "\x81\x03x\x9c\x4b"} {
		if got, ok := inflater.inflate([]byte(v)); ok {
			t.Errorf("%x unpacks to %q", v, got)
		}
	}
}
