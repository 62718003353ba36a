package translate_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/internal/translate"
)

func TestSchemaChangeAsJSON(t *testing.T) {
	t.Parallel()
	b := change.NewBuilder("app", 1)
	b.BeginSegment(&change.Transaction{GTID: "0-1-7", CommitTime: 1_769_866_620_000_000, File: "binlog.000003", Offset: 194, ServerID: 1}, 0, nil, true)
	table := change.NewSchemaChangesTable()
	b.BeginChange(change.Insert, table)
	p, err := change.AppendSchemaChange(b.BeginRow(false), []change.SchemaChange{
		{Schema: "shop", Table: "orders", Kind: change.SchemaRename},
		{Schema: "shop", Table: "<old> \"orders\"", Kind: change.SchemaRename},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.EndRow(p, false, nil)
	b.EndChange()
	b.EndSegment(true)
	raw, err := b.Finish(5, change.Position{})
	if err != nil {
		t.Fatal(err)
	}
	blk, err := change.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	// A type of a file sees the same change, if it names the table; one with a wildcard does not.
	set, err := event.Compile([]event.Definition{
		{Name: "any.row", Table: "*.*", Data: []string{"kind"}},
		{Name: "dropped", Table: "rowhook.schema_changes", When: `after.kind == "rename"`, Data: []string{"table"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	err = blk.Each(func(c *change.Change) error {
		return set.NewMatcher().Each("app", 1, c, func(ev *event.Event) error {
			body, err := translate.AppendJSON(nil, ev)
			got = append(got, string(body))
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	const source = `"time":"2026-01-31T13:37:00.000000Z","seq":5,"op":"insert","source":{"name":"app","server":1,"gtid":"0-1-7","file":"binlog.000003","pos":194,"transaction":"0-1-7","ordinal":0}`
	want := []string{
		`{"id":"` + identity("dropped") + `","type":"dropped",` + source + `,"data":{"table":"orders"}}`,
		`{"id":"` + identity(event.SchemaChangedType) + `","type":"rowhook.schema.changed","subject":"shop.orders",` + source +
			`,"data":{"kind":"rename","schema":"shop","table":"orders","tables":[{"schema":"shop","table":"orders","kind":"rename"},{"schema":"shop","table":"<old> \"orders\"","kind":"rename"}]}}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func identity(typ string) string {
	return event.Identity{Source: "app", Generation: 1, GTID: "0-1-7", CommitTime: 1_769_866_620_000_000, Schema: "rowhook", Table: "schema_changes", Type: typ}.ID()
}
