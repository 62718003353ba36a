package api

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

const (
	fromNow      = "now"
	fromEarliest = "earliest"
	maxSources   = 32
)

// fromBody is where a subscription begins, in any of its forms.
type fromBody struct{ From }

// Schema of a beginning: text or an object.
func (fromBody) Schema(huma.Registry) *huma.Schema {
	one, many, least, most := 1, maxSources, 0.0, float64(maxSeq)
	word := &huma.Schema{Type: huma.TypeString, Enum: []any{fromNow, fromEarliest}}
	moment := &huma.Schema{Type: huma.TypeString, Format: "date-time"}
	seqs := &huma.Schema{
		Type: huma.TypeObject, MinProperties: &one, MaxProperties: &many,
		AdditionalProperties: &huma.Schema{Type: huma.TypeInteger, Format: "int64", Minimum: &least, Maximum: &most},
		Extensions:           map[string]any{"propertyNames": sourceName("").Schema(nil)},
		Description:          "the seq after which it begins, by source",
	}
	return &huma.Schema{AnyOf: []*huma.Schema{word, moment, seqs}, Description: `"now", "earliest", a time such as "2026-01-02T15:04:05Z", or {"source": seq}`}
}

// UnmarshalJSON reads what the schema lets through.
func (f *fromBody) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		return json.Unmarshal(b, &f.Seqs)
	}
	var word string
	if err := json.Unmarshal(b, &word); err != nil {
		return err
	}
	return f.word(word)
}

// MarshalJSON writes the form that it is.
func (f fromBody) MarshalJSON() ([]byte, error) {
	switch {
	case len(f.Seqs) > 0:
		return json.Marshal(f.Seqs)
	case f.Time != nil:
		return json.Marshal(f.Time.UTC().Format(time.RFC3339Nano))
	case f.Earliest:
		return json.Marshal(fromEarliest)
	default:
		return json.Marshal(fromNow)
	}
}

func (f *fromBody) word(word string) error {
	switch word {
	case fromNow:
		return nil
	case fromEarliest:
		f.Earliest = true
		return nil
	}
	at, err := time.Parse(time.RFC3339, word)
	if err != nil {
		return fmt.Errorf("is not a day of the calendar: %w", err)
	}
	at = at.UTC()
	f.Time = &at
	return nil
}

// ParseFrom reads where a tail or a subscription begins: now, earliest, a time as RFC 3339 writes it, or source:seq[,source:seq].
// The empty text is now.
func ParseFrom(text string) (From, error) {
	var f fromBody
	if text == "" {
		return f.From, nil
	}
	if err := f.word(text); err == nil {
		return f.From, nil
	}
	seqs := map[string]uint64{}
	for pair := range strings.SplitSeq(text, ",") {
		source, digits, _ := strings.Cut(pair, ":")
		seq, err := strconv.ParseUint(digits, 10, 64)
		_, twice := seqs[source]
		if err != nil || seq > maxSeq || source == "" || twice {
			return From{}, fmt.Errorf("%.100q is not now, earliest, a time such as 2026-01-02T15:04:05Z, or source:seq[,source:seq]", text)
		}
		seqs[source] = seq
	}
	return From{Seqs: seqs}, nil
}

// String is what ParseFrom reads.
func (f From) String() string {
	switch {
	case len(f.Seqs) > 0:
		var all []string
		for source, seq := range f.Seqs {
			all = append(all, source+":"+strconv.FormatUint(seq, 10))
		}
		return strings.Join(all, ",")
	case f.Time != nil:
		return f.Time.UTC().Format(time.RFC3339Nano)
	case f.Earliest:
		return fromEarliest
	default:
		return fromNow
	}
}
