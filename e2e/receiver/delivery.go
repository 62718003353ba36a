package receiver

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Delivery is one verified request.
type Delivery struct {
	// Path is the URL's path: one receiver plays many endpoints.
	Path string
	// ID is the webhook-id header; the body's own id is the same, or the request was refused.
	ID      string
	Type    string
	Op      string
	Subject string
	Seq     uint64
	// Key is the text of the Options.Key fields of data, joined by slashes; without such fields it is the subject.
	Key string
	// Version is the Options.Version field of data; 0 without one.
	Version int64
	// Attempt is the rowhook-attempt header, from 1; 0 if it is missing.
	Attempt int
	// Nth says how often this id has come to this path, this time included.
	Nth int
	// At is when the whole request was there.
	At time.Time
	// Order is the place of the arrival on the clock that counts arrivals and answers, from 1.
	Order uint64
	// Done is the place of the answer on the same clock; 0 while there is none.
	Done uint64
	// Status is what was answered, or is about to be; 0 if nothing ever will.
	Status int
	// Digest is the first half of the SHA-256 of the body.
	Digest [16]byte
	// Body is what was signed. It is there in Options.OnDelivery only, and for its duration; records do not keep it.
	Body []byte
}

// Accepted reports whether the answer was 2xx and given.
func (d *Delivery) Accepted() bool { return d.Done > 0 && d.Status/100 == 2 }

// envelope is the part of a body that the receiver looks at.
type envelope struct {
	ID      string          `json:"id"`
	Type    string          `json:"type"`
	Subject string          `json:"subject"`
	Op      string          `json:"op"`
	Seq     json.RawMessage `json:"seq"`
	Data    json.RawMessage `json:"data"`
}

// parse reads a delivery from its headers and body.
func (r *Receiver) parse(path, id string, header http.Header, body []byte) (Delivery, error) {
	d := Delivery{Path: strings.Clone(path), ID: strings.Clone(id), Body: body}
	sum := sha256.Sum256(body)
	copy(d.Digest[:], sum[:])
	if text := header.Get("Rowhook-Attempt"); text != "" {
		attempt, err := strconv.Atoi(text)
		if err != nil || attempt < 1 {
			return d, fmt.Errorf("header rowhook-attempt is %q, want a number from 1", text)
		}
		d.Attempt = attempt
	}
	if r.opts.Raw {
		return d, nil
	}
	return d, r.parseBody(&d, body)
}

// parseBody reads the event in a body.
func (r *Receiver) parseBody(d *Delivery, body []byte) error {
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return fmt.Errorf("reading the body: %w", err)
	}
	if e.ID != d.ID {
		return fmt.Errorf("the body's id is %q, the header's %q", e.ID, d.ID)
	}
	if e.Type == "" {
		return errors.New("the body has no type")
	}
	seq, err := strconv.ParseUint(unquote(e.Seq), 10, 64)
	if err != nil {
		return fmt.Errorf("the body's seq is %s: %w", e.Seq, err)
	}
	d.Type, d.Op, d.Subject, d.Seq, d.Key = e.Type, e.Op, e.Subject, seq, e.Subject
	return r.parseData(d, e.Data)
}

// parseData reads the key and the version, if anybody asked for them.
func (r *Receiver) parseData(d *Delivery, data json.RawMessage) error {
	if len(r.opts.Key) == 0 && r.opts.Version == "" {
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return fmt.Errorf("reading the body's data: %w", err)
	}
	var key []string
	for _, name := range r.opts.Key {
		if value, ok := fields[name]; ok {
			key = append(key, unquote(value))
		}
	}
	if len(key) > 0 {
		d.Key = strings.Join(key, "/")
	}
	if value, ok := fields[r.opts.Version]; ok {
		version, err := strconv.ParseInt(unquote(value), 10, 64)
		if err != nil {
			return fmt.Errorf("field %s is %s: %w", r.opts.Version, value, err)
		}
		d.Version = version
	}
	return nil
}

// unquote is the text of a JSON number, or of a JSON string of plain characters, as both may stand for an integer.
func unquote(raw json.RawMessage) string {
	if len(raw) < 2 || raw[0] != '"' {
		return string(raw)
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return string(raw)
	}
	return text
}
