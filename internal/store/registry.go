package store

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// What a change of the registry may be refused for.
var (
	// ErrVersion: the record has changed since the version that the change is for.
	ErrVersion = errors.New("the record has another version")
	// ErrNotFound: there is no such record.
	ErrNotFound = errors.New("no such record")
)

// VersionError says which version a record has.
type VersionError struct {
	Have, Wanted uint64
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%v: %d, the change is for %d", ErrVersion, e.Have, e.Wanted)
}

// Is makes errors.Is(err, ErrVersion) true.
func (e *VersionError) Is(target error) bool { return target == ErrVersion }

// text32 are the characters of ids and keys, five bits each; they keep the order of what they stand for.
const text32 = "0123456789abcdefghijklmnopqrstuv"

// RandomText returns n random characters of 0-9 and a-v, five bits each, fit for an id or a secret.
func RandomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never returns an error: it ends the program instead
	for i := range b {
		b[i] = text32[b[i]%32]
	}
	return string(b)
}

// IsRandomText reports whether s is what RandomText(n) may return.
func IsRandomText(s string, n int) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'v') {
			return false
		}
	}
	return len(s) == n
}

// millis is how times are stored; the zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// now is the time as the store keeps it, so that a record reads back as it was returned.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// strictJSON reads what this package wrote: an unknown field is a newer release's, and would be lost with the next change.
func strictJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("read stored JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("read stored JSON: something follows it")
	}
	return nil
}
