package bench

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func example() Result {
	r := Result{Scenario: "capture", Server: "mysql", Title: "capture: an example", Rows: []Row{{"reader", "rows/s"}, {"raw", "1,000"}}, Warnings: []string{"beware"}}
	r.Settings.Add("rows", 1000)
	r.Measured.Add("z_first", 1.5)
	r.Measured.Add("a_second", int64(2))
	r.Ratios.Add("to_raw", 0.25)
	return r
}

func TestJSON(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := example().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, b.Bytes()); err != nil {
		t.Fatal(err)
	}
	want := `{"scenario":"capture","server":"mysql","settings":{"rows":1000},"measured":{"z_first":1.5,"a_second":2},"ratios":{"to_raw":0.25}}`
	if diff := cmp.Diff(want, compact.String()); diff != "" {
		t.Error(diff)
	}
	b.Reset()
	if err := (Result{}).WriteJSON(&b); err != nil || strings.Contains(b.String(), "null") {
		t.Errorf("an empty result is %s, %v: its members are objects too", &b, err)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := example().WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	want := "capture: an example\n\n  reader   rows/s\n  raw      1,000\n\nsettings\n  rows   1000\n\nwarning: beware\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	r := example()
	if n, ok := r.Measured.Number("a_second"); !ok || n != 2 {
		t.Errorf("a_second is %v, %v", n, ok)
	}
	if _, ok := r.Measured.Number("none"); ok {
		t.Error("a figure that is not there is a number")
	}
}
