package event_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/event"
)

// firstLines returns the messages of joined errors without their excerpts.
func firstLines(err error) []string {
	var out []string
	for _, line := range strings.Split(err.Error(), "\n") {
		if !strings.HasPrefix(line, " ") {
			out = append(out, line)
		}
	}
	return out
}

func TestParseReadsEveryKey(t *testing.T) {
	t.Parallel()
	defs, err := event.Parse("types.yaml", []byte(sheetType))
	if err != nil {
		t.Fatal(err)
	}
	if len(defs) != 1 {
		t.Fatalf("%d definitions", len(defs))
	}
	d := defs[0]
	got := event.Definition{Name: d.Name, Table: d.Table, On: d.On, Columns: d.Columns, When: d.When, Subject: d.Subject, Tenant: d.Tenant, Key: d.Key, Data: d.Data}
	want := event.Definition{
		Name: "sheet.row.updated", Table: "app.sheet_rows", On: []change.Op{change.Insert, change.Update}, Columns: []string{"value", "price"},
		When: "after.archived == 0", Subject: "sheets/{sheet_id}", Tenant: "{org_id}", Key: []string{"sheet_id", "row_id"}, Data: []string{"sheet_id", "row_id", "value"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(event.Definition{}), cmp.Comparer(func(a, b event.Definition) bool {
		return a.Name == b.Name && a.Table == b.Table && a.When == b.When && a.Subject == b.Subject && a.Tenant == b.Tenant &&
			cmp.Equal(a.On, b.On) && cmp.Equal(a.Columns, b.Columns) && cmp.Equal(a.Key, b.Key) && cmp.Equal(a.Data, b.Data)
	})); diff != "" {
		t.Error(diff)
	}
}

func TestParseReportsEveryProblemWithItsPlace(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		yaml string
		want []string
	}{
		"many at once": {`types:
  Sheet.Updated:
    tabel: app.rows
    on: [insert, updaet]
    data: [id, id]
  rowhook.mine:
    table: rows
    subject: x/{id
    data: "*"
  ok:
    table: app.rows
    masks: {owner: sha256}
    data: ['*']
other: 1
`, []string{
			`t.yaml:3:5: type Sheet.Updated: unknown key "tabel"; did you mean "table"?`,
			`t.yaml:4:18: type Sheet.Updated: unknown operation "updaet"; did you mean "update"?`,
			`t.yaml:9:11: type rowhook.mine: data is text; write a list, such as [a, b]`,
			`t.yaml:12:5: type ok: unknown key "masks"; did you mean "mask"?`,
			`t.yaml:14:1: unknown key "other"; valid are types`,
			`t.yaml:2:3: type Sheet.Updated: the name must be words of a-z, 0-9 and _ joined by dots, such as order.paid`,
			`t.yaml:5:16: type Sheet.Updated: data: id stands twice; remove one`,
			`t.yaml:6:3: type rowhook.mine: names that begin with rowhook. are Rowhook's own; choose another`,
			`t.yaml:7:12: type rowhook.mine: table: "rows" is not schema.table, such as "app.orders" or "app.*"`,
			`t.yaml:8:16: type rowhook.mine: subject: { is not closed; write {column}, or {{ for a brace`,
			`t.yaml:13:12: type ok: data: * is not allowed; name each column that may leave`,
		}},
		"expression, plain": {"types:\n  a:\n    table: a.b\n    data: [id]\n    when: aftr.x == 1\n",
			[]string{`t.yaml:5:11: type a: when, line 1 column 1: undeclared reference to 'aftr' (in container ''); did you mean "after"?`}},
		"expression, quoted": {"types:\n  a:\n    table: a.b\n    data: [id]\n    when: 'after.x == 1 && status == 2'\n",
			[]string{`t.yaml:5:28: type a: when, line 1 column 17: undeclared reference to 'status' (in container ''); a column is written after.status or before.status`}},
		"expression, block": {"types:\n  a:\n    table: a.b\n    data: [id]\n    when: |\n      after.x == 1 &&\n      status == 2\n",
			[]string{`t.yaml:7:7: type a: when, line 2 column 1: undeclared reference to 'status' (in container ''); a column is written after.status or before.status`}},
		"expression, type":   {"types:\n  a:\n    table: a.b\n    data: [id]\n    when: op\n", []string{`t.yaml:5:11: type a: when, line 1 column 1: the expression gives string; it must give true or false`}},
		"columns without on": {"types:\n  a:\n    table: a.b\n    on: [insert]\n    columns: [x]\n    data: [id]\n", []string{`t.yaml:5:14: type a: columns: only an update changes columns; add update to on, or remove columns`}},
		"data missing":       {"types:\n  a:\n    table: a.b\n", []string{`t.yaml:2:3: type a: data is missing; list the columns that may leave: data: [id, …]`}},
		"empty list":         {"types:\n  a:\n    table: a.b\n    data: []\n", []string{`t.yaml:4:11: type a: data is an empty list; fill it or remove the key`}},
		"number for a word":  {"types:\n  a:\n    table: a.b\n    data: [1]\n", []string{`t.yaml:4:12: type a: data names a number; write a word, in quotes if need be`}},
		"key twice":          {"types:\n  a:\n    table: a.b\n    data: [a]\n    data: [b]\n", []string{`t.yaml:5:5: type a: "data" stands twice, first on line 4; remove one`}},
		"type twice":         {"types:\n  a:\n    table: a.b\n    data: [a]\n  a:\n    table: a.b\n    data: [a]\n", []string{`t.yaml:5:3: types: "a" stands twice, first on line 2; remove one`}},
		"anchor":             {"types:\n  a: &x\n    table: a.b\n    data: [a]\n", []string{`t.yaml:2:6: type a is an anchor or alias, which is not supported; write keys and values`}},
		"second document":    {"types:\n  a:\n    table: a.b\n    data: [a]\n---\ntypes: {}\n", []string{`t.yaml:6:1: a second YAML document; put all types under one types: and remove the --- line`}},
		"empty":              {"", []string{`t.yaml:1:1: the file is empty; start it with "types:"`}},
		"glob of own tables": {"types:\n  a:\n    table: rowhook.*\n    data: [a]\n", []string{`t.yaml:3:12: type a: table: "rowhook.*" matches nothing: * never matches tables of the schema rowhook; name the table`}},
		"masks": {`types:
  a:
    table: a.b
    subject: s/{email}
    tenant: "{org}"
    data: [id, email, org, name, phone]
    mask: {email: sha256, org: last4, name: sha265, fone: null, phone: , id: 1}
  b:
    table: a.b
    data: [id]
    mask: [id]
  c:
    table: a.b
    data: [id]
    mask:
      id: ""
  d:
    table: a.b
    data: [id]
    mask: {}
`, []string{
			`t.yaml:7:65: type a: mask: phone is empty; write a mask: sha256, redact, null, last4`,
			`t.yaml:7:74: type a: mask: id is a number; write a mask: sha256, redact, null, last4`,
			`t.yaml:11:11: type b: mask is a list; write keys and values`,
			`t.yaml:20:11: type d: mask is empty; fill it or remove the key`,
			`t.yaml:7:12: type a: mask: email leaves unmasked in subject: s/{email}; take it out of one of them`,
			`t.yaml:7:53: type a: mask: fone is not in data, it does not leave at all; did you mean "phone"?`,
			`t.yaml:7:45: type a: mask: unknown mask "sha265" for name; did you mean "sha256"?`,
			`t.yaml:7:27: type a: mask: org leaves unmasked in tenant: {org}; take it out of one of them`,
			`t.yaml:16:11: type c: mask: unknown mask "" for id; valid are sha256, redact, null, last4`,
		}},
		"sql in an expression": {"types:\n  a:\n    table: a.b\n    data: [id]\n    when: after.x <> 1\n", []string{`t.yaml:5:19: type a: when, line 1 column 10: Syntax error: mismatched input '>'`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := event.Parse("t.yaml", []byte(tc.yaml))
			if err == nil {
				t.Fatal("no error")
			}
			got := firstLines(err)
			if name == "sql in an expression" {
				if !strings.HasPrefix(got[0], "t.yaml:5:") || !strings.Contains(err.Error(), "written !=") {
					t.Errorf("got %v", err)
				}
				return
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestProblemShowsTheLine(t *testing.T) {
	t.Parallel()
	_, err := event.Parse("t.yaml", []byte("types:\n  a:\n    table: a.b\n    colums: [x]\n    data: [x]\n"))
	var p *event.Problem
	if !errors.As(err, &p) {
		t.Fatalf("got %T", err)
	}
	if want := "     4 |     colums: [x]\n       |     ^"; p.Excerpt != want {
		t.Errorf("got\n%s\nwant\n%s", p.Excerpt, want)
	}
}

func TestNamesAreUniqueOverFiles(t *testing.T) {
	t.Parallel()
	const yaml = "types:\n  a:\n    table: a.b\n    data: [id]\n"
	one, err1 := event.Parse("one.yaml", []byte(yaml))
	two, err2 := event.Parse("two.yaml", []byte(yaml))
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	_, err := event.Compile(append(one, two...))
	if err == nil || !strings.Contains(err.Error(), "two.yaml:2:3: type a: the name is taken at one.yaml:2") {
		t.Errorf("got %v", err)
	}
}

func TestCompileChecksDefinitionsWithoutAFile(t *testing.T) {
	t.Parallel()
	_, err := event.Compile([]event.Definition{{Name: "a b", Table: "x", On: []change.Op{9}, Columns: []string{""}, When: "1", Subject: "}"}})
	if err == nil {
		t.Fatal("no error")
	}
	if n := len(firstLines(err)); n != 8 {
		t.Errorf("%d problems, want 8:\n%v", n, err)
	}
}

func TestDeeplyNestedFilesAreRefused(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"[", "{", "- ", "? ", "a: ", "&a ", "!a ", "[\n", "{\n", "? \n", "{a: ", "[[a]: ", "|\n "} {
		if _, err := event.Parse("t.yaml", []byte(strings.Repeat(unit, 1<<18/len(unit)))); err == nil {
			t.Errorf("%q, many times, was accepted", unit)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sheetType))
	f.Add([]byte("types:\n  a: {table: a.b, data: [id], when: \"has(after.x)\"}\n"))
	f.Add([]byte("types:\n  a:\n    table: a.b\n    when: |\n      after.x\n       == 1\n    data:\n      - id\n"))
	f.Add([]byte("? a\n: b\n--- \n&a *a !x y"))
	f.Fuzz(func(t *testing.T, data []byte) {
		defs, err := event.Parse("t.yaml", data)
		if err != nil {
			return
		}
		if _, err := event.Compile(defs); err != nil {
			t.Errorf("Parse accepts what Compile refuses: %v", err)
		}
	})
}
