package mysql

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/rowhook/rowhook/internal/change"
)

func TestEveryTypeHasAPlan(t *testing.T) {
	t.Parallel()
	d := fuzzDecoder(change.MySQL)
	if err := d.TableMap(everyTypeMap()); err != nil {
		t.Fatal(err)
	}
	p := d.ids[7].plan
	if p.err != nil {
		t.Fatal(p.err)
	}
	want := "tinyint;smallint unsigned;int unsigned;bigint;float;double;decimal(65,30);year;bit(17);date;time(6);datetime(3);timestamp;time;datetime;timestamp;" +
		"varchar(75);binary(16);text;json;geometry;enum('x','y');set('x','y')"
	var got []string
	for _, c := range p.table.Columns {
		got = append(got, c.Type)
	}
	if s := strings.Join(got, ";"); s != want {
		t.Errorf("types\n%s, want\n%s", s, want)
	}
	if p.table.Columns[2].Number != 4 {
		t.Errorf("the column behind the excluded one has number %d, want 4", p.table.Columns[2].Number)
	}
}

func TestMissingColumnNames(t *testing.T) {
	t.Parallel()
	body := everyTypeMap()
	at := bytes.Index(body, []byte{metaColumnName, 48, 1, 'a'})
	body = append(bytes.Clone(body[:at]), body[at+50:]...)
	d := fuzzDecoder(change.MySQL)
	if err := d.TableMap(body); err != nil {
		t.Fatalf("an error before a row arrived: %v", err)
	}
	err := d.Rows(eventWriteRowsV1, []byte{7, 0, 0, 0, 0, 0, 1, 0, 24}, newRowsLog())
	if !errors.Is(err, ErrRowMetadata) || !strings.Contains(err.Error(), "s.t") {
		t.Errorf("error %v", err)
	}
}

// A TABLE_MAP cut anywhere is an error, or a table that is none.
func TestTableMapCutAnywhere(t *testing.T) {
	t.Parallel()
	body := everyTypeMap()
	for n := range body {
		d := fuzzDecoder(change.MySQL)
		if err := d.TableMap(body[:n]); err == nil && d.ids[7].plan.err == nil && n < len(body)-3 {
			t.Errorf("%d of %d bytes were taken for the whole", n, len(body))
		}
	}
}

// An unknown type takes its table down, not the others, and leaves no trace when it is excluded unless its length is unknown.
func TestUnknownType(t *testing.T) {
	t.Parallel()
	body := everyTypeMap()
	at := bytes.Index(body, []byte{typeTiny, typeShort, typeInt24})
	body[at+2] = 99 // column c, which fuzzDecoder excludes
	d := fuzzDecoder(change.MySQL)
	if err := d.TableMap(body); err != nil {
		t.Fatal(err)
	}
	err := d.Rows(eventWriteRowsV1, []byte{7, 0, 0, 0, 0, 0, 1, 0, 24}, newRowsLog())
	if !errors.Is(err, ErrUnsupportedColumn) || !strings.Contains(err.Error(), "s.t.c") || !strings.Contains(err.Error(), "length of its values is unknown") {
		t.Errorf("error %v", err)
	}
}
