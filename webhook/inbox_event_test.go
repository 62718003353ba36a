package webhook_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/change/changetest"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/internal/translate"
	"github.com/rowhook/rowhook/webhook"
)

// What Rowhook writes ParseEvent reads.
func TestParseEvent(t *testing.T) {
	t.Parallel()
	column := changetest.Column("note", change.Text, "varchar(20)")
	table := changetest.Table("app", "orders", nil, column)
	changes := changetest.Changes(t, "shop", 1, changetest.Tx{Changes: []changetest.Change{{Op: change.Insert, Table: table, After: changetest.Row{"hä"}}}})
	value, err := changes[0].After.Value(0)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	body, err := translate.AppendJSON(nil, &event.Event{
		ID: "evt_1", Type: "order.paid", Subject: "orders/1", Tenant: "acme", Time: at.UnixMicro(), Seq: math.MaxUint64, Op: change.Update,
		Source: event.Origin{Name: "shop", GTID: "0-1-42", File: "binlog.000003", Offset: 4711},
		Table:  table, Data: []event.Field{{Column: &table.Columns[0], Value: value}}, Changed: []string{"note"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := webhook.ParseEvent(webhook.Message{ID: "evt_1", Body: body})
	if err != nil {
		t.Fatal(err)
	}
	for i := range body {
		body[i] = 'x' // the event keeps nothing of it
	}
	want := webhook.Event{
		ID: "evt_1", Type: "order.paid", Subject: "orders/1", Tenant: "acme", Time: at, Seq: math.MaxUint64, Op: "update",
		Source: "shop", Data: json.RawMessage(`{"note":"hä"}`), Changed: []string{"note"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseEventRefuses(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"nothing":       ``,
		"no object":     `["evt_1"]`,
		"null":          `null`,
		"cut off":       `{"id":"evt_1","type":"a"`,
		"two":           `{"id":"evt_1","type":"a"}{}`,
		"another id":    `{"id":"evt_2","type":"a"}`,
		"no id":         `{"type":"a"}`,
		"no type":       `{"id":"evt_1"}`,
		"seq a text":    `{"id":"evt_1","type":"a","seq":"7"}`,
		"seq below 0":   `{"id":"evt_1","type":"a","seq":-1}`,
		"seq too large": `{"id":"evt_1","type":"a","seq":18446744073709551616}`,
		"seq a float":   `{"id":"evt_1","type":"a","seq":1.5}`,
		"time":          `{"id":"evt_1","type":"a","time":"yesterday"}`,
		"source":        `{"id":"evt_1","type":"a","source":"shop"}`,
		"deep":          `{"id":"evt_1","type":"a","data":` + strings.Repeat("[", 20000),
	} {
		if ev, err := webhook.ParseEvent(webhook.Message{ID: "evt_1", Body: []byte(body)}); !errors.Is(err, webhook.ErrInvalidEvent) {
			t.Errorf("%s: %+v, %v; want ErrInvalidEvent", name, ev, err)
		}
	}
	if _, err := webhook.ParseEvent(webhook.Message{Body: []byte(`{"type":"a"}`)}); !errors.Is(err, webhook.ErrInvalidEvent) {
		t.Errorf("no message: %v; want ErrInvalidEvent", err)
	}
	if _, err := webhook.ParseEvent(webhook.Message{ID: "evt_1", Body: []byte(`{"id":"evt_1","type":"a","later":[{}]}`)}); err != nil {
		t.Errorf("a member of a later release: %v", err)
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add("evt_1", []byte(`{"id":"evt_1","type":"a","time":"2026-01-02T03:04:05.678901Z","seq":7,"op":"update","source":{"name":"shop"},"data":{"a":1},"changed":["a"]}`))
	f.Add("", []byte(`{"type":"a"}`))
	f.Fuzz(func(t *testing.T, id string, body []byte) {
		ev, err := webhook.ParseEvent(webhook.Message{ID: id, Body: body})
		switch {
		case err != nil && !errors.Is(err, webhook.ErrInvalidEvent):
			t.Errorf("%v does not wrap ErrInvalidEvent", err)
		case err == nil && (ev.ID != id || id == "" || ev.Type == "" || ev.Data != nil && !json.Valid(ev.Data)):
			t.Errorf("%+v was taken for an event of message %q", ev, id)
		}
	})
}
