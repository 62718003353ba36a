package deliver

import (
	"strings"
	"testing"

	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/internal/translate"
)

func TestRouteMatches(t *testing.T) {
	t.Parallel()
	failed := &event.Error{Code: event.CodeTemplate, Message: "column org_id is NULL"}
	for name, tc := range map[string]struct {
		tenant, subject string
		ev              event.Event
		want            bool
	}{
		"everything":                 {"", "", event.Event{Subject: "sheets/42"}, true},
		"star crosses a slash":       {"", "*", event.Event{Subject: "sheets/42"}, true},
		"subject":                    {"", "sheets/4*", event.Event{Subject: "sheets/42"}, true},
		"another subject":            {"", "sheets/4", event.Event{Subject: "sheets/42"}, false},
		"its tenant":                 {"acme", "", event.Event{Tenant: "acme"}, true},
		"another tenant":             {"acme", "", event.Event{Tenant: "beta"}, false},
		"no tenant":                  {"acme", "", event.Event{}, false},
		"moved, for all to see":      {"", "", event.Event{Move: event.MoveUpdate, Tenant: "acme"}, true},
		"moved to it, as an update":  {"acme", "", event.Event{Move: event.MoveUpdate, Tenant: "acme"}, false},
		"moved away, for all to see": {"", "", event.Event{Move: event.MoveOut, Tenant: "acme"}, false},
		"moved away from it":         {"acme", "", event.Event{Move: event.MoveOut, Tenant: "acme"}, true},
		"moved away, and failed":     {"beta", "", event.Event{Move: event.MoveOut, Tenant: "acme", Err: failed}, false},
		"moved to it":                {"acme", "", event.Event{Move: event.MoveIn, Tenant: "acme"}, true},
		"moved to another":           {"acme", "", event.Event{Move: event.MoveIn, Tenant: "beta"}, false},
		"failed, so tenant unknown":  {"acme", "", event.Event{Err: failed}, true},
		"failed, so subject unknown": {"", "sheets/*", event.Event{Err: failed}, true},
	} {
		rt := route{lane: &lane{sender: &sender{tenant: tc.tenant}}, r: &Range{Subject: tc.subject}}
		if got := rt.lane.concerns(&tc.ev) && rt.r.about(&tc.ev); got != tc.want {
			t.Errorf("%s: matches = %t", name, got)
		}
	}
}

func TestPoisonReasonNamesItsCode(t *testing.T) {
	t.Parallel()
	if got := poisonReason(&event.Error{Code: event.CodeTemplate, Message: "column org_id is NULL"}); got != "template: column org_id is NULL" {
		t.Errorf("reason = %q", got)
	}
	if got := poisonReason(translate.ErrNotExact); !strings.HasPrefix(got, "not_exact: ") {
		t.Errorf("reason = %q", got)
	}
}
