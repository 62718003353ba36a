package mysql

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

func decoded(t *testing.T, d *Decoder, events []rawEvent) []seenChange {
	t.Helper()
	log := newRowsLog()
	if err := decode(d, events, log); err != nil {
		t.Fatal(err)
	}
	return log.changes(t)
}

func sameText(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

func TestExcludedColumnsStayOut(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		schema, db := dbservertest.Database(t, srv)
		c := connection(t, db)
		must(t, c, "CREATE TABLE t (secret VARCHAR(300) CHARACTER SET cp1251, id INT, other TEXT, name VARCHAR(20), PRIMARY KEY (name, id))")
		events := record(t, srv, db, func() {
			must(t, c, "INSERT INTO t VALUES ('тайна', 1, REPEAT('x', 1000), 'a'), (NULL, 2, NULL, 'b')")
		})
		d := decoderFor(srv, schema, db)
		d.opts.Exclude = func(_, table, column string) bool { return table == "t" && (column == "secret" || column == "other") }
		got := decoded(t, d, events)
		if len(got) != 2 {
			t.Fatalf("%d changes, want 2", len(got))
		}
		sameText(t, "first row", got[0].after, map[string]string{"id": "1", "name": "a"})
		sameText(t, "second row", got[1].after, map[string]string{"id": "2", "name": "b"})
		table := got[0].table
		if diff := cmp.Diff(table.Columns, []change.Column{
			{Name: "id", Number: 2, Kind: change.Int, Type: d.columnTypeNow(t, schema, "id")},
			{Name: "name", Number: 4, Kind: change.Text, Type: "varchar(20)"},
		}); diff != "" {
			t.Error(diff)
		}
		if !cmp.Equal(table.Key, []int{1, 0}) {
			t.Errorf("key = %v, want name, id", table.Key)
		}
	})
}

func (d *Decoder) columnTypeNow(t *testing.T, schema, column string) string {
	t.Helper()
	types, err := d.opts.ColumnTypes(schema, "t")
	if err != nil {
		t.Fatal(err)
	}
	return types[column]
}

// A minimal image names the columns that it carries; the others are absent, which is not NULL.
func TestMinimalImages(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		schema, db := dbservertest.Database(t, srv)
		c := connection(t, db)
		must(t, c, "CREATE TABLE t (id INT PRIMARY KEY, hidden INT, a VARCHAR(20), b TEXT, c INT); SET SESSION binlog_row_image = MINIMAL")
		events := record(t, srv, db, func() {
			must(t, c, "INSERT INTO t VALUES (1, 7, 'x', 'text', 5)")
			must(t, c, "UPDATE t SET a = NULL, c = 6 WHERE id = 1")
			must(t, c, "DELETE FROM t")
		})
		d := decoderFor(srv, schema, db)
		d.opts.Exclude = func(_, _, column string) bool { return column == "hidden" }
		got := decoded(t, d, events)
		if len(got) != 3 {
			t.Fatalf("%d changes, want 3", len(got))
		}
		sameText(t, "inserted", got[0].after, map[string]string{"id": "1", "a": "x", "b": "text", "c": "5"})
		sameText(t, "before", got[1].before, map[string]string{"id": "1", "a": "<absent>", "b": "<absent>", "c": "<absent>"})
		sameText(t, "after", got[1].after, map[string]string{"id": "<absent>", "b": "<absent>", "c": "6"})
		sameText(t, "deleted", got[2].before, map[string]string{"id": "1", "a": "<absent>", "b": "<absent>", "c": "<absent>"})
	})
}

func TestGeneratedColumns(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		schema, db := dbservertest.Database(t, srv)
		c := connection(t, db)
		must(t, c, "CREATE TABLE t (id INT PRIMARY KEY, v INT AS (id + 1) VIRTUAL, s INT AS (id + 2) STORED, z VARCHAR(9), KEY (v))")
		events := record(t, srv, db, func() { must(t, c, "INSERT INTO t (id, z) VALUES (1, 'z'); UPDATE t SET z = 'y'; DELETE FROM t") })
		got := decoded(t, decoderFor(srv, schema, db), events)
		if len(got) != 3 {
			t.Fatalf("%d changes, want 3", len(got))
		}
		for _, row := range []map[string]string{got[0].after, got[1].before, got[1].after, got[2].before} {
			if row["id"] != "1" || row["s"] != "3" || row["z"] == "" || row["v"] != "2" && row["v"] != "<absent>" {
				t.Errorf("row %v", row)
			}
		}
	})
}

// A column that cannot be decoded stops rows of its own table only, and only until it is excluded.
func TestUnsupportedColumns(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		// What the column is, and what information_schema says it is.
		types := map[string]string{"VARCHAR(10)": "newtype(3)", "BINARY(9)": "newtype", "TEXT": "xmltype"}
		if srv.Kind() == dbserver.MariaDB {
			// One of BINARY, UUID and INET was altered into another, or dropped, before its rows were read.
			types["BINARY(16)"], types["UUID"], types["INET6"], types["INET4"] = "varbinary(16)", "binary(4)", "", "uuid"
		}
		for typ, now := range types {
			t.Run(typ, func(t *testing.T) {
				schema, db := dbservertest.Database(t, srv)
				c := connection(t, db)
				must(t, c, "CREATE TABLE good (id INT PRIMARY KEY); CREATE TABLE t (id INT PRIMARY KEY, bad "+typ+", z VARCHAR(9) CHARACTER SET latin1)")
				events := record(t, srv, db, func() {
					must(t, c, "INSERT INTO good VALUES (1)")
					must(t, c, "INSERT INTO t (id, z) VALUES (1, 'é')")
				})
				d, log := decoderFor(srv, schema, db), newRowsLog()
				d.opts.ColumnTypes = func(string, string) (map[string]string, error) { return map[string]string{"bad": now}, nil }
				err := decode(d, events, log)
				if !errors.Is(err, ErrUnsupportedColumn) || !strings.Contains(err.Error(), schema+".t.bad") {
					t.Errorf("error %v", err)
				}
				if got := log.changes(t); len(got) != 1 || got[0].table.Name != "good" {
					t.Errorf("changes %v before the error", got)
				}
				d.Reset()
				d.opts.Exclude = func(_, _, column string) bool { return column == "bad" }
				got := decoded(t, d, events)
				sameText(t, "without the column", got[len(got)-1].after, map[string]string{"id": "1", "z": "é"})
			})
		}
	})
}

// The server lets a text through that is none when asked to; the decoder does not.
func TestInvalidTextStops(t *testing.T) {
	t.Parallel()
	d := fuzzDecoder(change.MySQL)
	tableMap, rows := recordedEvents(t, dbserver.MySQL)
	at := bytes.Index(rows, []byte("customer"))
	rows = bytes.Clone(rows)
	rows[at] = 0xff
	if err := d.TableMap(tableMap); err != nil {
		t.Fatal(err)
	}
	log := newRowsLog()
	err := d.Rows(eventUpdateRowsV2, rows, log)
	if !errors.Is(err, ErrUnsupportedColumn) || !strings.Contains(err.Error(), ".t.a holds text that is not valid utf8mb4: 0xFF, at byte 1 of 22, is no character") {
		t.Errorf("error %v", err)
	}
	if got := log.changes(t); len(got) != 0 || log.ended != 1 {
		t.Errorf("%d changes, %d times EndRows after the error", len(got), log.ended)
	}
}

func TestCompressedEvents(t *testing.T) {
	t.Parallel()
	srv := dbservertest.Start(t, dbserver.Options{Kind: dbserver.MariaDB, Args: []string{"--log-bin-compress=ON", "--log-bin-compress-min-len=10", "--mysql56-temporal-format=OFF"}})
	schema, db := dbservertest.Database(t, srv)
	c := connection(t, db)
	oldTemporalTypes(t, srv)
	must(t, c, "CREATE TABLE t (id INT PRIMARY KEY, a TEXT)")
	events := record(t, srv, db, func() {
		must(t, c, "INSERT INTO t VALUES (1, REPEAT('one ', 200)), (2, REPEAT('two ', 200))")
		must(t, c, "UPDATE t SET a = REPEAT('new ', 300)")
		must(t, c, "DELETE FROM t")
	})
	compressed := 0
	for _, e := range events {
		if _, _, yes := rowsEvent(e.typ); yes && e.isRows() {
			compressed++
		}
	}
	got := decoded(t, decoderFor(srv, schema, db), events)
	if compressed != 3 || len(got) != 6 {
		t.Fatalf("%d compressed events, %d changes; want 3, 6", compressed, len(got))
	}
	sameText(t, "inserted", got[1].after, map[string]string{"id": "2", "a": strings.Repeat("two ", 200)})
	sameText(t, "before", got[2].before, map[string]string{"id": "1", "a": strings.Repeat("one ", 200)})
	sameText(t, "after", got[2].after, map[string]string{"id": "1", "a": strings.Repeat("new ", 300)})
	sameText(t, "deleted", got[4].before, map[string]string{"id": "1", "a": strings.Repeat("new ", 300)})
}

// oldTemporalTypes checks the types from before MariaDB 10.1.2: exact without fractions, refused with them.
func oldTemporalTypes(t *testing.T, srv *dbserver.Server) {
	t.Helper()
	schema, db := dbservertest.Database(t, srv)
	c := connection(t, db)
	cases := []typeCase{
		{name: "a", ddl: "TIME", kind: change.Time, edges: []string{"'838:59:59'", "'-838:59:59'", "'-00:00:01'", "'00:00:00'"}},
		{name: "b", ddl: "DATETIME", kind: change.Datetime, edges: []string{"'9999-12-31 23:59:59'", "'0000-00-00 00:00:00'", "'2026-00-00 01:02:03'", "'1000-01-01 00:00:00'"}},
		{name: "c", ddl: "TIMESTAMP NULL", kind: change.Timestamp, edges: []string{"'2038-01-19 03:14:07'", "'0000-00-00 00:00:00'", "'1970-01-01 00:00:01'", "'2024-02-29 12:00:00'"}},
	}
	must(t, c, createTable(cases)+"; CREATE TABLE fine (id INT PRIMARY KEY, f TIME(3))")
	events := record(t, srv, db, func() {
		for n := range cases[0].edges {
			must(t, c, fmt.Sprintf("INSERT INTO t VALUES (%d, %s, %s, %s)", n, cases[0].edges[n], cases[1].edges[n], cases[2].edges[n]))
		}
		must(t, c, "INSERT INTO fine VALUES (1, '01:02:03.456')")
	})
	log := newRowsLog()
	if err := decode(decoderFor(srv, schema, db), events, log); !errors.Is(err, ErrUnsupportedColumn) || !strings.Contains(err.Error(), schema+".fine.f") {
		t.Errorf("error %v", err)
	}
	exec(t, db, "SET GLOBAL mysql56_temporal_format = ON") // only then does the server show which columns are old
	mentions(t, finding(t, check(t, config(srv, schema+".*")), CodeUnsupportedColumn, Error).Message, schema+".fine.f", "before MariaDB 10.1.2", "exclude_columns")
	want, got := selectRows(t, c, "t", cases), log.changes(t)
	if len(got) != len(want) {
		t.Fatalf("%d changes, want %d", len(got), len(want))
	}
	for _, row := range got {
		sameRow(t, "in the old format", cases, want[row.after["id"]], row.after)
	}
}

// MariaDB's JSON is text in the binlog; whoever knows better says so.
func TestMariaDBJSON(t *testing.T) {
	t.Parallel()
	srv := dbservertest.Get(t, dbserver.MariaDB)
	schema, db := dbservertest.Database(t, srv)
	c := connection(t, db)
	must(t, c, "CREATE TABLE t (id INT PRIMARY KEY, j JSON, x TEXT)")
	events := record(t, srv, db, func() { must(t, c, `INSERT INTO t VALUES (1, '{"b":1,  "a":2.0}', 'x')`) })
	d := decoderFor(srv, schema, db)
	d.opts.ColumnTypes = func(string, string) (map[string]string, error) {
		return map[string]string{"id": "int(11)", "j": "json", "x": "json"}, nil
	}
	got := decoded(t, d, events)
	sameText(t, "row", got[0].after, map[string]string{"id": "1", "j": `{"b":1,  "a":2.0}`, "x": "x"})
	if cols := got[0].table.Columns; cols[1].Kind != change.JSON || cols[1].Type != "json" || cols[2].Kind != change.Text || cols[2].Type != "text" {
		t.Errorf("columns %+v", cols)
	}
}

func TestPartialJSONStops(t *testing.T) {
	t.Parallel()
	srv := dbservertest.Get(t, dbserver.MySQL)
	schema, db := dbservertest.Database(t, srv)
	c := connection(t, db)
	must(t, c, "CREATE TABLE t (id INT PRIMARY KEY, j JSON); SET SESSION binlog_row_value_options = 'PARTIAL_JSON'")
	events := record(t, srv, db, func() {
		must(t, c, `INSERT INTO t VALUES (1, '{"a": "long enough to be worth it, long enough to be worth it", "b": 1}')`)
		must(t, c, "UPDATE t SET j = JSON_SET(j, '$.b', 2)")
	})
	log := newRowsLog()
	err := decode(decoderFor(srv, schema, db), events, log)
	if !errors.Is(err, ErrUnsupportedColumn) || !strings.Contains(err.Error(), "SET GLOBAL binlog_row_value_options=''") {
		t.Errorf("error %v", err)
	}
	// What is not wanted may hold what it likes.
	other := decoderFor(srv, "another", db)
	if err := decode(other, events, log); err != nil {
		t.Error(err)
	}
}

// What the table has become since must not colour what its rows were.
func TestTypesOfAnAlteredTable(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		schema, db := dbservertest.Database(t, srv)
		c := connection(t, db)
		must(t, c, "CREATE TABLE t (id INT PRIMARY KEY, a BIGINT UNSIGNED, b DECIMAL(9,2), c VARCHAR(20), d DATETIME(3), e BINARY(5), f ENUM('x','it''s'), g MEDIUMTEXT, h BIT(9)) CHARACTER SET utf8mb4")
		events := record(t, srv, db, func() { must(t, c, "INSERT INTO t (id, e) VALUES (1, 'x')") })
		must(t, c, "ALTER TABLE t DROP h, MODIFY a BIGINT, MODIFY b INT, MODIFY c TEXT, MODIFY d DATE, MODIFY e BLOB, MODIFY f VARCHAR(9), MODIFY g JSON")
		got := decoded(t, decoderFor(srv, schema, db), events)
		var types []string
		for _, col := range got[0].table.Columns[1:] {
			types = append(types, col.Type)
		}
		want := []string{"bigint unsigned", "decimal(9,2)", "varchar(20)", "datetime(3)", "binary(5)", "enum('x','it''s')", "mediumtext", "bit(9)"}
		if srv.Kind() == dbserver.MariaDB {
			want[6] = "longtext" // its JSON is one, and so is what it cannot tell from one
		}
		if diff := cmp.Diff(want, types); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRowsAlreadyInTheLogAreDropped(t *testing.T) {
	t.Parallel()
	for _, kind := range dbserver.Kinds() {
		tableMap, rows := recordedEvents(t, kind)
		d, all, rest := recordedDecoder(kind), newRowsLog(), newRowsLog()
		rest.skip = 3
		if err := errors.Join(d.TableMap(tableMap), d.Rows(updateType(kind), rows, all), d.Rows(updateType(kind), rows, rest)); err != nil {
			t.Fatal(err)
		}
		want, got := all.changes(t), rest.changes(t)
		if rest.dropped != 3 || len(got) != len(want)-3 {
			t.Fatalf("%d dropped, %d written of %d", rest.dropped, len(got), len(want))
		}
		sameText(t, "first row behind them", got[0].after, want[3].after)
	}
}

// Equal definitions share one change.Table, whatever their table ids, until the tables are forgotten.
func TestEqualTableMapsShareATable(t *testing.T) {
	t.Parallel()
	asked := 0
	d := fuzzDecoder(change.MySQL)
	d.opts.ColumnTypes = func(string, string) (map[string]string, error) { asked++; return nil, nil }
	body := everyTypeMap()
	tableOf := func(id byte) *change.Table {
		body := bytes.Clone(body)
		body[0] = id
		if err := d.TableMap(body); err != nil {
			t.Fatal(err)
		}
		p := d.ids[uint64(id)].plan
		if p.err != nil {
			t.Fatal(p.err)
		}
		return p.table
	}
	first := tableOf(1)
	if tableOf(2) != first || tableOf(1) != first || asked != 1 {
		t.Errorf("another table for the same definition, asked for its types %d times", asked)
	}
	d.Reset()
	if err := d.Rows(eventWriteRowsV1, []byte{1, 0, 0, 0, 0, 0, 1, 0}, newRowsLog()); err == nil {
		t.Error("rows of a forgotten table were taken")
	}
	if tableOf(1) == first || asked != 2 {
		t.Error("Reset kept the table")
	}
}

func TestColumnTypesCannotBeAsked(t *testing.T) {
	t.Parallel()
	d, broken := fuzzDecoder(change.MySQL), errors.New("connection lost")
	d.opts.ColumnTypes = func(string, string) (map[string]string, error) { return nil, broken }
	if err := d.TableMap(everyTypeMap()); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	d.opts.ColumnTypes = func(string, string) (map[string]string, error) { return nil, nil }
	if err := d.TableMap(everyTypeMap()); err != nil {
		t.Errorf("the error was remembered: %v", err)
	}
}

// go-mysql's own decoder, as a second opinion.
func TestRowsEqualGoMySQL(t *testing.T) {
	t.Parallel()
	for _, kind := range dbserver.Kinds() {
		tableMap, rows := recordedEvents(t, kind)
		d, log := recordedDecoder(kind), newRowsLog()
		if err := errors.Join(d.TableMap(tableMap), d.Rows(updateType(kind), rows, log)); err != nil {
			t.Fatal(err)
		}
		parser := newGoMySQLParser(t, kind)
		m := goMySQLEvent(t, parser, byte(replication.TABLE_MAP_EVENT), tableMap).(*replication.TableMapEvent)
		want := goMySQLEvent(t, parser, updateType(kind), rows).(*replication.RowsEvent).Rows
		labels := m.EnumStrValueMap()
		for i, got := range log.changes(t) {
			for j, image := range []map[string]string{got.before, got.after} {
				for col, v := range want[2*i+j] {
					text := fmt.Sprint(v)
					if b, ok := v.([]byte); ok {
						text = string(b)
					}
					if name := got.table.Columns[col].Name; name == "doc" {
						image[name] = strings.ReplaceAll(image[name], " ", "") // go-mysql prints JSON without spaces
						text = strings.ReplaceAll(text, " ", "")
					}
					if members := labels[col]; members != nil {
						text = members[v.(int64)-1]
					}
					if name := got.table.Columns[col].Name; image[name] != text {
						t.Errorf("row %d, %s is %q, go-mysql says %q", i, name, image[name], text)
					}
				}
			}
		}
	}
}
