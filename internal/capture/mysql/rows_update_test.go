package mysql

import (
	"bytes"
	"testing"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
)

// FuzzUpdate holds the after image that is copied from the before image to the one that is decoded value by value.
func FuzzUpdate(f *testing.F) {
	for _, kind := range dbserver.Kinds() {
		tableMap, rows := recordedEvents(f, kind)
		f.Add(tableMap, rows, kind == dbserver.MySQL)
	}
	head := append([]byte{7, 0, 0, 0, 0, 0, 1, 0, 24}, bytes.Repeat([]byte{0xff}, 6)...)
	f.Add(everyTypeMap(), append(bytes.Clone(head), make([]byte, 400)...), false)
	nulls := append([]byte{0xff, 0, 0xff}, make([]byte, 150)...) // NULL becomes a value, and the other way round
	f.Add(everyTypeMap(), append(append(bytes.Clone(head), nulls...), 0, 0xff, 0xff, 0, 0, 0, 0, 0), false)
	f.Fuzz(func(t *testing.T, tableMap, rows []byte, v2 bool) {
		typ := byte(eventUpdateRowsV1)
		if v2 {
			typ = eventUpdateRowsV2
		}
		copied, one := newRowsLog(), fuzzDecoder(change.MariaDB)
		if one.TableMap(tableMap) != nil {
			return
		}
		err := one.Rows(typ, rows, copied)
		decoded, other := newRowsLog(), fuzzDecoder(change.MariaDB)
		if other.TableMap(tableMap) != nil {
			t.Fatal("the same TABLE_MAP, another answer")
		}
		other.rows.valueByValue = true
		errOther := other.Rows(typ, rows, decoded)
		if (err == nil) != (errOther == nil) || err != nil && err.Error() != errOther.Error() {
			t.Fatalf("copied: %v; decoded: %v", err, errOther)
		}
		a, b := finished(t, copied.builder), finished(t, decoded.builder)
		if !bytes.Equal(a, b) {
			t.Fatalf("copied:\n%x\ndecoded:\n%x", a, b)
		}
	})
}

func finished(t *testing.T, b *change.Builder) []byte {
	t.Helper()
	b.EndSegment(true)
	block, err := b.Finish(1, change.Position{})
	if err != nil {
		t.Fatal(err)
	}
	return block
}
