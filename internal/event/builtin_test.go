package event_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rowhook/rowhook/internal/event"
)

func TestOwnTypesAreNamedExactly(t *testing.T) {
	t.Parallel()
	for pattern, names := range map[string][2]bool{ // rowhook.schema.changed, order.changed
		"*":                      {false, true},
		"*.changed":              {false, true},
		"rowhook.*":              {false, false},
		"rowhook.schema.change*": {false, false},
		"rowhook.schema.changed": {true, false},
		"order.*":                {false, true},
	} {
		if got := [2]bool{event.MatchType(pattern, event.SchemaChangedType), event.MatchType(pattern, "order.changed")}; got != names {
			t.Errorf("%s matches %v, want %v", pattern, got, names)
		}
	}
}

func TestEverySetTellsSchemaChanges(t *testing.T) {
	t.Parallel()
	set, err := event.Compile(nil)
	if err != nil {
		t.Fatal(err)
	}
	def, ok := set.Definition(event.SchemaChangedType)
	if !ok || !slices.Contains(set.Names(), event.SchemaChangedType) {
		t.Fatalf("types: %q", set.Names())
	}
	if def.Tenant != "" {
		t.Error("a tenant would get changes of tables that it shares with others")
	}
	ev, err := event.Example(def, nil, 1)
	if err != nil || ev.Type != event.SchemaChangedType || !ev.Test {
		t.Errorf("example: %+v, %v", ev, err)
	}
	if _, err := event.Compile([]event.Definition{def}); err == nil || !strings.Contains(err.Error(), "Rowhook's own") {
		t.Errorf("a file may define %s: %v", def.Name, err)
	}
}
