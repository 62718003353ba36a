package event_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/change/changetest"
	"github.com/rowhook/rowhook/internal/event"
)

// result is an event in a form that outlives the call and is easy to compare.
type result struct {
	Type, Subject, Tenant string
	Op                    change.Op
	Data                  string
	Changed               string
	Code                  string
}

func sheets() *change.Table {
	return changetest.Table("app", "sheet_rows", []string{"sheet_id", "row_id"},
		changetest.Column("sheet_id", change.Uint, "int unsigned"),
		changetest.Column("row_id", change.Uint, "bigint unsigned"),
		changetest.Column("org_id", change.Text, "varchar(20)"),
		changetest.Column("value", change.Text, "text"),
		changetest.Column("archived", change.Int, "tinyint(1)"),
		changetest.Column("price", change.Decimal, "decimal(12,2)"),
	)
}

func compile(tb testing.TB, yaml string) *event.Set {
	tb.Helper()
	defs, err := event.Parse("types.yaml", []byte(yaml))
	if err != nil {
		tb.Fatal(err)
	}
	set, err := event.Compile(defs)
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

func show(fields []event.Field) string {
	var out []string
	for _, f := range fields {
		switch {
		case f.Value.State == change.Absent:
			out = append(out, f.Column.Name+" absent")
		case f.Value.State == change.Null:
			out = append(out, f.Column.Name+"=NULL")
		case f.Value.Kind == change.Int:
			out = append(out, fmt.Sprintf("%s=%d", f.Column.Name, f.Value.Int()))
		case f.Value.Kind == change.Uint:
			out = append(out, fmt.Sprintf("%s=%d", f.Column.Name, f.Value.Uint()))
		default:
			out = append(out, fmt.Sprintf("%s=%s", f.Column.Name, f.Value.Bytes()))
		}
	}
	return strings.Join(out, " ")
}

func toResult(ev *event.Event) result {
	r := result{Type: ev.Type, Subject: ev.Subject, Tenant: ev.Tenant, Op: ev.Op, Data: show(ev.Data), Changed: strings.Join(ev.Changed, " ")}
	if ev.Err != nil {
		r.Code = ev.Err.Code
	}
	return r
}

func match(tb testing.TB, set *event.Set, changes ...changetest.Change) []result {
	tb.Helper()
	var out []result
	each(tb, set, func(ev *event.Event) { out = append(out, toResult(ev)) }, changes...)
	return out
}

func each(tb testing.TB, set *event.Set, f func(*event.Event), changes ...changetest.Change) {
	tb.Helper()
	tx := changetest.Tx{Transaction: change.Transaction{GTID: "0-1-7", CommitTime: 1_700_000_000_123_456, File: "binlog.000003", Offset: 4711, ServerID: 1}, Changes: changes}
	m := set.NewMatcher()
	for _, c := range changetest.Changes(tb, "shop", 100, tx) {
		if err := m.Each("shop", 1, c, func(ev *event.Event) error { f(ev); return nil }); err != nil {
			tb.Fatal(err)
		}
	}
}

const sheetType = `
types:
  sheet.row.updated:
    table: app.sheet_rows
    on: [insert, update]
    columns: [value, price]
    when: after.archived == 0
    subject: sheets/{sheet_id}
    tenant: "{org_id}"
    key: [sheet_id, row_id]
    data: [sheet_id, row_id, value]
`

func TestEachMatchesTheWholeType(t *testing.T) {
	t.Parallel()
	tbl, set := sheets(), compile(t, sheetType)
	row := func(value string, archived int, price string) changetest.Row {
		return changetest.Row{42, 7, "acme", value, archived, price}
	}
	want := result{Type: "sheet.row.updated", Subject: "sheets/42", Tenant: "acme"}
	with := func(op change.Op, data, changed string) []result {
		w := want
		w.Op, w.Data, w.Changed = op, data, changed
		return []result{w}
	}
	for name, tc := range map[string]struct {
		change changetest.Change
		want   []result
	}{
		"insert":             {changetest.Change{Op: change.Insert, Table: tbl, After: row("a", 0, "1.00")}, with(change.Insert, "sheet_id=42 row_id=7 value=a", "")},
		"archived insert":    {changetest.Change{Op: change.Insert, Table: tbl, After: row("a", 1, "1.00")}, nil},
		"update of value":    {changetest.Change{Op: change.Update, Table: tbl, Before: row("a", 0, "1.00"), After: row("b", 0, "1.00")}, with(change.Update, "sheet_id=42 row_id=7 value=b", "value")},
		"update of price":    {changetest.Change{Op: change.Update, Table: tbl, Before: row("a", 0, "1.00"), After: row("a", 0, "2.00")}, with(change.Update, "sheet_id=42 row_id=7 value=a", "price")},
		"update of archived": {changetest.Change{Op: change.Update, Table: tbl, Before: row("a", 1, "1.00"), After: row("a", 0, "1.00")}, nil},
		"delete":             {changetest.Change{Op: change.Delete, Table: tbl, Before: row("a", 0, "1.00")}, nil},
		"snapshot":           {changetest.Change{Op: change.Snapshot, Table: tbl, After: row("a", 0, "1.00")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, match(t, set, tc.change)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEventCarriesItsPlace(t *testing.T) {
	t.Parallel()
	tbl, set := sheets(), compile(t, sheetType)
	row := changetest.Row{42, 7, "acme", "a", 0, "1.00"}
	n := 0
	each(t, set, func(ev *event.Event) {
		want := event.Origin{Name: "shop", Server: 1, GTID: "0-1-7", File: "binlog.000003", Offset: 4711, Ordinal: uint64(n)}
		if diff := cmp.Diff(want, ev.Source); diff != "" {
			t.Error(diff)
		}
		id := event.Identity{Source: "shop", Generation: 1, GTID: "0-1-7", CommitTime: 1_700_000_000_123_456, Schema: "app", Table: "sheet_rows", TableOrdinal: uint64(n), Type: "sheet.row.updated"}
		if ev.ID != id.ID() || ev.Seq != 100+uint64(n) || ev.Time != id.CommitTime {
			t.Errorf("event %d has id %s, seq %d, time %d", n, ev.ID, ev.Seq, ev.Time)
		}
		n++
	}, changetest.Change{Op: change.Insert, Table: tbl, After: row}, changetest.Change{Op: change.Insert, Table: tbl, After: row})
	if n != 2 {
		t.Errorf("%d events, want 2", n)
	}
}

func TestPoisonIsAnEvent(t *testing.T) {
	t.Parallel()
	tbl := sheets()
	full := changetest.Row{42, 7, "acme", "a", 0, "1.00"}
	minimal := changetest.Row{42, 7, changetest.Absent, changetest.Absent, changetest.Absent, changetest.Absent}
	insert := changetest.Change{Op: change.Insert, Table: tbl, After: full}
	for name, tc := range map[string]struct {
		typ    string
		change changetest.Change
		code   string
		says   string
	}{
		"unknown data column":   {"data: [sheet_idd]", insert, event.CodeUnknownColumn, `did you mean "sheet_id"?`},
		"unknown in expression": {"data: [value]\n    when: after.valu == 'a'", insert, event.CodeUnknownColumn, `did you mean "value"?`},
		"before of insert":      {"data: [value]\n    when: before.value != after.value", insert, event.CodeExpression, "before.value does not exist for insert"},
		"not a boolean":         {"data: [value]\n    when: after.archived", insert, event.CodeExpression, "gave int, must give true or false"},
		"decimal as number":     {"data: [value]\n    when: after.price > 10", insert, event.CodeExpression, "write double()"},
		"division by zero":      {"data: [value]\n    when: 1 / after.archived == 1", insert, event.CodeExpression, "division by zero"},
		"conversion":            {"data: [value]\n    when: int(after.value) == 1", insert, event.CodeExpression, "cannot be evaluated"},
		"null subject":          {"data: [value]\n    subject: x/{org_id}", changetest.Change{Op: change.Insert, Table: tbl, After: changetest.Row{42, 7, nil, "a", 0, "1.00"}}, event.CodeTemplate, "org_id, which is NULL"},
		"empty tenant":          {"data: [value]\n    tenant: \"{org_id}\"", changetest.Change{Op: change.Insert, Table: tbl, After: changetest.Row{42, 7, "", "a", 0, "1.00"}}, event.CodeTemplate, "came out empty"},
		"long subject":          {"data: [value]\n    subject: x/{value}", changetest.Change{Op: change.Insert, Table: tbl, After: changetest.Row{42, 7, "", strings.Repeat("x", 5000), 0, "1.00"}}, event.CodeTemplate, "longer than 1024"},
		"absent columns":        {"data: [value]\n    columns: [value]", changetest.Change{Op: change.Update, Table: tbl, Before: minimal, After: full}, event.CodeColumnAbsent, "binlog_row_image=FULL"},
		"absent subject":        {"data: [row_id]\n    subject: x/{org_id}", changetest.Change{Op: change.Delete, Table: tbl, Before: minimal}, event.CodeColumnAbsent, "org_id"},
		"absent in expression":  {"data: [row_id]\n    when: before.org_id == 'x'", changetest.Change{Op: change.Delete, Table: tbl, Before: minimal}, event.CodeColumnAbsent, "did not carry before.org_id"},
		"absent key":            {"data: [row_id]\n    key: [org_id]", changetest.Change{Op: change.Delete, Table: tbl, Before: minimal}, event.CodeColumnAbsent, "key needs the column org_id"},
		"endless expression":    {"data: [row_id]\n    when: '[" + strings.Repeat("1,", 99) + "1].all(a, [" + strings.Repeat("1,", 99) + "1].all(b, [" + strings.Repeat("1,", 99) + "1].all(c, a + b + c + after.archived > 0)))'", insert, event.CodeExpression, "cost limit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := compile(t, "types:\n  bad:\n    table: app.*\n    "+tc.typ+"\n  good:\n    table: app.*\n    data: [row_id]\n")
			var got []string
			each(t, set, func(ev *event.Event) {
				got = append(got, ev.Type)
				if ev.Type == "good" {
					if ev.Err != nil {
						t.Errorf("the good type failed: %v", ev.Err)
					}
					return
				}
				if ev.Err == nil {
					t.Fatal("no error")
				}
				if ev.Err.Code != tc.code || !strings.Contains(ev.Err.Error(), tc.says) {
					t.Errorf("got %s: %v\nwant %s: %s", ev.Err.Code, ev.Err, tc.code, tc.says)
				}
				if ev.ID == "" || ev.Key == 0 || ev.Seq == 0 {
					t.Errorf("a poison event without its place: %+v", ev)
				}
			}, tc.change)
			if diff := cmp.Diff([]string{"bad", "good"}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestErrorsHoldNoRowData(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t"
	tbl := sheets()
	for _, when := range []string{
		"int(after.value) == 1", "double(after.value) > 1.0", "timestamp(after.value) > timestamp('2026-01-01T00:00:00Z')", "after[after.value] == 1",
		"duration(after.value) > duration('1s')", "'a'.matches(after.value + '(')", "after.value", "[after.value][7] == ''", "{'a': 1}[after.value] == 1",
	} {
		set := compile(t, fmt.Sprintf("types:\n  bad:\n    table: app.*\n    data: [value]\n    when: %q\n", when))
		n := 0
		each(t, set, func(ev *event.Event) {
			n++
			if ev.Err == nil || strings.Contains(ev.Err.Error(), secret) {
				t.Errorf("%s: %v", when, ev.Err)
			}
		}, changetest.Change{Op: change.Insert, Table: tbl, After: changetest.Row{42, 7, "acme", secret, 0, "1.00"}})
		if n != 1 {
			t.Errorf("%s: %d events, want a parked one", when, n)
		}
	}
}

func TestExpressionsOverValues(t *testing.T) {
	t.Parallel()
	tbl := sheets()
	upd := changetest.Change{Op: change.Update, Table: tbl, Before: changetest.Row{42, uint64(1<<63 + 5), nil, "a", -3, "1.00"}, After: changetest.Row{42, uint64(1<<63 + 5), nil, "b", 3, "10.50"}}
	for _, when := range []string{
		"after.sheet_id > 41", "after.sheet_id == 42", "after.sheet_id + 1 == 43", "after.sheet_id - 43 < 0", "after.sheet_id > 41.5", "after.row_id > 9223372036854775807",
		"after.row_id == 9223372036854775813u", "after.org_id == null", "has(after.org_id)", "!has(after.nope)", "'value' in after", "!('nope' in after)",
		"before.value != after.value", "'value' in changed", "!('org_id' in changed)", "changed.size() == 3", "op == 'update'", "schema + '.' + table == 'app.sheet_rows'",
		"after['value'] == 'b'", "double(after.price) > 9.5", "after.size() == 6", "after.exists(c, c == 'price')", "before == before", "before != after",
		"before.archived < 0 && after.archived > 0", "after.value.startsWith('b')", "after.value.matches('^[a-c]$')", "op == 'delete' || after.archived == 3", "type(after.sheet_id) == int",
	} {
		set := compile(t, fmt.Sprintf("types:\n  t:\n    table: app.sheet_rows\n    data: [value]\n    when: %q\n", when))
		got := match(t, set, upd)
		if len(got) != 1 || got[0].Code != "" {
			t.Errorf("%s: %+v", when, got)
		}
	}
}

func TestMinimalImagesStandForUnchanged(t *testing.T) {
	t.Parallel()
	const a = changetest.Absent
	set := compile(t, "types:\n  t:\n    table: app.*\n    data: [sheet_id, row_id, value, org_id]\n    subject: s/{sheet_id}\n    when: after.sheet_id == 42\n")
	got := match(t, set, changetest.Change{Op: change.Update, Table: sheets(), Before: changetest.Row{42, 7, a, a, a, a}, After: changetest.Row{a, a, a, "b", a, a}})
	want := []result{{Type: "t", Subject: "s/42", Op: change.Update, Data: "sheet_id=42 row_id=7 value=b org_id absent"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRowhookTablesAreNamedExactly(t *testing.T) {
	t.Parallel()
	set := compile(t, "types:\n  a:\n    table: '*.*'\n    data: [id]\n  b:\n    table: rowhook.canary\n    data: [id]\n")
	tbl := changetest.Table("rowhook", "canary", []string{"id"}, changetest.Column("id", change.Int, "int"))
	got := match(t, set, changetest.Change{Op: change.Insert, Table: tbl, After: changetest.Row{1}})
	if len(got) != 1 || got[0].Type != "b" {
		t.Errorf("got %+v, want b alone", got)
	}
	if !set.Wants("rowhook", "canary") || set.Wants("rowhook", "other") || !set.Wants("x", "y") {
		t.Error("Wants disagrees with Each")
	}
}

func TestCheckTable(t *testing.T) {
	t.Parallel()
	set := compile(t, `
types:
  exact:
    table: app.sheet_rows
    data: [sheet_id, nope]
    when: after.valu == 'x' && (!has(after.maybe) || after.maybe == 1)
    subject: s/{sheetid}
    tenant: "{org}"
    key: [rowid]
    columns: [pric]
  glob:
    table: app.*
    data: [sheet_id]
    when: table == 'other' && after.other == 1
`)
	var got []string
	for _, err := range set.CheckTable(sheets()) {
		got = append(got, err.Error())
	}
	text := strings.Join(got, "\n")
	for _, word := range []string{"nope", "valu,", "sheetid", "org,", "rowid", "pric,", "types.yaml:3"} {
		if !strings.Contains(text, word) {
			t.Errorf("CheckTable does not speak of %s:\n%s", word, text)
		}
	}
	if len(got) != 6 {
		t.Errorf("%d errors, want 6:\n%s", len(got), text)
	}
}

func TestAlteredTableIsResolvedAgain(t *testing.T) {
	t.Parallel()
	set := compile(t, "types:\n  t:\n    table: app.t\n    data: [b]\n")
	m := set.NewMatcher()
	one := changetest.Table("app", "t", nil, changetest.Column("a", change.Text, "text"), changetest.Column("b", change.Text, "text"))
	two := changetest.Table("app", "t", nil, changetest.Column("b", change.Text, "text"), changetest.Column("a", change.Text, "text"))
	for range 3 {
		for _, tc := range []struct {
			table *change.Table
			row   changetest.Row
		}{{one, changetest.Row{"x", "y"}}, {two, changetest.Row{"y", "x"}}} {
			for _, c := range changetest.Changes(t, "shop", 1, changetest.Tx{Changes: []changetest.Change{{Op: change.Insert, Table: tc.table, After: tc.row}}}) {
				if err := m.Each("shop", 1, c, func(ev *event.Event) error {
					if got := show(ev.Data); got != "b=y" {
						t.Errorf("got %s", got)
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func TestEachStopsAtTheFirstErrorOfItsCaller(t *testing.T) {
	t.Parallel()
	set := compile(t, "types:\n  a:\n    table: app.*\n    data: [row_id]\n  b:\n    table: app.*\n    data: [row_id]\n")
	c := changetest.Changes(t, "shop", 1, changetest.Tx{Changes: []changetest.Change{{Op: change.Insert, Table: sheets(), After: changetest.Row{1, 2, "o", "v", 0, "1.00"}}}})[0]
	stop, calls := errors.New("stop"), 0
	if err := set.NewMatcher().Each("shop", 1, c, func(*event.Event) error { calls++; return stop }); !errors.Is(err, stop) || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func TestMalformedRowIsAnError(t *testing.T) {
	t.Parallel()
	set := compile(t, "types:\n  a:\n    table: app.t\n    data: [s]\n")
	tbl := changetest.Table("app", "t", nil, changetest.Column("s", change.Text, "text"))
	block := changetest.Block(t, "shop", 1, changetest.Tx{Changes: []changetest.Change{{Op: change.Insert, Table: tbl, After: changetest.Row{"needle"}}}})
	// The length of the value now reaches beyond the row.
	block[bytes.Index(block, []byte("needle"))-1] = 100
	blk, err := change.Parse(block)
	if err != nil {
		t.Fatal(err)
	}
	m := set.NewMatcher()
	err = blk.Each(func(c *change.Change) error {
		return m.Each("shop", 1, c, func(*event.Event) error { t.Error("an event of a malformed row"); return nil })
	})
	if !errors.Is(err, change.ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

func TestMatchingAllocatesTheIDAlone(t *testing.T) {
	set := compile(t, sheetType)
	plain := compile(t, "types:\n  a:\n    table: app.*\n    data: [row_id, value]\n    subject: s/{sheet_id}\n    tenant: '{org_id}'\n")
	tbl := sheets()
	row := changetest.Row{42, 7, "acme", "a", 0, "1.00"}
	c := changetest.Changes(t, "shop", 1, changetest.Tx{Changes: []changetest.Change{{Op: change.Insert, Table: tbl, After: row}}})[0]
	for name, tc := range map[string]struct {
		set  *event.Set
		want float64
	}{"without an expression": {plain, 1}, "nobody wants it": {compile(t, "types:\n  a:\n    table: x.y\n    data: [row_id]\n"), 0}, "with an expression": {set, 4}} {
		m := tc.set.NewMatcher()
		if n := testing.AllocsPerRun(100, func() {
			if err := m.Each("shop", 1, c, func(*event.Event) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}); n > tc.want {
			t.Errorf("%s: %v allocations, want at most %v", name, n, tc.want)
		}
	}
}
