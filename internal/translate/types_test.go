package translate_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/change/changetest"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/internal/translate"
)

// told returns the JSON of every event from its op on, without the source; an event that failed is its error.
func told(t *testing.T, yaml string, changes ...changetest.Change) []string {
	t.Helper()
	defs, err := event.Parse("types.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	set, err := event.Compile(defs)
	if err != nil {
		t.Fatal(err)
	}
	m, out := set.NewMatcher(), []string{}
	for _, c := range changetest.Changes(t, "shop", 1, changetest.Tx{Changes: changes}) {
		if err := m.Each("shop", 1, c, func(ev *event.Event) error {
			b, err := translate.AppendJSON(nil, ev)
			if failed, ok := errors.AsType[*event.Error](err); ok {
				out = append(out, ev.Type+" "+c.Table.FullName()+" "+failed.Code+" "+failed.Column)
				return nil
			}
			if err != nil {
				return err
			}
			_, op, _ := strings.Cut(string(b), `"op":`)
			op, rest, _ := strings.Cut(op, `,"source":`)
			_, data, _ := strings.Cut(rest, `},"data":`)
			out = append(out, ev.Type+" "+c.Table.FullName()+" "+ev.Subject+" "+op+" "+strings.TrimSuffix(data, "}"))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func named(schema, name string, columns ...string) *change.Table {
	out := []change.Column{changetest.Column("id", change.Int, "int")}
	for _, c := range columns {
		out = append(out, changetest.Column(c, change.Text, "text"))
	}
	return changetest.Table(schema, name, []string{"id"}, out...)
}

// A type may look at many tables. One that lacks a column fails alone, and every operation is told with the image that it has.
func TestTypesOfManyTables(t *testing.T) {
	t.Parallel()
	const yaml = `
types:
  any:      {table: app.*, subject: "r/{id}", data: [id, name]}
  arrived:  {table: "*.users", on: [snapshot], data: [name]}
  deleted:  {table: app.*, on: [delete], when: before.name != 'keep', data: [id]}
  loaded:   {table: app.*, on: [snapshot, insert], when: "op == 'snapshot' ? after.id > 1 : true", data: [id]}
  prefixed: {table: "app*.o*s", on: [delete], data: [id, total]}
`
	users, orders, other := named("app", "users", "name"), named("app", "orders", "total"), named("app2", "orders", "total")
	got := told(t, yaml,
		changetest.Change{Op: change.Snapshot, Table: users, After: changetest.Row{1, "old"}},
		changetest.Change{Op: change.Snapshot, Table: users, After: changetest.Row{2, nil}},
		changetest.Change{Op: change.Insert, Table: users, After: changetest.Row{1, "new"}},
		changetest.Change{Op: change.Delete, Table: users, Before: changetest.Row{1, "last"}},
		changetest.Change{Op: change.Delete, Table: users, Before: changetest.Row{2, "keep"}},
		changetest.Change{Op: change.Delete, Table: orders, Before: changetest.Row{3, "9.50"}},
		changetest.Change{Op: change.Delete, Table: other, Before: changetest.Row{4, "1.00"}},
		changetest.Change{Op: change.Update, Table: users, Before: changetest.Row{1, "a"}, After: changetest.Row{1, "b"}},
	)
	want := []string{
		`arrived app.users  "snapshot" {"name":"old"}`,
		`arrived app.users  "snapshot" {"name":null}`,
		`loaded app.users  "snapshot" {"id":2}`,
		`any app.users r/1 "insert" {"id":1,"name":"new"}`,
		`loaded app.users  "insert" {"id":1}`,
		`any app.users r/1 "delete" {"id":1,"name":"last"}`,
		`deleted app.users  "delete" {"id":1}`,
		`any app.users r/2 "delete" {"id":2,"name":"keep"}`,
		`any app.orders unknown_column name`,
		`deleted app.orders unknown_column name`,
		`prefixed app.orders  "delete" {"id":3,"total":"9.50"}`,
		`prefixed app2.orders  "delete" {"id":4,"total":"1.00"}`,
		`any app.users r/1 "update" {"id":1,"name":"b"},"changed":["name"]`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A move is told in JSON as a delete and an insert like any other.
func TestMoveAsJSON(t *testing.T) {
	t.Parallel()
	got := told(t, "types:\n  t:\n    table: app.*\n    tenant: \"{org}\"\n    data: [id, name]\n    subject: o/{org}\n    mask: {name: last4}\n",
		changetest.Change{Op: change.Update, Table: named("app", "t", "org", "name"), Before: changetest.Row{1, "a", "before"}, After: changetest.Row{1, "b", "after"}})
	want := []string{
		`t app.t o/b "update" {"id":1,"name":"*fter"},"changed":["name"]`,
		`t app.t o/a "delete" {"id":1,"name":"**fore"}`,
		`t app.t o/b "insert" {"id":1,"name":"*fter"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestExampleAsJSON(t *testing.T) {
	t.Parallel()
	def := event.Definition{Name: "order.paid", Table: "app.orders", Subject: "o/{id}", Tenant: "{customer}", Data: []string{
		"id", "sheet_id", "status", "qty", "price", "weight", "note", "attrs", "token", "created_at", "updated_at",
	}}
	for _, tbl := range []*change.Table{orders(), nil} {
		ev, err := event.Example(def, tbl, 5)
		if err != nil {
			t.Fatal(err)
		}
		ev.Time = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC).UnixMicro()
		b, err := translate.AppendJSON(nil, ev)
		if err != nil || !strings.HasSuffix(string(b), `},"test":true}`) || !strings.Contains(string(b), `"time":"2026-01-31T12:00:00.000000Z"`) || strings.Contains(string(b), "null") {
			t.Errorf("%s, %v", b, err)
		}
	}
}
