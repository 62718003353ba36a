package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// changeFeed is a Feed that keeps the blocks of all transactions until the last one.
type changeFeed struct {
	*logFeed
	blocks []*change.Block
	last   bool
	once   sync.Once
	ended  chan struct{}
}

// lastTable takes the row of the last transaction.
const lastTable = "zz_last"

func (f *changeFeed) BeginRows(op change.Op, t *change.Table) (*change.Builder, uint64, error) {
	f.last = f.last || t.Name == lastTable
	return f.logFeed.BeginRows(op, t)
}

func (f *changeFeed) Commit(file string, end uint64) error {
	switch {
	case f.last:
		f.once.Do(func() { close(f.ended) })
	case f.segment:
		f.builder.EndSegment(true)
		b, err := f.builder.Finish(1, change.Position{})
		if err != nil {
			return err
		}
		blk, err := change.Parse(b)
		if err != nil {
			return err
		}
		f.blocks = append(f.blocks, blk)
	}
	f.segment = false
	return f.logFeed.Commit(file, end)
}

// changesOf runs f on the server, and returns the changes that a replica reads of it, and the error that ended it early.
func changesOf(t *testing.T, srv *dbserver.Server, schema string, f func()) ([]seenChange, error) {
	t.Helper()
	db, err := srv.Open(schema)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cfg := config(srv, schema+".*")
	cfg.Source = schema // its server id follows from the name; other tests follow this server now
	r := replica(t, cfg)
	feed := &changeFeed{ended: make(chan struct{})}
	from := attach(t, r, AtNow)
	feed.logFeed = newLogFeed(t, flavorOf(srv), from)
	f()
	exec(t, db, "CREATE TABLE "+lastTable+" (id INT PRIMARY KEY)", "INSERT INTO "+lastTable+" VALUES (1)")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.Follow(ctx, from, feed) }()
	select {
	case err = <-done:
	case <-feed.ended:
		cancel()
		<-done
	}
	var out []seenChange
	for _, blk := range feed.blocks {
		if err := blk.Each(func(c *change.Change) error {
			if c.Table.Schema == schema { // what became of the tables is told by changes of another
				out = append(out, seenChange{op: c.Op, table: c.Table, before: rowText(t, c.Before), after: rowText(t, c.After)})
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out, err
}

func captured(t *testing.T, srv *dbserver.Server, schema string, f func()) []seenChange {
	t.Helper()
	out, err := changesOf(t, srv, schema, f)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Whatever is written, inserts, updates and deletes carry what the server's own SELECT shows.
func TestRowsEqualSelect(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) { rowsEqualSelect(t, srv, casesFor(srv), 60) })
}

// The same for columns of each character set, filled with all characters that it has.
func TestTextEqualsSelect(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		r := seeded(t)
		charsets := charsetsOf(srv.Kind())
		for half := range slices.Chunk(charsets, (len(charsets)+1)/2) { // all of them do not fit in a row
			rowsEqualSelect(t, srv, charsetCases(r, half, flavorOf(srv)), 30)
		}
	})
}

// More rows, and the newest MariaDB.
func TestSoakTypes(t *testing.T) {
	if on, _ := strconv.ParseBool(os.Getenv("ROWHOOK_SOAK")); !on {
		t.Fatal("this test takes long: run it with `make soak`, or set ROWHOOK_SOAK=1")
	}
	servers := []*dbserver.Server{dbservertest.Start(t, dbserver.Options{Kind: dbserver.MariaDB, Suite: "sid"})}
	for _, kind := range dbserver.Kinds() {
		servers = append(servers, dbservertest.Get(t, kind))
	}
	for _, srv := range servers {
		t.Run(srv.Version(), func(t *testing.T) {
			charactersEqualSelect(t, srv)
			for range 10 {
				rowsEqualSelect(t, srv, casesFor(srv), 300)
				for half := range slices.Chunk(charsetsOf(srv.Kind()), 20) {
					rowsEqualSelect(t, srv, charsetCases(seeded(t), half, flavorOf(srv)), 100)
				}
			}
		})
	}
}

func rowsEqualSelect(t *testing.T, srv *dbserver.Server, cases []typeCase, rows int) {
	t.Helper()
	schema, db := dbservertest.Database(t, srv)
	c, r := connection(t, db), seeded(t)
	must(t, c, createTable(cases))
	var inserted, updated map[string]map[string]string
	changes := captured(t, srv, schema, func() {
		var statements []string
		for n := range rows {
			values := []string{strconv.Itoa(n)}
			for _, col := range cases {
				values = append(values, col.literal(r, n))
			}
			statements = append(statements, "INSERT INTO t VALUES ("+strings.Join(values, ", ")+")")
		}
		must(t, c, strings.Join(statements, ";"))
		inserted = selectRows(t, c, "t", cases)
		statements = nil
		for n := range rows {
			var sets []string
			for _, col := range cases {
				if r.IntN(3) == 0 {
					sets = append(sets, col.name+" = "+col.literal(r, r.IntN(rows)))
				}
			}
			statements = append(statements, "UPDATE t SET "+strings.Join(append(sets, "id = id"), ", ")+" WHERE id = "+strconv.Itoa(n))
		}
		must(t, c, strings.Join(statements, ";"))
		updated = selectRows(t, c, "t", cases)
		must(t, c, "DELETE FROM t")
	})
	seen := map[change.Op]int{}
	for _, got := range changes {
		seen[got.op]++
		checkKinds(t, got.table, cases)
		switch got.op {
		case change.Insert:
			sameRow(t, "inserted", cases, inserted[got.after["id"]], got.after)
		case change.Update:
			sameRow(t, "before the update", cases, inserted[got.before["id"]], got.before)
			sameRow(t, "after the update", cases, updated[got.after["id"]], got.after)
		case change.Delete:
			sameRow(t, "deleted", cases, updated[got.before["id"]], got.before)
		}
	}
	if seen[change.Insert] != rows || seen[change.Delete] != rows || seen[change.Update] < rows/2 {
		t.Errorf("changes = %v, want %d rows", seen, rows)
	}
}

// charsetsOf lists the character sets of a server.
func charsetsOf(kind dbserver.Kind) []string {
	names := slices.Collect(maps.Keys(tableCharsets(kind)))
	return slices.Sorted(slices.Values(append(names, "ascii", "utf8mb3", "utf8mb4", "ucs2", "utf16", "utf16le", "utf32")))
}

// charsetCases are columns of each of the character sets.
func charsetCases(r *rand.Rand, charsets []string, flavor change.Flavor) (out []typeCase) {
	for _, charset := range charsets {
		alphabet := alphabetOf(charset, flavor)
		var labels []string
		for i := range 8 {
			labels = append(labels, fmt.Sprintf("%d%c", i, []rune(alphabet)[r.IntN(len([]rune(alphabet)))]))
		}
		list := quotedList(labels)
		for _, c := range []typeCase{
			{ddl: "VARCHAR(40)", random: randText(40, alphabet)}, {ddl: "CHAR(20)", random: randText(20, alphabet)},
			{ddl: "CHAR(150)", random: randText(150, alphabet)}, {ddl: "TEXT", random: randText(300, alphabet)},
			{ddl: "ENUM(" + list + ")", edges: []string{"''"}, random: func(r *rand.Rand) string { return strconv.Itoa(1 + r.IntN(8)) }},
			{ddl: "SET(" + list + ")", random: func(r *rand.Rand) string { return strconv.Itoa(r.IntN(256)) }},
		} {
			c.name, c.kind = fmt.Sprintf("c%03d", len(out)), change.Text
			c.ddl += " CHARACTER SET " + charset
			c.edges = append(c.edges, "''")
			out = append(out, c)
		}
	}
	return out
}

// alphabetOf returns the characters of a set that can stand in the labels of a SET.
func alphabetOf(charset string, flavor change.Flavor) string {
	switch charset {
	case "ascii":
		return "abc XYZ 019"
	case "ucs2", "utf8mb3":
		return "abcXYZ 019'\"äöü߀Жש中文日本"
	}
	table := charTableOf(charset, flavor)
	if table == nil {
		return unicodeAlphabet
	}
	runes := slices.Clone(table.single[:])
	for _, pages := range [...]*[256]*[256]rune{&table.double, &table.triple} {
		for _, page := range pages {
			if page != nil {
				runes = append(runes, page[:]...)
			}
		}
	}
	for _, run := range table.quad {
		runes = append(runes, run.char, run.char+rune(run.count-1))
	}
	runes = slices.DeleteFunc(runes, func(r rune) bool { return r <= ' ' || r == ',' || r == 0xa0 || r == 0x3000 })
	return string(runes)
}

// Every character of every character set, in a column, is the one that the server makes of it.
func TestCharactersEqualSelect(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, charactersEqualSelect)
}

func charactersEqualSelect(t *testing.T, srv *dbserver.Server) {
	schema, db := dbservertest.Database(t, srv)
	c := connection(t, db)
	charsets := charsetsOf(srv.Kind())
	for _, charset := range charsets {
		must(t, c, "CREATE TABLE t_"+charset+" (id INT PRIMARY KEY, v MEDIUMTEXT CHARACTER SET "+charset+")")
	}
	want := map[string]map[string]string{}
	changes := captured(t, srv, schema, func() {
		for _, charset := range charsets {
			insertCharacters(t, c, charset, flavorOf(srv))
			want["t_"+charset] = map[string]string{}
			for id, row := range selectRows(t, c, "t_"+charset, []typeCase{{name: "v", kind: change.Text}}) {
				want["t_"+charset][id] = row["v"]
			}
		}
	})
	for _, got := range changes {
		text, ok := want[got.table.Name][got.after["id"]]
		if !ok || text != got.after["v"] {
			t.Errorf("%s, row %s: %s", got.table.Name, got.after["id"], cmp.Diff(text, got.after["v"]))
		}
		delete(want[got.table.Name], got.after["id"])
	}
	for name, rows := range want {
		if len(rows) > 0 {
			t.Errorf("%d rows of %s did not come", len(rows), name)
		}
	}
}

// insertCharacters writes all characters of a set, in rows of a few hundred or thousand.
func insertCharacters(t *testing.T, c *sql.Conn, charset string, flavor change.Flavor) {
	t.Helper()
	var texts []string
	if table := charTableOf(charset, flavor); table != nil {
		for _, text := range tableTexts(table) {
			texts = append(texts, fmt.Sprintf("_%s x'%x'", charset, text))
		}
	} else {
		for _, text := range unicodeTexts(charset) {
			texts = append(texts, fmt.Sprintf("_utf8mb4 x'%x'", text))
		}
	}
	for i, text := range texts {
		texts[i] = fmt.Sprintf("(%d, %s)", i, text)
	}
	for some := range slices.Chunk(texts, 128) {
		must(t, c, "INSERT INTO t_"+charset+" VALUES "+strings.Join(some, ","))
	}
}

// tableTexts returns all codes of a table.
func tableTexts(table *charTable) (texts [][]byte) {
	add := func(chars *[256]rune, lead ...byte) {
		var text []byte
		for i, r := range chars {
			if r != noCharacter {
				text = append(append(text, lead...), byte(i))
			}
		}
		texts = append(texts, text)
	}
	add(&table.single)
	for i := range 256 {
		if page := table.double[i]; page != nil {
			add(page, byte(i))
		}
		if page := table.triple[i]; page != nil {
			add(page, threeByteLead, byte(i))
		}
	}
	var text []byte
	for _, run := range table.quad {
		step := uint32(1)
		if run.count > 50000 {
			step = 997 // the planes behind the first
		}
		for n := run.first; n < run.first+run.count; n += step {
			text = append(text, byte(n/12600)+0x81, byte(n/1260%10)+'0', byte(n/10%126)+0x81, byte(n%10)+'0')
		}
	}
	for some := range slices.Chunk(text, 8000) {
		texts = append(texts, some)
	}
	return texts
}

// unicodeTexts returns the first plane, and for the sets that have more a sample of them.
func unicodeTexts(charset string) (texts [][]byte) {
	last := rune(0xffff)
	switch charset {
	case "ascii":
		last = 0x7f
	case "utf8mb4", "utf16", "utf16le", "utf32":
		last = utf8.MaxRune
	}
	var text []byte
	for r := rune(0); r <= last; r++ {
		if r > 0x10000 && r < last {
			r = min(r+0x2ff, last)
		}
		if r < 0xd800 || r > 0xdfff {
			text = utf8.AppendRune(text, r)
		}
		if len(text) > 10000 || r == last {
			texts, text = append(texts, text), nil
		}
	}
	return texts
}

// What a column may hold but is no character stops the source, and says where it is.
func TestBytesThatAreNoCharacter(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		for charset, code := range map[string]string{"gbk": "A2A0", "cp1257": "A1", "cp932": "81AD"} {
			t.Run(charset, func(t *testing.T) {
				t.Parallel()
				schema, db := dbservertest.Database(t, srv)
				c := connection(t, db)
				must(t, c, "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20) CHARACTER SET "+charset+")")
				got, err := changesOf(t, srv, schema, func() { must(t, c, "INSERT INTO t VALUES (1, 'fine'), (2, x'6162"+code+"63')") })
				want := fmt.Sprintf("%s.t.v holds text that is not valid %s: 0x%s, at byte 3 of %d, is no character", schema, charset, code, 3+len(code)/2)
				if err == nil || !strings.Contains(err.Error(), want) || len(got) != 0 {
					t.Errorf("%d changes, error %v; want %s", len(got), err, want)
				}
			})
		}
	})
}

// A column of a row image is a value, NULL or absent, whatever the image: what it carries is what SELECT showed, and what changed is
// carried.
func TestRowImages(t *testing.T) {
	t.Parallel()
	const absent = "<absent>"
	type row = map[string]string
	full1 := row{"id": "1", "a": "x", "b": "text", "c": "5", "d": ""}
	delete(full1, "d") // NULL
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		for image, want := range map[string][]row{
			"FULL": {full1, {"id": "2", "c": "7"}, full1, {"id": "1", "b": "text", "c": "6"}, {"id": "1", "b": "text", "c": "6"}, {"id": "1", "b": "new", "c": "6"}, {"id": "1", "b": "new", "c": "6"}},
			"NOBLOB": {full1, {"id": "2", "b": absent, "d": absent, "c": "7"}, {"id": "1", "a": "x", "b": absent, "c": "5", "d": absent}, {"id": "1", "b": absent, "c": "6", "d": absent},
				{"id": "1", "b": absent, "c": "6", "d": absent}, {"id": "1", "b": "new", "c": "6", "d": absent}, {"id": "1", "b": absent, "c": "6", "d": absent}},
			"MINIMAL": {full1, {"id": "2", "a": absent, "b": absent, "c": absent, "d": absent}, {"id": "1", "a": absent, "b": absent, "c": absent, "d": absent}, {"id": absent, "b": absent, "c": "6", "d": absent},
				{"id": "1", "a": absent, "b": absent, "c": absent, "d": absent}, {"id": absent, "a": absent, "b": "new", "c": absent, "d": absent}, {"id": "1", "a": absent, "b": absent, "c": absent, "d": absent}},
		} {
			t.Run(image, func(t *testing.T) {
				t.Parallel()
				schema, db := dbservertest.Database(t, srv)
				c := connection(t, db)
				must(t, c, "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20), b TEXT, c INT DEFAULT 7, d BLOB); SET SESSION binlog_row_image = "+image)
				got := captured(t, srv, schema, func() {
					must(t, c, "INSERT INTO t VALUES (1, 'x', 'text', 5, NULL); INSERT INTO t (id) VALUES (2)")
					must(t, c, "UPDATE t SET a = NULL, c = 6 WHERE id = 1; UPDATE t SET b = 'new' WHERE id = 1; DELETE FROM t WHERE id = 1")
				})
				var rows []row
				for _, change := range got {
					for _, r := range []row{change.before, change.after} {
						if r != nil {
							rows = append(rows, r)
						}
					}
				}
				if diff := cmp.Diff(want, rows); diff != "" {
					t.Error(diff)
				}
			})
		}
	})
}

// Columns that SELECT * does not show are columns: invisible ones, the generated primary key, generated ones. What the server hides from
// everybody is none.
func TestHiddenColumns(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		schema, db := dbservertest.Database(t, srv)
		c := connection(t, db)
		const columns = "a INT, i INT INVISIBLE DEFAULT 3, v INT AS (a + 1) VIRTUAL, s VARCHAR(20) AS (CONCAT('s', a)) STORED, u TEXT, z INT"
		create, names := "CREATE TABLE t ("+columns+", UNIQUE (u))", "a i v s u z" // MariaDB keeps a hash of u
		row := map[string]string{"a": "1", "i": "3", "v": "2", "s": "s1", "u": "u", "z": "9"}
		if srv.Kind() == dbserver.MySQL {
			create = "SET sql_generate_invisible_primary_key = ON; CREATE TABLE t (" + columns + ", UNIQUE ((SUBSTR(u, 1, 20))), KEY ((a * 2)))"
			names, row["my_row_id"] = "my_row_id "+names, "1"
		}
		must(t, c, create)
		got := captured(t, srv, schema, func() { must(t, c, "INSERT INTO t (a, u, z) VALUES (1, 'u', 9); UPDATE t SET a = 2; DELETE FROM t") })
		if len(got) != 3 {
			t.Fatalf("%d changes, want 3", len(got))
		}
		for _, g := range []map[string]string{got[1].before, got[1].after, got[2].before} {
			for _, generated := range []string{"v", "s"} {
				if srv.Kind() == dbserver.MariaDB && g[generated] == "<absent>" { // as MariaDB has it since 11
					g[generated] = map[string]string{"v1": "2", "v2": "3", "s1": "s1", "s2": "s2"}[generated+g["a"]]
				}
			}
		}
		sameText(t, "inserted", got[0].after, row)
		sameText(t, "before the update", got[1].before, row)
		row["a"], row["v"], row["s"] = "2", "3", "s2"
		sameText(t, "after the update", got[1].after, row)
		sameText(t, "deleted", got[2].before, row)
		var seen []string
		for _, col := range got[0].table.Columns {
			seen = append(seen, col.Name)
		}
		if strings.Join(seen, " ") != names {
			t.Errorf("columns %v, want %s", seen, names)
		}
	})
}
