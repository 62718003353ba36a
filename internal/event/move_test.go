package event_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/change/changetest"
	"github.com/rowhook/rowhook/internal/event"
)

func TestMoveVectors(t *testing.T) {
	t.Parallel()
	const file = "testdata/moves.json"
	var vectors []struct {
		Identity event.Identity
		ID       string
	}
	readVectors(t, file, &vectors)
	seen := map[string]bool{}
	for i := range vectors {
		v := &vectors[i]
		got := v.Identity.ID()
		if *write {
			v.ID = got
		}
		if got != v.ID || seen[got] {
			t.Errorf("%+v\nhas the id %s, the frozen one is %s", v.Identity, got, v.ID)
		}
		seen[got] = true
	}
	if len(vectors) < 4 {
		t.Errorf("%d vectors", len(vectors))
	}
	writeVectors(t, file, vectors)
	// The suffix is part of the type's text; no type can have that name.
	id := vectors[0].Identity
	id.Move = event.MoveOut
	other := id
	other.Type, other.Move = id.Type+"/out", event.MoveNone
	if id.ID() != other.ID() {
		t.Error("the suffix of MoveOut is not /out")
	}
	if _, err := event.Compile([]event.Definition{{Name: other.Type, Table: "a.b", Data: []string{"x"}}}); err == nil {
		t.Error("a type may be named as a side of a move")
	}
}

const moveTypes = `
types:
  all:      {table: app.*, data: [row_id, value], tenant: "{org_id}", subject: "o/{org_id}"}
  deleted:  {table: app.*, data: [row_id], tenant: "{org_id}", on: [delete]}
  fenced:   {table: app.*, data: [row_id], tenant: "{org_id}", columns: [price], when: "(op == 'delete' ? before.archived : after.archived) == 0"}
  inserted: {table: app.*, data: [row_id], tenant: "{org_id}", on: [insert]}
  plain:    {table: app.*, data: [row_id], on: [update]}
  poison:   {table: app.*, data: [nope], tenant: "{org_id}", on: [insert, delete]}
  when:     {table: app.*, data: [row_id], tenant: "{org_id}", when: "changed.size() > 0 || before.value == 'x'"}
`

func TestMovesBetweenTenants(t *testing.T) {
	t.Parallel()
	row := func(org any, value string, archived int) changetest.Row {
		return changetest.Row{42, 7, org, value, archived, "1.00"}
	}
	for name, tc := range map[string]struct {
		before, after changetest.Row
		want          string
	}{
		"moved": {row("a", "x", 0), row("b", "y", 0), `
			all update update b o/b row_id=7 value=y [value]
			all out delete a o/a row_id=7 value=x []
			all in insert b o/b row_id=7 value=y []
			deleted out delete a  row_id=7 []
			fenced out delete a  row_id=7 []
			fenced in insert b  row_id=7 []
			inserted in insert b  row_id=7 []
			plain none update   row_id=7 []
			poison out delete a unknown_column
			poison in insert b unknown_column
			when update update b  row_id=7 []
			when out delete a  row_id=7 []
			when in insert b expression`},
		"archived on the way": {row("a", "y", 0), row("b", "y", 1), `
			all update update b o/b row_id=7 value=y []
			all out delete a o/a row_id=7 value=y []
			all in insert b o/b row_id=7 value=y []
			deleted out delete a  row_id=7 []
			fenced out delete a  row_id=7 []
			inserted in insert b  row_id=7 []
			plain none update   row_id=7 []
			poison out delete a unknown_column
			poison in insert b unknown_column
			when update update b  row_id=7 []
			when in insert b expression`},
		"stays": {row("a", "x", 0), row("a", "y", 0), `
			all none update a o/a row_id=7 value=y [value]
			plain none update   row_id=7 []
			when none update a  row_id=7 []`},
		"from nobody": {row(nil, "x", 0), row("b", "x", 0), `
			all update update b o/b row_id=7 value=x []
			all in insert b o/b row_id=7 value=x []
			fenced in insert b  row_id=7 []
			inserted in insert b  row_id=7 []
			plain none update   row_id=7 []
			poison in insert b unknown_column
			when update update b  row_id=7 []
			when in insert b expression`},
		"to nobody": {row("a", "x", 0), row("", "x", 0), `
			all update update  template
			all out delete a o/a row_id=7 value=x []
			deleted out delete a  row_id=7 []
			fenced out delete a  row_id=7 []
			plain none update   row_id=7 []
			poison out delete a unknown_column
			when update update  template
			when out delete a  row_id=7 []`},
		"nobody's": {row(nil, "x", 0), row("", "x", 0), `
			all none update  template
			plain none update   row_id=7 []
			when none update  template`},
		"old tenant not carried": {row(changetest.Absent, "x", 0), row("b", "x", 0), `
			all none update  column_absent
			deleted none update  column_absent
			fenced none update  column_absent
			inserted none update  column_absent
			plain none update   row_id=7 []
			poison none update  column_absent
			when none update  column_absent`},
		"new tenant not carried": {row("a", "x", 0), row(changetest.Absent, "y", 0), `
			all none update a o/a row_id=7 value=y [value]
			plain none update   row_id=7 []
			when none update a  row_id=7 []`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			ids := map[string]bool{}
			var keys [2]uint64
			each(t, compile(t, moveTypes), func(ev *event.Event) {
				move := [...]string{"none", "update", "out", "in"}[ev.Move]
				tail := fmt.Sprintf(" %s %s %s", ev.Subject, show(ev.Data), ev.Changed)
				if ev.Err != nil {
					tail = " " + ev.Err.Code
				}
				got = append(got, fmt.Sprintf("%s %s %s %s%s", ev.Type, move, ev.Op, ev.Tenant, tail))
				id := event.Identity{Source: "shop", Generation: 1, GTID: "0-1-7", CommitTime: ev.Time, Schema: "app", Table: "sheet_rows", Type: ev.Type}
				if ev.Move > event.MoveUpdate {
					id.Move = ev.Move
				}
				if ev.ID != id.ID() || ids[ev.ID] {
					t.Errorf("%s %s has the id %s", ev.Type, move, ev.ID)
				}
				ids[ev.ID] = true
				if k := [2]uint64{ev.Key, ev.OtherKey}; keys == [2]uint64{} {
					keys = k
				} else if k != keys {
					t.Errorf("%s %s has the keys %v, others %v", ev.Type, move, k, keys)
				}
			}, changetest.Change{Op: change.Update, Table: sheets(), Before: tc.before, After: tc.after})
			want := strings.Split(strings.ReplaceAll(strings.TrimSpace(tc.want), "\t", ""), "\n")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A move that changes the order key, too, holds both keys on each side.
func TestMoveHoldsTheKeysOfTheUpdate(t *testing.T) {
	t.Parallel()
	set := compile(t, "types:\n  t:\n    table: app.*\n    data: [row_id]\n    tenant: \"{org_id}\"\n    key: [org_id]\n")
	n := 0
	each(t, set, func(ev *event.Event) {
		if ev.Key == 0 || ev.OtherKey == 0 || ev.Key == ev.OtherKey {
			t.Errorf("move %d has the keys %d and %d", ev.Move, ev.Key, ev.OtherKey)
		}
		n++
	}, changetest.Change{Op: change.Update, Table: sheets(), Before: changetest.Row{1, 2, "a", "", 0, "1"}, After: changetest.Row{1, 2, "b", "", 0, "1"}})
	if n != 3 {
		t.Errorf("%d events", n)
	}
}

// seen is what a viewer knows of the rows: their value by id.
type seen map[int64]string

func (s seen) take(ev *event.Event) {
	id := ev.Data[0].Value.Int()
	if ev.Op == change.Delete {
		delete(s, id)
		return
	}
	s[id] = string(ev.Data[1].Value.Bytes())
}

// Whoever folds the events of a viewer has exactly the rows that belong to it, after each change of a random history.
func TestEveryViewerSeesExactlyItsRows(t *testing.T) {
	t.Parallel()
	tbl := changetest.Table("app", "t", []string{"id"}, changetest.Column("id", change.Int, "int"), changetest.Column("value", change.Text, "text"),
		changetest.Column("org", change.Text, "text"), changetest.Column("region", change.Int, "int"))
	rapid.Check(t, func(rt *rapid.T) {
		template := rapid.SampledFrom([]string{"{org}", "{org}-{region}", "{region}"}).Draw(rt, "tenant")
		orgs := rapid.SampledFrom([][]any{{"a", "b"}, {"a", "b", nil}}).Draw(rt, "orgs")
		set, err := event.Compile([]event.Definition{{Name: "row", Table: "app.t", Data: []string{"id", "value"}, Tenant: template}})
		if err != nil {
			rt.Fatal(err)
		}
		tenantOf := func(r changetest.Row) string {
			if r[2] == nil && strings.Contains(template, "org") {
				return ""
			}
			return strings.NewReplacer("{org}", fmt.Sprint(r[2]), "{region}", fmt.Sprint(r[3])).Replace(template)
		}
		rows := map[int64]changetest.Row{}
		viewers := map[string]seen{"": {}}
		orphans := false
		for range rapid.IntRange(1, 12).Draw(rt, "changes") {
			c := nextChange(rt, tbl, rows, orgs)
			for _, r := range []changetest.Row{c.Before, c.After} {
				if r != nil {
					tenant := tenantOf(r)
					orphans = orphans || tenant == ""
					if viewers[tenant] == nil {
						viewers[tenant] = seen{}
					}
				}
			}
			each(t, set, func(ev *event.Event) {
				if ev.Err != nil {
					return // parked
				}
				for tenant, v := range viewers {
					all := tenant == ""
					if ev.Move == event.MoveNone && (all || tenant == ev.Tenant) || ev.Move == event.MoveUpdate && all || ev.Move > event.MoveUpdate && tenant == ev.Tenant {
						v.take(ev)
					}
				}
			}, c)
			for tenant, got := range viewers {
				want := seen{}
				for id, r := range rows {
					if tenant == "" || tenantOf(r) == tenant {
						want[id] = r[1].(string)
					}
				}
				if tenant == "" && orphans {
					continue // rows of nobody are parked for those who see all
				}
				if !maps.Equal(want, got) {
					rt.Fatalf("tenant %q sees %v, its rows are %v", tenant, got, want)
				}
			}
		}
	})
}

// nextChange draws a change that fits the rows, and applies it.
func nextChange(rt *rapid.T, tbl *change.Table, rows map[int64]changetest.Row, orgs []any) changetest.Change {
	id := rapid.Int64Range(1, 3).Draw(rt, "id")
	after := changetest.Row{id, rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "value"), rapid.SampledFrom(orgs).Draw(rt, "org"), rapid.IntRange(1, 2).Draw(rt, "region")}
	before, there := rows[id]
	switch {
	case !there:
		rows[id] = after
		return changetest.Change{Op: change.Insert, Table: tbl, After: after}
	case rapid.IntRange(0, 3).Draw(rt, "delete") == 0:
		delete(rows, id)
		return changetest.Change{Op: change.Delete, Table: tbl, Before: before}
	default:
		rows[id] = after
		return changetest.Change{Op: change.Update, Table: tbl, Before: before, After: after}
	}
}
