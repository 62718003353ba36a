package translate_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/change/changetest"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/internal/translate"
)

// oneColumn returns an event of one column.
func oneColumn(tb testing.TB, c change.Column, value any) *event.Event {
	tb.Helper()
	tbl := changetest.Table("app", "t", nil, c)
	changes := changetest.Changes(tb, "shop", 1, changetest.Tx{Changes: []changetest.Change{{Op: change.Insert, Table: tbl, After: changetest.Row{value}}}})
	v, err := changes[0].After.Value(0)
	if err != nil {
		tb.Fatal(err)
	}
	return &event.Event{ID: "evt_0", Type: "t", Op: change.Insert, Table: tbl, Data: []event.Field{{Column: &tbl.Columns[0], Value: v}}}
}

// value returns the JSON text of one column.
func value(tb testing.TB, c change.Column, v any) (string, error) {
	tb.Helper()
	b, err := translate.AppendJSON(nil, oneColumn(tb, c, v))
	if err != nil {
		return "", err
	}
	if !json.Valid(b) {
		tb.Fatalf("not JSON: %s", b)
	}
	var out struct{ Data map[string]json.RawMessage }
	if err := json.Unmarshal(b, &out); err != nil {
		tb.Fatal(err)
	}
	raw, ok := out.Data[c.Name]
	if !ok {
		return "left out", nil
	}
	return string(raw), nil
}

func TestValuesAreExact(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		kind change.Kind
		typ  string
		in   any
		want string
	}{
		{change.Int, "tinyint(1)", 1, `1`},
		{change.Int, "int(11)", math.MinInt32, `-2147483648`},
		{change.Int, "bigint(20)", math.MinInt64, `"-9223372036854775808"`},
		{change.Int, "", 5, `"5"`},
		{change.Uint, "int(10) unsigned", math.MaxUint32, `4294967295`},
		{change.Uint, "bigint unsigned", uint64(math.MaxUint64), `"18446744073709551615"`},
		{change.Uint, "mediumint unsigned", 16777215, `16777215`},
		{change.Uint, "smallint unsigned zerofill", 7, `7`},
		{change.Uint, "year(4)", 2026, `2026`},
		{change.Uint, "bit(1)", 1, `1`},
		{change.Uint, "bit(33)", 1, `"1"`},
		{change.Uint, "bit(64)", uint64(math.MaxUint64), `"18446744073709551615"`},
		{change.Float, "float", float32(0.1), `0.1`},
		{change.Float, "float", float32(16777216), `16777216`},
		{change.Double, "double", 0.1, `0.1`},
		{change.Double, "double", 1e21, `1e+21`},
		{change.Double, "double", math.SmallestNonzeroFloat64, `5e-324`},
		{change.Double, "double", math.MaxFloat64, `1.7976931348623157e+308`},
		{change.Double, "double", math.Copysign(0, -1), `-0`},
		{change.Decimal, "decimal(65,30)", "-12345678901234567890.123456789012345678901234567890", `"-12345678901234567890.123456789012345678901234567890"`},
		{change.Text, "text", "", `""`},
		{change.Text, "text", "a\"b\\c/d\b\f\n\r\t\x00\x1f\x7f<>&", `"a\"b\\c/d\u0008\u000c\n\r\t\u0000\u001f` + "\x7f" + `<>&"`},
		{change.Text, "text", "grüße, 世界 🎉\u2028\ufffd", "\"grüße, 世界 🎉\u2028\ufffd\""},
		{change.Bytes, "blob", []byte{0, 255, 254}, `"AP/+"`},
		{change.Bytes, "blob", "", `""`},
		{change.Geometry, "point", []byte{0, 0, 0, 0, 1}, `"AAAAAAE="`},
		{change.Vector, "vector(3)", "\x00\x00\x80\x3f\xcd\xcc\xcc\xbd\xff\xff\x7f\x7f", `[1,-0.1,3.4028235e+38]`},
		{change.Vector, "vector(3)", "", `[]`},
		{change.JSON, "json", `{"a": [1, 2.50, "x", null, true], "b": 18446744073709551616}`, `{"a": [1, 2.50, "x", null, true], "b": 18446744073709551616}`},
		{change.JSON, "json", `"text"`, `"text"`},
		{change.JSON, "json", `{broken`, `"{broken"`},
		{change.JSON, "json", ``, `""`},
		{change.Date, "date", "2026-02-00", `"2026-02-00"`},
		{change.Time, "time(6)", "-838:59:59.000000", `"-838:59:59.000000"`},
		{change.Datetime, "datetime(3)", "2026-01-31 13:37:00.123", `"2026-01-31 13:37:00.123"`},
		{change.Timestamp, "timestamp(6)", "2026-01-31 13:37:00.123456", `"2026-01-31T13:37:00.123456Z"`},
		{change.Timestamp, "timestamp", "2026-01-31 13:37:00", `"2026-01-31T13:37:00Z"`},
		{change.Timestamp, "timestamp(3)", "0000-00-00 00:00:00.000", `"0000-00-00 00:00:00.000"`},
		{change.Text, "text", nil, `null`},
		{change.Text, "text", changetest.Absent, `left out`},
	} {
		got, err := value(t, changetest.Column("c", tc.kind, tc.typ), tc.in)
		if err != nil || got != tc.want {
			t.Errorf("%s %v: got %s, %v; want %s", tc.typ, tc.in, got, err, tc.want)
		}
	}
}

func TestValuesThatJSONCannotHold(t *testing.T) {
	t.Parallel()
	for name, ev := range map[string]*event.Event{
		"text":     oneColumn(t, changetest.Column("c", change.Text, "text"), "abc\xff"),
		"late":     oneColumn(t, changetest.Column("c", change.Text, "text"), "é\xff"),
		"json":     oneColumn(t, changetest.Column("c", change.JSON, "json"), "\"\xff\""),
		"vector":   oneColumn(t, changetest.Column("c", change.Vector, "vector(1)"), "\x00\x00\x80\x7f"),
		"cut off":  oneColumn(t, changetest.Column("c", change.Vector, "vector(1)"), "\x00\x00\x80"),
		"infinity": oneColumn(t, changetest.Column("c", change.Double, "double"), math.Inf(1)),
	} {
		b, err := translate.AppendJSON([]byte("kept"), ev)
		if !errors.Is(err, translate.ErrNotExact) || string(b) != "kept" {
			t.Errorf("%s: got %q, %v", name, b, err)
		}
	}
	if _, err := translate.AppendJSON(nil, &event.Event{Err: &event.Error{Code: event.CodeTemplate, Message: "m"}}); err == nil {
		t.Error("an incomplete event was written")
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	ev := oneColumn(t, changetest.Column("wei\"rd", change.Text, "text"), "x")
	ev.ID, ev.Type, ev.Time, ev.Seq = "evt_065svpb8fc0000005qje8ad8gno1dg6b", "sheet.row.updated", 1_769_866_620_123_456, 42
	ev.Source = event.Origin{Name: "shop", Server: 1, GTID: "0-1-7", File: "binlog.000003", Offset: 4711, Ordinal: 3}
	check := func(want string) {
		t.Helper()
		got, err := translate.AppendJSON(nil, ev)
		if err != nil || string(got) != want {
			t.Errorf("got  %s, %v\nwant %s", got, err, want)
		}
	}
	check(`{"id":"evt_065svpb8fc0000005qje8ad8gno1dg6b","type":"sheet.row.updated","time":"2026-01-31T13:37:00.123456Z","seq":42,"op":"insert",` +
		`"source":{"name":"shop","server":1,"gtid":"0-1-7","file":"binlog.000003","pos":4711,"transaction":"0-1-7","ordinal":3},"data":{"wei\"rd":"x"}}`)
	ev.Subject, ev.Tenant, ev.Op, ev.Changed, ev.Source.GTID = "sheets/42", "acmé\n", change.Update, []string{"a", "b"}, ""
	check(`{"id":"evt_065svpb8fc0000005qje8ad8gno1dg6b","type":"sheet.row.updated","subject":"sheets/42","tenant":"acmé\n","time":"2026-01-31T13:37:00.123456Z","seq":42,"op":"update",` +
		`"source":{"name":"shop","server":1,"file":"binlog.000003","pos":4711,"transaction":"binlog.000003:4711","ordinal":3},"data":{"wei\"rd":"x"},"changed":["a","b"]}`)
	ev.Subject, ev.Tenant, ev.Op, ev.Test = "", "", change.Insert, true
	check(`{"id":"evt_065svpb8fc0000005qje8ad8gno1dg6b","type":"sheet.row.updated","time":"2026-01-31T13:37:00.123456Z","seq":42,"op":"insert",` +
		`"source":{"name":"shop","server":1,"file":"binlog.000003","pos":4711,"transaction":"binlog.000003:4711","ordinal":3},"data":{"wei\"rd":"x"},"test":true}`)
}

func FuzzTime(f *testing.F) {
	for _, us := range []int64{0, -1, 1_769_866_620_123_456, math.MaxInt64, math.MinInt64, 951_782_399_999_999} {
		f.Add(us)
	}
	f.Fuzz(func(t *testing.T, us int64) {
		b, err := translate.AppendJSON(nil, &event.Event{Time: us, Op: change.Insert})
		if err != nil {
			t.Fatal(err)
		}
		want := `"time":"` + time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000000Z") + `"`
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("got %s, want %s", b, want)
		}
	})
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "plain", "a\"b\\", "\x00\x1f\x7f", "é\u2028", "\xff", "12345678\xf0\x9f\x8e", strings.Repeat("x", 100) + "\"é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, kind := range []change.Kind{change.Text, change.Timestamp} {
			got, err := value(t, changetest.Column("c", kind, "text"), s)
			if !utf8.ValidString(s) {
				if err == nil {
					t.Errorf("%q was written as %s", s, got)
				}
				continue
			}
			var back string
			if err != nil || json.Unmarshal([]byte(got), &back) != nil || kind == change.Text && back != s {
				t.Errorf("%q became %s, %v", s, got, err)
			}
		}
		if utf8.ValidString(s) {
			ev := oneColumn(t, changetest.Column(s, change.Bytes, "blob"), s)
			ev.Subject, ev.Source.Name, ev.Op, ev.Changed = s, s, change.Update, []string{s}
			b, err := translate.AppendJSON(nil, ev)
			var back struct {
				Subject string
				Source  struct{ Name string }
				Data    map[string]string
				Changed []string
			}
			if err != nil || json.Unmarshal(b, &back) != nil {
				t.Fatalf("%q: %s, %v", s, b, err)
			}
			raw, err := base64.StdEncoding.DecodeString(back.Data[s])
			if err != nil || string(raw) != s || back.Subject != s || back.Source.Name != s || back.Changed[0] != s {
				t.Errorf("%q came back as %+v", s, back)
			}
		}
	})
}

func FuzzJSONColumn(f *testing.F) {
	for _, s := range []string{`{}`, `[]`, `{"a":[1,-0.5e+10,"\u00e9\n",true,false,null]}`, `01`, `1.`, `-`, `"\x"`, `{"a"}`, `[1,]`, ` 1 `, "\"\xff\"", `{"a":1,}`, strings.Repeat("[", 200) + strings.Repeat("]", 200)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := value(t, changetest.Column("c", change.JSON, "json"), s)
		switch {
		case !utf8.ValidString(s):
			if err == nil {
				t.Errorf("%q was written as %s", s, got)
			}
		case err != nil:
			t.Errorf("%q: %v", s, err)
		case json.Valid([]byte(s)) && strings.Count(s, "[")+strings.Count(s, "{") < 100:
			if got != strings.Trim(s, " \n\t\r") {
				t.Errorf("the document %q became %s", s, got)
			}
		default:
			var back string
			if json.Unmarshal([]byte(got), &back) != nil || back != s {
				t.Errorf("the text %q became %s", s, got)
			}
		}
	})
}

func FuzzNumbers(f *testing.F) {
	f.Add(uint64(0))
	f.Add(math.Float64bits(0.1))
	f.Add(uint64(math.MaxUint64))
	f.Fuzz(func(t *testing.T, bits uint64) {
		double := math.Float64frombits(bits)
		if got, err := value(t, changetest.Column("c", change.Double, "double"), double); err == nil {
			if back, err := strconv.ParseFloat(got, 64); err != nil || back != double {
				t.Errorf("%v became %s", double, got)
			}
		} else if !math.IsNaN(double) && !math.IsInf(double, 0) {
			t.Errorf("%v: %v", double, err)
		}
		single := math.Float32frombits(uint32(bits))
		if got, err := value(t, changetest.Column("c", change.Float, "float"), single); err == nil {
			if back, err := strconv.ParseFloat(got, 32); err != nil || float32(back) != single {
				t.Errorf("%v became %s", single, got)
			}
		}
		if got, err := value(t, changetest.Column("c", change.Uint, "bigint"), bits); err != nil || got != strconv.Quote(strconv.FormatUint(bits, 10)) {
			t.Errorf("%d became %s, %v", bits, got, err)
		}
	})
}
