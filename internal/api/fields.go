package api

import "github.com/danielgtaylor/huma/v2"

// The types below are texts with bounds. What their schemas say stands in the OpenAPI document and is what is enforced.
type (
	endpointID      string
	subscriptionID  string
	eventID         string
	typeName        string
	typeGlob        string
	sourceName      string
	keyID           string
	tenantName      string
	subjectPattern  string
	description     string
	label           string
	gtidText        string
	binlogAt        string
	endpointURL     string
	attemptTimeout  string
	rotationOverlap string
	signingSecret   string
	cursorText      string
	idempotencyKey  string
	entityTag       string
	entityTags      string
	tailFrom        string
)

// maxSeq is the largest seq in a request: what every JSON parser reads exactly.
const maxSeq = 1<<53 - 1

const (
	// U+FFFD stands literally, as Go and JSON Schema write its escape differently.
	plainText = "^[^\\x00-\\x1F\\x7F\uFFFD]*$"
	proseText = "^[^\\x00-\\x08\\x0B-\\x1F\\x7F\uFFFD]*$"
	rfc3339   = `[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])`
	sourceRun = `[a-z0-9_-]{1,32}`
)

// text is the schema of a string.
func text(least, most int, pattern, what string) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, MinLength: &least, MaxLength: &most, Pattern: pattern, PatternDescription: what}
}

// example is a value that stands for itself in the document.
func example(s *huma.Schema, value string) *huma.Schema {
	s.Examples = []any{value}
	return s
}

// Schema is what huma asks of a type; so are those below.
func (endpointID) Schema(huma.Registry) *huma.Schema {
	return example(text(1, 64, `^[A-Za-z0-9_.-]+$`, "the id of an endpoint: letters, digits, _ . -"), "orders")
}

// Schema of an id: endpoint/name for those that are declared.
func (subscriptionID) Schema(huma.Registry) *huma.Schema {
	return example(text(1, 129, `^[A-Za-z0-9_.-]{1,64}(/[A-Za-z0-9_.-]{1,64})?$`, "the id of a subscription: sub_… or endpoint/name, with %2F for the / in a path"), "orders/all")
}

// Schema of an event's id.
func (eventID) Schema(huma.Registry) *huma.Schema {
	return example(text(5, 68, `^evt_[A-Za-z0-9_-]+$`, "the id of an event: evt_ and letters and digits"), "evt_00000000000000000000000000000000")
}

// Schema of a type's name.
func (typeName) Schema(huma.Registry) *huma.Schema {
	return example(text(1, 128, `^[a-z0-9_]+(\.[a-z0-9_]+)*$`, "the name of an event type, such as order.created"), "order.created")
}

// Schema of a pattern over the names of types.
func (typeGlob) Schema(huma.Registry) *huma.Schema {
	return example(text(1, 128, `^[A-Za-z0-9_.*-]+$`, "the name of an event type, or a pattern such as order.*"), "order.*")
}

// Schema of a source's name.
func (sourceName) Schema(huma.Registry) *huma.Schema {
	return example(text(1, 32, `^[a-z0-9_-]+$`, "the name of a source: small letters, digits, _ -"), "shop")
}

// Schema of a GTID, of either family.
func (gtidText) Schema(huma.Registry) *huma.Schema {
	return example(text(5, 100, `^[A-Za-z0-9_:-]+$`, "the GTID of one transaction, such as 0-1-7"), "0-1-7")
}

// Schema of a place in the binlog.
func (binlogAt) Schema(huma.Registry) *huma.Schema {
	return example(text(3, 300, `^[!-~]+:[0-9]{1,20}$`, "file:offset, such as binlog.000007:1234"), "binlog.000007:1234")
}

// Schema of a key's id.
func (keyID) Schema(huma.Registry) *huma.Schema {
	return text(1, 64, `^[A-Za-z0-9_.-]+$`, "the id of a key")
}

// Schema of a tenant.
func (tenantName) Schema(huma.Registry) *huma.Schema {
	return example(text(1, 128, plainText, "text without control characters"), "acme")
}

// Schema of a pattern over subjects; the empty one is any.
func (subjectPattern) Schema(huma.Registry) *huma.Schema {
	return example(text(0, 512, plainText, "text without control characters"), "orders/42")
}

// Schema of a description.
func (description) Schema(huma.Registry) *huma.Schema {
	return text(0, 500, proseText, "text without control characters")
}

// Schema of a short text.
func (label) Schema(huma.Registry) *huma.Schema {
	return text(1, 200, plainText, "text without control characters")
}

// Schema of a URL; the egress guard looks at it closer.
func (endpointURL) Schema(huma.Registry) *huma.Schema {
	s := text(8, 2048, `^[Hh][Tt][Tt][Pp][Ss]?://[!-~]+$`, "a URL such as https://hooks.example.com/rowhook, without spaces")
	s.Format = "uri"
	return example(s, "https://hooks.example.com/rowhook")
}

// Schema of the time of an attempt, from 100ms to 2m.
func (attemptTimeout) Schema(huma.Registry) *huma.Schema {
	return text(2, 9, `^(([1-9][0-9]{2,4}|1[01][0-9]{4}|120000)ms|(0\.[1-9][0-9]{0,2}|([1-9][0-9]?|1[01][0-9])(\.[0-9]{1,3})?|120)s|1m(([0-9]|[1-5][0-9])(\.[0-9]{1,3})?s)?|2m(0s)?)$`,
		"a duration from 100ms to 2m, such as 20s")
}

// Schema of the time that an old secret still signs, from nothing to a week.
func (rotationOverlap) Schema(huma.Registry) *huma.Schema {
	s := text(2, 7, `^(([0-9]{1,5}|[1-5][0-9]{5}|60[0-3][0-9]{3}|604[0-7][0-9]{2}|604800)s|([0-9]{1,4}|100[0-7][0-9]|10080)m|([0-9]{1,2}|1[0-5][0-9]|16[0-8])h)$`,
		"a duration from 0s to 168h in whole seconds, minutes or hours, such as 24h")
	s.Default = defaultOverlap
	return s
}

// Schema of a secret; webhook.ParseSecret looks at it closer.
func (signingSecret) Schema(huma.Registry) *huma.Schema {
	s := text(38, 96, `^(whsec_|whsk_)[A-Za-z0-9+/]+={0,2}$`, "a secret: whsec_ and the base64 of 24 to 64 bytes; make one with: echo whsec_$(openssl rand -base64 32)")
	s.Format, s.WriteOnly = "password", true
	return s
}

// Schema of a cursor.
func (cursorText) Schema(huma.Registry) *huma.Schema {
	return text(1, 1024, `^[A-Za-z0-9_-]+$`, "a cursor: leave it out for the first page, or take next_cursor of the page before")
}

// Schema of an Idempotency-Key.
func (idempotencyKey) Schema(huma.Registry) *huma.Schema {
	return text(1, 255, `^[!-~]+$`, "a text of visible ASCII characters")
}

// Schema of an entity tag in If-Match.
func (entityTag) Schema(huma.Registry) *huma.Schema {
	return text(1, 68, `^(\*|(W/)?"[!#-~]{0,64}")$`, `one entity tag in quotes, such as "3", or *`)
}

// Schema of entity tags in If-None-Match.
func (entityTags) Schema(huma.Registry) *huma.Schema {
	return text(1, 512, `^(\*|(W/)?"[!#-~]{0,64}"( *, *(W/)?"[!#-~]{0,64}")*)$`, `entity tags in quotes, such as "3", or *`)
}

// Schema of where a tail begins.
func (tailFrom) Schema(huma.Registry) *huma.Schema {
	return text(1, 512, `^(now|earliest|`+rfc3339+`|`+sourceRun+`:[0-9]{1,15}(,`+sourceRun+`:[0-9]{1,15})*)$`,
		"now, earliest, a time such as 2026-01-02T15:04:05Z, or source:seq[,source:seq]")
}
