package event_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/change/changetest"
	"github.com/rowhook/rowhook/internal/event"
)

func definitions(name string) *rapid.Generator[event.Definition] {
	columns := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"sheet_id", "row_id", "org_id", "value", "archived", "price", "nope"}), 1, 4, rapid.ID[string])
	return rapid.Custom(func(t *rapid.T) event.Definition {
		d := event.Definition{
			Name: name, Table: rapid.SampledFrom([]string{"app.sheet_rows", "app.*", "*.*", "app.other"}).Draw(t, "table"),
			Data: columns.Draw(t, "data"), On: []change.Op{change.Insert, change.Update, change.Delete}[:rapid.IntRange(1, 3).Draw(t, "on")],
			When:    rapid.SampledFrom([]string{"", "after.archived == 0", "before.value != after.value", "1 / after.archived == 1", "after.value", "has(after.nope)", "after.nope == 1"}).Draw(t, "when"),
			Subject: rapid.SampledFrom([]string{"", "s/{sheet_id}", "{org_id}", "{nope}"}).Draw(t, "subject"),
			Tenant:  rapid.SampledFrom([]string{"", "{org_id}", "{value}"}).Draw(t, "tenant"),
		}
		if rapid.Bool().Draw(t, "keyed") {
			d.Key = columns.Draw(t, "key")
		}
		if len(d.On) > 1 && rapid.Bool().Draw(t, "filtered") {
			d.Columns = columns.Draw(t, "columns")
		}
		return d
	})
}

func changesOf(t *rapid.T, tbl *change.Table) []changetest.Change {
	row := func(name string) changetest.Row {
		text := rapid.SampledFrom([]any{nil, "", "a", "b", changetest.Absent})
		return changetest.Row{
			rapid.IntRange(0, 2).Draw(t, name), rapid.IntRange(0, 2).Draw(t, name), text.Draw(t, name), text.Draw(t, name),
			rapid.SampledFrom([]any{0, 1, nil}).Draw(t, name), rapid.SampledFrom([]any{"1.00", nil}).Draw(t, name),
		}
	}
	var out []changetest.Change
	for range rapid.IntRange(1, 5).Draw(t, "changes") {
		op := rapid.SampledFrom([]change.Op{change.Insert, change.Update, change.Delete, change.Snapshot}).Draw(t, "op")
		out = append(out, changetest.Change{Op: op, Table: tbl, Before: row("before"), After: row("after")})
	}
	return out
}

// full is all that an event says.
type full struct {
	Result        result
	ID            string
	Key, OtherKey uint64
	Seq           uint64
	Err           string
}

func TestTypesNeverChangeEachOther(t *testing.T) {
	t.Parallel()
	tbl := sheets()
	rapid.Check(t, func(rt *rapid.T) {
		names := []string{"a", "m.b", "z"}
		var defs []event.Definition
		for _, n := range names {
			defs = append(defs, definitions(n).Draw(rt, n))
		}
		changes := changesOf(rt, tbl)
		events := func(defs ...event.Definition) map[string][]full {
			set, err := event.Compile(defs)
			if err != nil {
				rt.Fatal(err)
			}
			out := map[string][]full{}
			each(t, set, func(ev *event.Event) {
				f := full{Result: toResult(ev), ID: ev.ID, Key: ev.Key, OtherKey: ev.OtherKey, Seq: ev.Seq}
				if ev.Err != nil {
					f.Err = ev.Err.Error()
				}
				out[ev.Type] = append(out[ev.Type], f)
			}, changes...)
			return out
		}
		together := events(defs...)
		for i, n := range names {
			if diff := cmp.Diff(events(defs[i])[n], together[n]); diff != "" {
				rt.Fatalf("%s alone and among others differ:\n%s", n, diff)
			}
		}
	})
}
