package translate_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/change/changetest"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/internal/translate"
)

// kinds is a table with a column of every kind, and a row of it.
func kinds() (*change.Table, changetest.Row) {
	return changetest.Table("app", "t", []string{"int"},
			changetest.Column("int", change.Int, "int"), changetest.Column("big", change.Int, "bigint"), changetest.Column("uint", change.Uint, "bigint unsigned"),
			changetest.Column("float", change.Float, "float"), changetest.Column("double", change.Double, "double"), changetest.Column("decimal", change.Decimal, "decimal(12,2)"),
			changetest.Column("text", change.Text, "text"), changetest.Column("bytes", change.Bytes, "blob"), changetest.Column("json", change.JSON, "json"),
			changetest.Column("date", change.Date, "date"), changetest.Column("time", change.Time, "time"), changetest.Column("datetime", change.Datetime, "datetime"),
			changetest.Column("timestamp", change.Timestamp, "timestamp"), changetest.Column("zero", change.Timestamp, "timestamp"),
			changetest.Column("geometry", change.Geometry, "point"), changetest.Column("short", change.Text, "text"), changetest.Column("nothing", change.Text, "text")),
		changetest.Row{
			-12345, int64(9_007_199_254_740_993), uint64(1) << 63, float32(0.1), 1e-9, "-1234.50", "grüße \"é\"\n世界", []byte{0, 255, 1, 2, 3},
			`{"a": [1, 2.50]}`, "2026-01-31", "-838:59:59", "2026-01-31 13:37:00", "2026-01-31 13:37:00", "0000-00-00 00:00:00", []byte("\x00\x00\x00\x00wkb"), "äöü", nil,
		}
}

// written returns the members of data of an event of every column with a mask, empty for none.
func written(t *testing.T, mask string, op change.Op) map[string]json.RawMessage {
	t.Helper()
	tbl, row := kinds()
	def := event.Definition{Name: "t", Table: "app.t", Mask: map[string]string{}}
	for _, c := range tbl.Columns {
		def.Data = append(def.Data, c.Name)
		if mask != "" {
			def.Mask[c.Name] = mask
		}
	}
	set, err := event.Compile([]event.Definition{def})
	if err != nil {
		t.Fatal(err)
	}
	other := append(changetest.Row{7}, row[1:]...)
	c := changetest.Change{Op: op, Table: tbl, Before: other, After: row}
	if op == change.Delete {
		c.Before = row
	}
	var out struct {
		Data    map[string]json.RawMessage
		Changed []string
	}
	err = set.NewMatcher().Each("shop", 1, changetest.Changes(t, "shop", 1, changetest.Tx{Changes: []changetest.Change{c}})[0], func(ev *event.Event) error {
		b, err := translate.AppendJSON(nil, ev)
		if err != nil {
			return err
		}
		return json.Unmarshal(b, &out)
	})
	if err != nil {
		t.Fatal(err)
	}
	if op == change.Update && (len(out.Changed) != 1 || out.Changed[0] != "int") {
		t.Errorf("changed is %v", out.Changed)
	}
	return out.Data
}

// plain is a member as the text that is masked: a string's content, else the JSON as it stands.
func plain(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	if raw[0] != '"' {
		return string(raw)
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// What a mask makes of a value follows from what an unmasked event holds, for every kind of column.
func TestMasks(t *testing.T) {
	t.Parallel()
	masks := map[string]func(string) string{
		"sha256": func(s string) string { h := sha256.Sum256([]byte(s)); return `"` + hex.EncodeToString(h[:]) + `"` },
		"redact": func(string) string { return `"***"` },
		"null":   func(string) string { return "null" },
		"last4": func(s string) string {
			n, r := utf8.RuneCountInString(s), []rune(s)
			if n <= 4 {
				return `"` + strings.Repeat("*", n) + `"`
			}
			b, err := json.Marshal(strings.Repeat("*", n-4) + string(r[n-4:]))
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		},
	}
	def := written(t, "", change.Insert)
	for _, op := range []change.Op{change.Insert, change.Update, change.Delete} {
		for name, mask := range masks {
			got := written(t, name, op)
			if len(got) != len(def) {
				t.Errorf("%s: %d members of %d", name, len(got), len(def))
			}
			for column, raw := range def {
				want := "null"
				if string(raw) != "null" {
					want = mask(plain(t, raw))
				}
				if string(got[column]) != want {
					t.Errorf("%s of %s %s: got %s, want %s", name, column, raw, got[column], want)
				}
			}
		}
	}
}

// Masking one column of a type leaves the others alone, allocates nothing more, and shows no value in an error.
func TestMaskOfOneColumn(t *testing.T) {
	tbl := orders()
	def := event.Definition{Name: "t", Table: "app.orders", Data: []string{"id", "note", "customer", "token"}}
	allocations := func(def event.Definition) (string, float64) {
		set, err := event.Compile([]event.Definition{def})
		if err != nil {
			t.Fatal(err)
		}
		c := changetest.Changes(t, "shop", 1, changetest.Tx{Changes: []changetest.Change{{Op: change.Insert, Table: tbl, After: orderRow(1, "new")}}})[0]
		m, buf := set.NewMatcher(), []byte(nil)
		n := testing.AllocsPerRun(100, func() {
			if err := m.Each("shop", 1, c, func(ev *event.Event) (err error) {
				buf, err = translate.AppendJSON(buf[:0], ev)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		})
		return string(buf), n
	}
	_, without := allocations(def)
	def.Mask = map[string]string{"customer": "last4", "note": "sha256"}
	got, with := allocations(def)
	if with > without {
		t.Errorf("%v allocations, without masks %v", with, without)
	}
	if !strings.Contains(got, `"data":{"id":"9007199254740993","note":"`) || !strings.Contains(got, `"customer":"**************. KG","token":"`) {
		t.Error(got)
	}
	if strings.Contains(got, "deliver") || strings.Contains(got, "Acme") {
		t.Errorf("a masked value left: %s", got)
	}
	bad := oneColumn(t, changetest.Column("c", change.Text, "text"), "s3cr3t\xff")
	if _, err := translate.AppendJSON(nil, bad); err == nil || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("got %v", err)
	}
}

// No error of a type shows a value, masked or not: here every part fails on the masked column.
func TestMaskedValuesStayOutOfErrors(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t"
	tbl := changetest.Table("app", "t", []string{"id"}, changetest.Column("id", change.Int, "int"), changetest.Column("email", change.Text, "text"))
	for _, def := range []event.Definition{
		{When: "int(after.email) > 1"}, {Subject: "x/{nope}"}, {When: "after.email"}, {Tenant: "{nope}"},
	} {
		def.Name, def.Table, def.Data, def.Mask = "t", "app.t", []string{"email"}, map[string]string{"email": "redact"}
		set, err := event.Compile([]event.Definition{def})
		if err != nil {
			t.Fatal(err)
		}
		c := changetest.Changes(t, "shop", 1, changetest.Tx{Changes: []changetest.Change{{Op: change.Insert, Table: tbl, After: changetest.Row{1, secret}}}})[0]
		n := 0
		if err := set.NewMatcher().Each("shop", 1, c, func(ev *event.Event) error {
			n++
			_, err := translate.AppendJSON(nil, ev)
			if err == nil || strings.Contains(err.Error(), secret) || strings.Contains(ev.Err.Error(), secret) {
				t.Errorf("%+v: %v", def, err)
			}
			return nil
		}); err != nil || n != 1 {
			t.Errorf("%d events, %v", n, err)
		}
	}
}
