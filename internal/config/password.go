package config

import "log/slog"

const redacted = "[redacted]"

// Password is a text that prints and logs as "[redacted]", with any verb. The
// zero Password is empty.
type Password struct {
	// A pointer to a pointer, since fmt follows one pointer when it prints an
	// unexported field, for which it asks no method.
	text **string
}

// NewPassword returns the Password of a text.
func NewPassword(text string) Password {
	inner := &text
	return Password{&inner}
}

// Reveal returns the text.
func (p Password) Reveal() string {
	if p.text == nil {
		return ""
	}
	return **p.text
}

// String returns "[redacted]".
func (Password) String() string { return redacted }

// GoString returns "[redacted]".
func (Password) GoString() string { return redacted }

// LogValue returns "[redacted]".
func (Password) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]", so that no encoder writes the text.
func (Password) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Equal reports whether both are the same text.
func (p Password) Equal(q Password) bool { return p.Reveal() == q.Reveal() }
