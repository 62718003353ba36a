package event

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/rowhook/rowhook/internal/change"
)

// mask is how a column leaves in place of its value. NULL stays NULL, so that a receiver can tell it.
type mask uint8

const (
	maskNone mask = iota
	// maskSHA256 is the SHA-256, in hex, of the value's text ([change.Value.AppendText]).
	maskSHA256
	// maskRedact is a constant.
	maskRedact
	// maskNull is NULL.
	maskNull
	// maskLast4 is the last four characters of the value's text, with a star for each character before them.
	maskLast4
)

// maskedKind is the type that receivers are told of a masked column: whatever it was, it is text now.
const maskedKind = "text"

func maskNames() []string { return []string{"sha256", "redact", "null", "last4"} }

func maskByName(s string) mask { return mask(slices.Index(maskNames(), s) + 1) }

// masks checks what the type masks. A masked column cannot be part of the subject or the tenant, which leave as they are. It may be
// part of the order key: that is a hash which never leaves, and a primary key that is masked needs its order, too.
func (c *compiler) masks() map[string]mask {
	out := map[string]mask{}
	for _, column := range slices.Sorted(maps.Keys(c.def.Mask)) {
		at, name := c.def.origin.masks[column], c.def.Mask[column]
		m := maskByName(name)
		if m == maskNone {
			c.report(at.value, "mask: unknown mask %q for %s%s", name, column, didYouMean(name, maskNames()))
		}
		out[column] = m
		if !slices.Contains(c.def.Data, column) && !c.broken(fieldData) {
			c.report(at.column, "mask: %s is not in data, it does not leave at all%s", column, didYouMean(column, c.def.Data))
		}
		c.maskedTemplate(at.column, column, fieldSubject, c.def.Subject)
		c.maskedTemplate(at.column, column, fieldTenant, c.def.Tenant)
	}
	return out
}

func (c *compiler) maskedTemplate(at place, column, field, text string) {
	t, err := parseTemplate(text)
	if err == nil && slices.Contains(t.columns(), column) {
		c.report(at, "mask: %s leaves unmasked in %s: %s; take it out of one of them", column, field, text)
	}
}

// maskedField is a field of data that is masked; without a column it is not.
type maskedField struct {
	mask   mask
	column *change.Column
}

// bindMasks returns a maskedField for each column of data, nil if none is masked.
func (p *plan) bindMasks(typ *eventType, data []int) []maskedField {
	if len(typ.masks) == 0 || len(data) == 0 {
		return nil
	}
	out := make([]maskedField, len(data))
	for n, i := range data {
		c := p.table.Columns[i]
		if m := typ.masks[c.Name]; m != maskNone {
			c.Kind, c.Type = change.Text, maskedKind
			out[n] = maskedField{m, &c}
		}
	}
	return out
}

// masked returns the field as it leaves. What it appends lives in a buffer that the next event reuses.
func (m *Matcher) masked(f maskedField, v change.Value) Field {
	out := Field{f.column, change.Value{State: v.State, Kind: change.Text}}
	if v.State != change.Set {
		return out
	}
	start := len(m.mask)
	switch f.mask {
	case maskRedact:
		m.mask = append(m.mask, "***"...)
	case maskSHA256:
		m.scratch = v.AppendText(m.scratch[:0])
		sum := sha256.Sum256(m.scratch)
		m.mask = hex.AppendEncode(m.mask, sum[:])
	case maskLast4:
		m.scratch = v.AppendText(m.scratch[:0])
		m.mask = appendLast4(m.mask, m.scratch)
	case maskNull:
		out.Value = change.TextValue(nil)
		return out
	}
	out.Value = change.TextValue(m.mask[start:len(m.mask):len(m.mask)])
	return out
}

func appendLast4(p, text []byte) []byte {
	const shown = 4
	n, end := utf8.RuneCount(text), len(text)
	if n > shown {
		for range shown {
			_, size := utf8.DecodeLastRune(text[:end])
			end -= size
		}
		n -= shown
	}
	p = slices.Grow(p, n+len(text)-end)
	for range n {
		p = append(p, '*')
	}
	return append(p, text[end:]...)
}
