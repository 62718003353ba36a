package event_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/change/changetest"
	"github.com/rowhook/rowhook/internal/event"
)

func example(tb testing.TB, def event.Definition, t *change.Table, seed uint64) *event.Event {
	tb.Helper()
	ev, err := event.Example(def, t, seed)
	if err != nil {
		tb.Fatal(err)
	}
	return ev
}

func TestExample(t *testing.T) {
	t.Parallel()
	def := event.Definition{
		Name: "sheet.updated", Table: "app.*", On: []change.Op{change.Update, change.Insert}, Columns: []string{"value"}, When: "false", Subject: "sheets/{sheet_id}",
		Tenant: "{org_id}", Data: []string{"sheet_id", "value", "price", "email"}, Mask: map[string]string{"email": "redact"},
	}
	tbl := sheets()
	tbl.Columns = append(tbl.Columns, change.Column{Name: "email", Number: 9, Kind: change.Text, Type: "varchar(100)"})
	a, again, b := example(t, def, tbl, 1), example(t, def, tbl, 1), example(t, def, tbl, 2)
	if diff := cmp.Diff(toResult(a), toResult(again)); diff != "" || a.ID != again.ID || a.Key != again.Key {
		t.Errorf("one seed, two events:\n%s", diff)
	}
	if a.ID == b.ID {
		t.Error("two seeds, one id")
	}
	got := toResult(a)
	if !a.Test || a.Move != event.MoveNone || got.Type != "sheet.updated" || got.Op != change.Update || got.Tenant == "" || !strings.HasPrefix(got.Subject, "sheets/") ||
		got.Changed != "value" || !strings.Contains(got.Data, "email=***") || !strings.Contains(got.Data, "price=") || a.Source.Name != event.TestType {
		t.Errorf("%+v", got)
	}
	def.On, def.Columns = []change.Op{change.Delete}, nil
	if got := toResult(example(t, def, tbl, 1)); got.Op != change.Delete || got.Data == "" {
		t.Errorf("%+v", got)
	}
	def.On = []change.Op{change.Snapshot}
	if got := toResult(example(t, def, tbl, 1)); got.Op != change.Snapshot || got.Data == "" {
		t.Errorf("%+v", got)
	}
}

// Without a table the columns are those that the type names.
func TestExampleOfAGuessedTable(t *testing.T) {
	t.Parallel()
	def := event.Definition{
		Name: "order.paid", Table: "*.orders_*", Subject: "o/{id}", Tenant: "{org}", Key: []string{"customer_id"},
		Data: []string{"id", "email", "line_count", "note"}, When: "after.status == 'paid'",
	}
	ev := example(t, def, nil, 7)
	if ev.Table.FullName() != "example.orders_example" || ev.Subject == "" || ev.Tenant == "" || len(ev.Data) != 4 {
		t.Errorf("%+v", toResult(ev))
	}
	kinds := []change.Kind{change.Int, change.Text, change.Int, change.Text}
	for i, f := range ev.Data {
		if f.Value.Kind != kinds[i] || f.Value.State != change.Set {
			t.Errorf("%s is of kind %d", f.Column.Name, f.Value.Kind)
		}
	}
	ev = example(t, event.TestDefinition(), nil, 7)
	if ev.Type != "rowhook.test" || !ev.Test || len(ev.Data) != 2 {
		t.Errorf("%+v", toResult(ev))
	}
}

func TestExampleRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		def  event.Definition
		says string
	}{
		{event.Definition{Name: "a", Table: "other.t", Data: []string{"value"}}, "does not look at the table app.sheet_rows"},
		{event.Definition{Name: "a", Table: "app.*", Data: []string{"valu"}}, `did you mean "value"`},
		{event.Definition{Name: "a", Table: "app.*"}, "data is missing"},
		{event.Definition{Name: "rowhook.other", Table: "app.*", Data: []string{"value"}}, "Rowhook's own"},
	} {
		if _, err := event.Example(tc.def, sheets(), 1); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%+v: %v", tc.def, err)
		}
	}
	if _, err := event.Compile([]event.Definition{event.TestDefinition()}); err == nil {
		t.Error("a file may name Rowhook's own type")
	}
}

// Values fit their columns, whatever the seed.
func TestExampleValuesFit(t *testing.T) {
	t.Parallel()
	tbl := changetest.Table("app", "t", []string{"id"},
		changetest.Column("id", change.Uint, "bigint unsigned"), changetest.Column("flag", change.Int, "tinyint(1)"), changetest.Column("tiny", change.Int, "tinyint(4)"),
		changetest.Column("bits", change.Uint, "bit(3)"), changetest.Column("year", change.Uint, "year"), changetest.Column("d52", change.Decimal, "decimal(5,2)"),
		changetest.Column("d22", change.Decimal, "decimal(2,2)"), changetest.Column("d3", change.Decimal, "decimal(3,0)"), changetest.Column("code", change.Text, "char(3)"),
		changetest.Column("status", change.Text, "enum('It''s','b')"), changetest.Column("email", change.Text, "varchar(100)"), changetest.Column("hash", change.Bytes, "binary(16)"),
		changetest.Column("small", change.Bytes, "varbinary(2)"), changetest.Column("at", change.Timestamp, "timestamp(3)"), changetest.Column("odd", change.Kind(99), "vector"))
	def := event.Definition{Name: "t", Table: "app.t"}
	for _, c := range tbl.Columns {
		def.Data = append(def.Data, c.Name)
	}
	for seed := range uint64(200) {
		ev := example(t, def, tbl, seed)
		v := map[string]change.Value{}
		for _, f := range ev.Data {
			v[f.Column.Name] = f.Value
		}
		text := func(name string) string { return string(v[name].Bytes()) }
		if v["flag"].Int() > 1 || v["tiny"].Int() > 127 || v["bits"].Uint() > 7 || v["year"].Uint() < 1901 || v["year"].Uint() > 2155 ||
			len(text("d52")) > 6 || !strings.Contains(text("d52"), ".") || len(text("d22")) != 4 || !strings.HasPrefix(text("d22"), "0.") || len(text("d3")) > 3 ||
			len(text("code")) > 3 || text("status") != "It's" || !strings.Contains(text("email"), "@example.com") || len(text("hash")) != 16 || len(text("small")) > 2 ||
			len(text("at")) != len("2026-01-31 13:37:00.500") || v["odd"].State != change.Null {
			t.Fatalf("seed %d: %s", seed, show(ev.Data))
		}
	}
}

func TestDefinitionByName(t *testing.T) {
	t.Parallel()
	set := compile(t, moveTypes)
	for _, name := range set.Names() {
		if d, ok := set.Definition(name); !ok || d.Name != name || len(d.Data) == 0 {
			t.Errorf("%s: %+v, %t", name, d, ok)
		}
	}
	if slices.Contains(set.Names(), "nope") {
		t.Fatal("nope")
	}
	if d, ok := set.Definition("nope"); ok || d.Name != "" {
		t.Errorf("an unknown type: %+v", d)
	}
}
