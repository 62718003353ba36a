package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrInvalidEvent is wrapped by the errors of ParseEvent.
var ErrInvalidEvent = errors.New("invalid webhook event")

// Event is what a delivery of Rowhook says.
type Event struct {
	// ID of the event, the same in every delivery.
	ID string
	// Type of the event, such as "order.paid".
	Type string
	// Subject and Tenant are empty if the type has none.
	Subject, Tenant string
	// Time of the commit, UTC.
	Time time.Time
	// Seq is the number of the change within the source; it only grows. Zero means that the event is not about a change.
	Seq uint64
	// Op is what happened to the row, such as "insert", "update" or "delete".
	Op string
	// Source is the name of the source.
	Source string
	// Data are the columns, a JSON object, for the caller to decode.
	Data json.RawMessage
	// Changed names the columns that an update changed.
	Changed []string
}

// ParseEvent reads the body of a message that was verified. It takes nothing
// from the headers that are not signed, such as Rowhook-Seq. Members that it
// does not know are left alone. The error wraps ErrInvalidEvent: the body is no
// JSON object, has no type, or an id other than the message's. The Event keeps
// nothing of the message's body.
func ParseEvent(msg Message) (Event, error) {
	var body struct {
		ID      string    `json:"id"`
		Type    string    `json:"type"`
		Subject string    `json:"subject"`
		Tenant  string    `json:"tenant"`
		Time    time.Time `json:"time"`
		Seq     uint64    `json:"seq"`
		Op      string    `json:"op"`
		Source  struct {
			Name string `json:"name"`
		} `json:"source"`
		Data    json.RawMessage `json:"data"`
		Changed []string        `json:"changed"`
	}
	if err := json.Unmarshal(msg.Body, &body); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrInvalidEvent, err)
	}
	if body.ID != msg.ID {
		return Event{}, fmt.Errorf("%w: the body has the id %.80q, the message %.80q", ErrInvalidEvent, body.ID, msg.ID)
	}
	if body.ID == "" || body.Type == "" {
		return Event{}, fmt.Errorf("%w: it has no id or no type", ErrInvalidEvent)
	}
	return Event{
		ID: body.ID, Type: body.Type, Subject: body.Subject, Tenant: body.Tenant, Time: body.Time.UTC(), Seq: body.Seq,
		Op: body.Op, Source: body.Source.Name, Data: body.Data, Changed: body.Changed,
	}, nil
}
