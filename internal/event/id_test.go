package event_test

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/change/changetest"
	"github.com/rowhook/rowhook/internal/event"
)

// write makes the vectors anew; only a new version of the rule for ids may do that.
var write = flag.Bool("write-vectors", false, "write testdata/ids.json and testdata/keys.json")

func TestIDVectors(t *testing.T) {
	t.Parallel()
	const file = "testdata/ids.json"
	var vectors []struct {
		Identity event.Identity
		ID       string
	}
	readVectors(t, file, &vectors)
	for i := range vectors {
		v := &vectors[i]
		got := v.Identity.ID()
		if *write {
			v.ID = got
		}
		if got != v.ID {
			t.Errorf("%+v\nhas the id %s, the frozen one is %s", v.Identity, got, v.ID)
		}
	}
	writeVectors(t, file, vectors)
}

func readVectors(t *testing.T, file string, v any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

func writeVectors(t *testing.T, file string, v any) {
	t.Helper()
	if !*write {
		return
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func identities() *rapid.Generator[event.Identity] {
	// Short texts over few letters: parts that run together would collide.
	text := rapid.StringOfN(rapid.SampledFrom([]rune("ab.")), 0, 3, -1)
	return rapid.Custom(func(t *rapid.T) event.Identity {
		return event.Identity{
			Source: text.Draw(t, "source"), Generation: rapid.Uint64Range(0, 2).Draw(t, "generation"), GTID: text.Draw(t, "gtid"),
			File: text.Draw(t, "file"), FileCreated: rapid.Uint32Range(0, 2).Draw(t, "created"), Offset: rapid.Uint64Range(0, 2).Draw(t, "offset"),
			CommitTime: rapid.Int64Range(0, 5).Draw(t, "time") * 1000, Schema: text.Draw(t, "schema"), Table: text.Draw(t, "table"),
			TableOrdinal: rapid.Uint64Range(0, 2).Draw(t, "ordinal"), Type: text.Draw(t, "type"),
		}
	})
}

func TestIDsAreEqualIffIdentitiesAre(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := identities().Draw(t, "a"), identities().Draw(t, "b")
		for _, i := range []*event.Identity{&a, &b} {
			if i.GTID != "" {
				i.File, i.FileCreated, i.Offset = "", 0, 0
			}
		}
		if (a == b) != (a.ID() == b.ID()) {
			t.Fatalf("%+v %s\n%+v %s", a, a.ID(), b, b.ID())
		}
		if ms, ordinal, err := event.ParseID(a.ID()); err != nil || ms != a.CommitTime/1000 || uint64(ordinal) != a.TableOrdinal {
			t.Fatalf("ParseID(%s) = %d, %d, %v", a.ID(), ms, ordinal, err)
		}
	})
}

func TestIDsSortByTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.Int64Range(0, 1<<48-1)
		a, b := event.Identity{CommitTime: times.Draw(t, "a") * 1000}, event.Identity{CommitTime: times.Draw(t, "b") * 1000}
		if a.CommitTime < b.CommitTime && a.ID() >= b.ID() {
			t.Fatalf("%s is not before %s", a.ID(), b.ID())
		}
	})
}

func TestParseIDRefusesOtherText(t *testing.T) {
	t.Parallel()
	good := event.Identity{}.ID()
	for _, s := range []string{"", "evt_", good[1:], good + "0", good[:len(good)-1], strings.ToUpper(good), good[:len(good)-1] + "w", "msg_" + good[4:]} {
		if _, _, err := event.ParseID(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

// keyVector freezes an order key: source "shop", table app.t.
type keyVector struct {
	Name string
	Key  uint64 `json:",string"`
}

func TestKeyVectors(t *testing.T) {
	t.Parallel()
	const file = "testdata/keys.json"
	table := func(keys ...string) *change.Table {
		return changetest.Table("app", "t", keys, changetest.Column("i", change.Int, "int"), changetest.Column("u", change.Uint, "bigint unsigned"),
			changetest.Column("s", change.Text, "text"), changetest.Column("f", change.Double, "double"), changetest.Column("b", change.Bytes, "blob"))
	}
	row := changetest.Row{-5, uint64(1<<64 - 1), "é", 1.5, []byte{0, 255}}
	cases := map[string]changetest.Change{
		"int":            {Op: change.Insert, Table: table("i"), After: row},
		"uint":           {Op: change.Insert, Table: table("u"), After: row},
		"text":           {Op: change.Insert, Table: table("s"), After: row},
		"double":         {Op: change.Insert, Table: table("f"), After: row},
		"bytes":          {Op: change.Insert, Table: table("b"), After: row},
		"int and text":   {Op: change.Insert, Table: table("i", "s"), After: row},
		"text and int":   {Op: change.Insert, Table: table("s", "i"), After: row},
		"null":           {Op: change.Delete, Table: table("i"), Before: changetest.Row{nil, nil, nil, nil, nil}},
		"table has none": {Op: change.Insert, Table: table(), After: row},
	}
	var vectors []keyVector
	readVectors(t, file, &vectors)
	seen := map[uint64]string{}
	for i := range vectors {
		v := &vectors[i]
		got := keysOf(t, "data: [i]", cases[v.Name])[0][0]
		if *write {
			v.Key = got
		}
		if got != v.Key {
			t.Errorf("%s has the key %d, the frozen one is %d", v.Name, got, v.Key)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%s and %s have the same key", v.Name, other)
		}
		seen[got] = v.Name
	}
	if len(vectors) != len(cases) {
		t.Errorf("%d vectors, %d cases", len(vectors), len(cases))
	}
	writeVectors(t, file, vectors)
}

// keysOf returns key and other key of each event.
func keysOf(tb testing.TB, typ string, changes ...changetest.Change) (out [][2]uint64) {
	tb.Helper()
	set := compile(tb, "types:\n  t:\n    table: app.t\n    "+typ+"\n  u:\n    table: app.*\n    data: [i]\n")
	each(tb, set, func(ev *event.Event) {
		if ev.Type == "t" {
			out = append(out, [2]uint64{ev.Key, ev.OtherKey})
		}
	}, changes...)
	return out
}

func TestChangeOfTheKeyHoldsBoth(t *testing.T) {
	t.Parallel()
	tbl := changetest.Table("app", "t", []string{"i"}, changetest.Column("i", change.Int, "int"), changetest.Column("s", change.Text, "text"))
	a, b := changetest.Row{1, "x"}, changetest.Row{2, "x"}
	keys := keysOf(t, "data: [i]",
		changetest.Change{Op: change.Insert, Table: tbl, After: a}, changetest.Change{Op: change.Update, Table: tbl, Before: a, After: b},
		changetest.Change{Op: change.Delete, Table: tbl, Before: b}, changetest.Change{Op: change.Update, Table: tbl, Before: b, After: changetest.Row{2, "y"}})
	if keys[0][0] == keys[1][0] || keys[1] != [2]uint64{keys[2][0], keys[0][0]} || keys[2][1] != 0 || keys[3] != [2]uint64{keys[2][0], 0} {
		t.Errorf("got %v", keys)
	}
	byColumn := keysOf(t, "data: [s]\n    key: [s]", changetest.Change{Op: change.Update, Table: tbl, Before: a, After: b})
	if byColumn[0][1] != 0 {
		t.Errorf("the order key s did not change, got %v", byColumn)
	}
}
