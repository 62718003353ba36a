package change

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	rowhookv1 "github.com/rowhook/rowhook/gen/rowhook/v1"
)

var update = flag.Bool("update", false, "write the frozen vectors anew; only ever for a new version of the format")

// sheetRows has a column of every kind.
func sheetRows() *Table {
	t := &Table{Schema: "app", Name: "sheet_rows", Key: []int{1, 0}}
	for i, k := range []Kind{Int, Uint, Float, Double, Decimal, Text, Bytes, JSON, Date, Time, Datetime, Timestamp, Geometry} {
		t.Columns = append(t.Columns, Column{Name: fmt.Sprintf("c%d", i), Number: uint32(2*i + 1), Kind: k, Type: "type " + fmt.Sprint(i)})
	}
	return t
}

func writeRow(p []byte, n int64) []byte {
	p = AppendInt(p, 1, -n)
	p = AppendUint(p, 3, uint64(n)<<60)
	p = AppendFloat(p, 5, 1.5)
	p = AppendDouble(p, 7, -2.25)
	p = AppendBytes(p, 9, []byte("-12.50"), false)
	// c5, number 11, is NULL.
	p = AppendBytes(p, 13, []byte{0, 0xff}, false)
	p = AppendBytes(p, 15, []byte(`{"a": 1}`), false)
	p = AppendBytes(p, 17, []byte("2026-01-31"), false)
	p, at := OpenValue(p, 19)
	p = CloseValue(append(p, "-838:59:59"...), at)
	p = AppendBytes(p, 21, []byte("2026-01-31 13:37:00.5"), false)
	p = AppendBytes(p, 23, []byte("2026-01-31 12:37:00"), false)
	return AppendBytes(p, 25, []byte("\x00\x00\x00\x00wkb"), false)
}

// sample is a block with two parts of transactions, two tables and every operation.
func sample(t testing.TB) []byte {
	t.Helper()
	return sampleOf(t, 0)
}

func sampleOf(t testing.TB, typesVersion uint64) []byte {
	t.Helper()
	sheet, log := sheetRows(), &Table{Schema: "app", Name: "log", Columns: []Column{{Name: "id", Number: 1, Kind: Int, Type: "int"}}}
	b := NewBuilder("shop", 7)
	b.SetTypesVersion(typesVersion)
	b.BeginSegment(&Transaction{GTID: "0-1-41", CommitTime: 1769866620000000, File: "bin.1", Offset: 99, ServerID: 1}, 5,
		[]TableRows{{"app", "log", 5}}, false)
	b.BeginChange(Insert, log)
	b.EndRow(AppendInt(b.BeginRow(false), 1, 1), false, nil)
	b.EndChange()
	b.EndSegment(true)
	b.BeginSegment(&Transaction{GTID: "0-1-42", CommitTime: 1769866621000000, File: "bin.1", Offset: 4242, ServerID: 1}, 0, nil, true)
	b.BeginChange(Update, sheet)
	b.EndRow(writeRow(b.BeginRow(true), 1), true, nil)
	b.EndRow(writeRow(b.BeginRow(false), 2), false, []byte{0x20})
	b.EndChange()
	b.BeginChange(Delete, log)
	b.EndRow(AppendInt(b.BeginRow(true), 1, 1), true, nil)
	b.EndChange()
	b.EndSegment(false)
	pos := Position{GTIDSet: "0-1-41", File: "bin.1", Offset: 4242, Server: "1", CommitTime: 1769866620000000,
		Partial: &Partial{GTID: "0-1-42", Rows: []TableRows{{"app", "sheet_rows", 1}, {"app", "log", 1}}}}
	blk, err := b.Finish(100, pos)
	if err != nil {
		t.Fatal(err)
	}
	return blk
}

// describe renders a block as text, so that a frozen vector can be read.
func describe(t testing.TB, raw []byte) string {
	t.Helper()
	blk, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	var w strings.Builder
	fmt.Fprintf(&w, "source=%s epoch=%d first=%d changes=%d next=%d\nposition=%+v partial=%+v\n", blk.Source, blk.Epoch, blk.FirstSeq, blk.Changes,
		blk.NextSeq(), blk.Position.GTIDSet, blk.Position.Partial)
	var before, after []Value
	err = blk.Each(func(c *Change) error {
		fmt.Fprintf(&w, "seq=%d %s %s gtid=%s ordinal=%d table_ordinal=%d last=%t\n", c.Seq, c.Op, c.Table.FullName(), c.Tx.GTID, c.Ordinal, c.TableOrdinal, c.Last)
		if before, err = c.Before.Values(before); err != nil {
			return err
		}
		if after, err = c.After.Values(after); err != nil {
			return err
		}
		fmt.Fprintf(&w, "  before %s\n  after  %s\n", values(before), values(after))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return w.String()
}

func values(vs []Value) string {
	var out []string
	for _, v := range vs {
		switch {
		case v.State == Absent:
			out = append(out, "absent")
		case v.State == Null:
			out = append(out, "NULL")
		case v.Kind == Int:
			out = append(out, fmt.Sprint(v.Int()))
		case v.Kind == Uint:
			out = append(out, fmt.Sprint(v.Uint()))
		case v.Kind == Float:
			out = append(out, fmt.Sprint(v.Float()))
		case v.Kind == Double:
			out = append(out, fmt.Sprint(v.Double()))
		default:
			out = append(out, fmt.Sprintf("%q", v.Bytes()))
		}
	}
	return strings.Join(out, " ")
}

// The bytes of version 1 are frozen: what is written today is what was written then, and reads the same.
func TestBlockVectorIsFrozen(t *testing.T) {
	t.Parallel()
	raw := sample(t)
	got := hex.EncodeToString(raw) + "\n" + describe(t, raw)
	file := filepath.Join("testdata", "block_v1.txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

// The version of the event types adds one field before the tables, and nothing else.
func TestTypesVersionVectorIsFrozen(t *testing.T) {
	t.Parallel()
	raw := sampleOf(t, 300)
	file := filepath.Join("testdata", "block_v1_types.txt")
	if *update {
		if err := os.WriteFile(file, []byte(hex.EncodeToString(raw)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), hex.EncodeToString(raw)+"\n"); diff != "" {
		t.Error(diff)
	}
	blk, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseHeader(raw)
	if err != nil {
		t.Fatal(err)
	}
	if blk.TypesVersion != 300 || h.TypesVersion != 300 {
		t.Errorf("types version %d, in the header %d, want 300", blk.TypesVersion, h.TypesVersion)
	}
	if without := bytes.Replace(raw, []byte{9 << 3, 0xac, 0x02}, nil, 1); !bytes.Equal(without, sample(t)) {
		t.Error("more than the field differs from a block without a version")
	}
	var m rowhookv1.Block
	if err := proto.Unmarshal(raw, &m); err != nil || m.TypesVersion != 300 {
		t.Errorf("the message has version %d, %v", m.TypesVersion, err)
	}
	again, err := proto.Marshal(&m) // another library may write the field after the tables
	if err != nil {
		t.Fatal(err)
	}
	if blk, err = Parse(again); err != nil || blk.TypesVersion != 300 {
		t.Errorf("marshalled anew: %d, %v", blk.TypesVersion, err)
	}
}

// Blocks of one Builder carry the version that was set before they were finished.
func TestTypesVersionOfABuilder(t *testing.T) {
	t.Parallel()
	b := NewBuilder("s", 1)
	for i, want := range []uint64{0, 4, 4, 1 << 60} {
		if want > 0 {
			b.SetTypesVersion(want)
		}
		raw, err := b.Finish(uint64(i), Position{})
		if err != nil {
			t.Fatal(err)
		}
		if h, err := ParseHeader(raw); err != nil || h.TypesVersion != want {
			t.Errorf("block %d: %d, %v, want %d", i, h.TypesVersion, err, want)
		}
	}
}

// The hand-written bytes are the message that block.proto describes.
func TestBlockIsItsProtobufMessage(t *testing.T) {
	t.Parallel()
	var m rowhookv1.Block
	if err := proto.Unmarshal(sample(t), &m); err != nil {
		t.Fatal(err)
	}
	if m.FirstSeq != 100 || m.Changes != 3 || len(m.Segments) != 2 || len(m.Tables) != 2 || m.Position.Partial.Gtid != "0-1-42" {
		t.Fatalf("%+v", &m)
	}
	if c := m.Segments[1].Changes[0]; c.Op != rowhookv1.Op_OP_UPDATE || m.Tables[c.Table].Name != "sheet_rows" || len(c.AfterAbsent) != 1 {
		t.Errorf("%+v", c)
	}
	if s := m.Segments[0]; !s.Commit || s.Begin || s.FirstOrdinal != 5 || s.Before[0].Rows != 5 {
		t.Errorf("%+v", s)
	}
	// A library that writes the message its own way is read as well.
	again, err := proto.Marshal(&m)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := describe(t, sample(t)), describe(t, again); a != b {
		t.Error(cmp.Diff(a, b))
	}
}

func TestHeaderAloneIsTheSame(t *testing.T) {
	t.Parallel()
	raw := sample(t)
	h, err := ParseHeader(raw)
	if err != nil {
		t.Fatal(err)
	}
	blk, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(blk.Header, h); diff != "" {
		t.Error(diff)
	}
}

func TestPositionVectorIsFrozen(t *testing.T) {
	t.Parallel()
	p := Position{GTIDSet: uuidA + ":1-5", File: "bin.000003", Offset: 1 << 33, Server: uuidA, CommitTime: 1769866620123456,
		Partial: &Partial{GTID: uuidA + ":6", Rows: []TableRows{{"a", "b", 3}}}}
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	const want = "0a2833653131666134372d373163612d313165312d396533332d6338306161393432393536323a312d35120a62696e2e3030303030331880808080" +
		"20222433653131666134372d373163612d313165312d396533332d6338306161393432393536322a320a2633653131666134372d373163612d313165312d" +
		"396533332d6338306161393432393536323a3612080a0161120162180330c0f2c4f9f2b59203"
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	again, err := UnmarshalPosition(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p, again); diff != "" {
		t.Error(diff)
	}
}

// Lengths that outgrow the place kept for them are moved, at every level.
func TestLargeRow(t *testing.T) {
	t.Parallel()
	tbl := &Table{Schema: "a", Name: "b", Columns: []Column{{Name: "c", Number: 1, Kind: Bytes}}}
	for _, size := range []int{0, 127, 128, 1 << 14, 1<<21 - 8, 1 << 21, 5 << 20} {
		b := NewBuilder("s", 1)
		b.BeginSegment(&Transaction{GTID: "0-1-1"}, 0, nil, true)
		want := bytes.Repeat([]byte{'x'}, size)
		b.BeginChange(Insert, tbl)
		p, at := OpenValue(b.BeginRow(false), 1)
		b.EndRow(CloseValue(append(p, want...), at), false, nil)
		b.EndChange()
		b.EndSegment(true)
		raw, err := b.Finish(1, Position{})
		if err != nil {
			t.Fatal(err)
		}
		blk, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = blk.Each(func(c *Change) error {
			n++
			v, err := c.After.Value(0)
			if !bytes.Equal(v.Bytes(), want) {
				t.Errorf("size %d: got %d bytes", size, len(v.Bytes()))
			}
			return err
		})
		if err != nil || n != 1 {
			t.Errorf("size %d: %d changes, %v", size, n, err)
		}
		if err := proto.Unmarshal(raw, &rowhookv1.Block{}); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
	}
}

func TestValueIsWhatValuesSays(t *testing.T) {
	t.Parallel()
	blk, err := Parse(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	err = blk.Each(func(c *Change) error {
		for _, r := range []Row{c.Before, c.After} {
			all, err := r.Values(nil)
			if err != nil {
				return err
			}
			for i := range all {
				one, err := r.Value(i)
				if err != nil {
					return err
				}
				if !one.Equal(all[i]) {
					t.Errorf("seq %d column %d: %v and %v", c.Seq, i, one, all[i])
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnotherVersionIsRefused(t *testing.T) {
	t.Parallel()
	raw, err := proto.Marshal(&rowhookv1.Block{Version: 2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(raw); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("Parse of version 2: %v", err)
	}
}

func FuzzBlock(f *testing.F) {
	f.Add(sample(f))
	f.Add(sampleOf(f, 3))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		blk, err := Parse(raw)
		if err != nil {
			return
		}
		var vs []Value
		_ = blk.Each(func(c *Change) error { // errors are fine, panics are not
			for _, r := range []Row{c.Before, c.After} {
				if vs, err = r.Values(vs); err != nil {
					return err
				}
				for i := range vs {
					if _, err := r.Value(i); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
}

func FuzzPosition(f *testing.F) {
	f.Add([]byte("\n\x010"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := UnmarshalPosition(b)
		if err != nil {
			return
		}
		c, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := UnmarshalPosition(c)
		if err != nil || !cmp.Equal(p, again) {
			t.Fatalf("%+v became %+v, %v", p, again, err)
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	tbl := sheetRows()
	bld := NewBuilder("s", 1)
	b.ReportAllocs()
	for b.Loop() {
		bld.BeginSegment(&Transaction{GTID: "0-1-1"}, 0, nil, true)
		for range 100 {
			bld.BeginChange(Update, tbl)
			bld.EndRow(writeRow(bld.BeginRow(true), 1), true, nil)
			bld.EndRow(writeRow(bld.BeginRow(false), 2), false, nil)
			bld.EndChange()
		}
		bld.EndSegment(true)
		if _, err := bld.Finish(1, Position{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValues(b *testing.B) {
	blk, err := Parse(sample(b))
	if err != nil {
		b.Fatal(err)
	}
	var row Row
	err = blk.Each(func(c *Change) error {
		if c.Op == Update {
			row = c.Before
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	var vs []Value
	b.ReportAllocs()
	for b.Loop() {
		if vs, err = row.Values(vs); err != nil {
			b.Fatal(err)
		}
	}
}
