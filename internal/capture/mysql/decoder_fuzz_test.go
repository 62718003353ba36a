package mysql

import (
	"encoding/binary"
	"testing"
	"unicode/utf8"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
)

// everyTypeMap is a TABLE_MAP body, made by hand, of a table with each type that a row can hold.
func everyTypeMap() []byte {
	types := []byte{typeTiny, typeShort, typeInt24, typeLong, typeLongLong, typeFloat, typeDouble, typeNewDecimal, typeYear, typeBit, typeDate, typeTime2,
		typeDatetime2, typeTimestamp2, typeTime, typeDatetime, typeTimestamp, typeVarchar, typeString, typeBlob, typeJSON, typeGeometry, typeString, typeString}
	meta := []byte{4, 8, 65, 30, 1, 2, 6, 3, 0, 0x2c, 1, 0xfe, 16, 2, 4, 4, typeEnum, 1, typeSet, 2}
	b := append([]byte{7, 0, 0, 0, 0, 0, 1, 0}, "\x01s\x00\x01t\x00"...)
	b = append(append(b, byte(len(types))), types...)
	b = append(append(b, byte(len(meta))), meta...)
	b = append(b, 0xff, 0xff, 0xff)
	optional := func(kind byte, v ...byte) { b = append(append(b, kind, byte(len(v))), v...) }
	var names []byte
	for i := range types {
		names = append(names, 1, 'a'+byte(i))
	}
	optional(metaColumnName, names...)
	optional(metaSignedness, 0b01010000, 0)
	optional(metaDefaultCharset, 45, 1, collationBinary, 2, 8)
	optional(metaEnumSetDefault, 45)
	optional(metaEnumValues, 2, 1, 'x', 1, 'y')
	optional(metaSetValues, 2, 1, 'x', 1, 'y')
	optional(metaPrimaryKey, 0)
	return b
}

func fuzzDecoder(flavor change.Flavor) *Decoder {
	return NewDecoder(DecoderOptions{
		Flavor:      flavor,
		Wanted:      func(string, string) bool { return true },
		Exclude:     func(_, _, column string) bool { return column == "c" },
		ColumnTypes: func(string, string) (map[string]string, error) { return nil, nil },
	})
}

func FuzzTableMap(f *testing.F) {
	f.Add(everyTypeMap())
	for _, kind := range dbserver.Kinds() {
		tableMap, _ := recordedEvents(f, kind)
		f.Add(tableMap)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, flavor := range []change.Flavor{change.MySQL, change.MariaDB} {
			d := fuzzDecoder(flavor)
			if d.TableMap(body) != nil {
				continue
			}
			p := d.ids[uint48(body)].plan
			if p.err != nil {
				continue
			}
			log := newRowsLog()
			log.builder.BeginChange(change.Insert, p.table)
			log.builder.EndRow(log.builder.BeginRow(false), false, nil)
			log.builder.EndChange()
			log.block(t) // the table enters a block, which must take it
			for _, k := range p.table.Key {
				if k >= len(p.table.Columns) {
					t.Fatalf("key %v of %d columns", p.table.Key, len(p.table.Columns))
				}
			}
		}
	})
}

func FuzzRows(f *testing.F) {
	for _, kind := range dbserver.Kinds() {
		tableMap, rows := recordedEvents(f, kind)
		f.Add(tableMap, rows, updateType(kind), false)
		f.Add(tableMap, rows[:len(rows)/2], updateType(kind), true)
	}
	f.Add(everyTypeMap(), append([]byte{7, 0, 0, 0, 0, 0, 1, 0, 24, 0xff, 0xff, 0xff}, make([]byte, 200)...), byte(eventWriteRowsV1), false)
	f.Add(everyTypeMap(), append([]byte{7, 0, 0, 0, 0, 0, 1, 0, 24, 0x0f, 0xff, 0x01, 0xff, 0xff, 0xff}, make([]byte, 300)...), byte(eventUpdateRowsV1), true)
	f.Add(everyTypeMap(), []byte("\x07\x00\x00\x00\x00\x00\x01\x00\x18\xff\xff\xff\x81\x04x\x9c\x03\x00\x00\x00\x00\x01"), byte(eventWriteRowsCompressed), false)
	f.Fuzz(func(t *testing.T, tableMap, rows []byte, typ byte, skip bool) {
		d := fuzzDecoder(change.MariaDB)
		if d.TableMap(tableMap) != nil {
			return
		}
		log := newRowsLog()
		if skip {
			log.skip = 1
		}
		err := d.Rows(typ, rows, log)
		if log.begun != log.ended {
			t.Fatalf("BeginRows %d times, EndRows %d times", log.begun, log.ended)
		}
		if err != nil {
			return
		}
		for _, c := range log.changes(t) { // parses the block, which must be well formed
			for _, s := range c.after {
				if !utf8.ValidString(s) {
					t.Fatalf("%q is not UTF-8", s)
				}
			}
		}
	})
}

func FuzzJSONB(f *testing.F) {
	f.Add([]byte{jsonSmallObject, 1, 0, 12, 0, 11, 0, 1, 0, jsonInt16, 1, 0, 'a'})
	f.Add([]byte{jsonSmallArray, 2, 0, 10, 0, jsonSmallArray, 0, 0, jsonSmallArray, 0, 0})
	f.Add([]byte{jsonLargeArray, 1, 0, 0, 0, 13, 0, 0, 0, jsonInt32, 1, 0, 0, 0})
	f.Add(append([]byte{jsonOpaque, typeNewDecimal, 4, 3, 1}, 0x80, 0x01))
	f.Add(append([]byte{jsonOpaque, typeTime, 8}, binary.LittleEndian.AppendUint64(nil, 1<<63)...))
	f.Add(append([]byte{jsonDouble}, binary.LittleEndian.AppendUint64(nil, 0x7ff0000000000000)...))
	f.Fuzz(func(t *testing.T, doc []byte) {
		var j jsonText
		out, ok := j.append(nil, doc)
		// Every byte of a document stands for at most 6 of text, and an entry of three bytes for a short word.
		if most := 64 + 16*len(doc); len(out) > most {
			t.Fatalf("%d bytes of text from %d bytes", len(out), len(doc))
		}
		if ok && !utf8.Valid(out) {
			t.Fatalf("%q is not UTF-8", out)
		}
	})
}
