package webhook

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// The prefixes of the text forms of a [Secret].
const (
	prefixHMAC    = "whsec_"
	prefixSigning = "whsk_"
	prefixPublic  = "whpk_"
)

// The sizes of an HMAC secret in bytes: the bounds that the specification
// sets, and what NewSecret makes, which is the size of the hash.
const (
	minHMACBytes = 24
	maxHMACBytes = 64
	newHMACBytes = 32
)

// ErrInvalidSecret is wrapped by every error about a secret that cannot be
// used: text that cannot be parsed, the zero Secret, no secrets at all, or a
// public key where a signing key is needed. Such errors never quote the secret.
var ErrInvalidSecret = errors.New("invalid webhook secret")

// Secret is a key that signs or verifies: a shared HMAC secret ("whsec_"), an
// Ed25519 signing key ("whsk_") or an Ed25519 public key ("whpk_"). The zero
// Secret holds no key and is refused everywhere. A Secret is immutable, is
// copied freely, and is safe for concurrent use. It prints and logs redacted,
// with any verb, also from within other values. Compare with Equal, not with ==.
type Secret struct {
	key *secretKey
}

// secretKey is the kind of a key and the key itself, which is never changed.
// The key stands two pointers away from every struct that holds a Secret:
// where that is an unexported field fmt asks no method how to print it, and
// with a verb that does not fit, such as %s, it follows one pointer.
type secretKey struct {
	prefix string
	sealed *[]byte
}

// seal makes a Secret of a key, which it owns from then on.
func seal(prefix string, raw []byte) Secret { return Secret{&secretKey{prefix, &raw}} }

// raw returns the key of a Secret that is not zero. The caller only reads it.
func (s Secret) raw() []byte { return *s.key.sealed }

// NewSecret returns a new random HMAC secret of 32 bytes.
func NewSecret() Secret {
	raw := make([]byte, newHMACBytes)
	_, _ = rand.Read(raw) // never returns an error: it ends the program instead
	return seal(prefixHMAC, raw)
}

// NewKeyPair returns a new random Ed25519 signing key, for the sender, and its
// public key, for the receivers.
func NewKeyPair() (signing, public Secret) {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // as in NewSecret
	signing = seal(prefixSigning, ed25519.NewKeyFromSeed(seed))
	public, _ = signing.Public()
	return signing, public
}

// ParseSecret reads the text form of a secret: a prefix, which tells the kind,
// and padded base64 of 24 to 64 bytes for "whsec_", of 64 bytes (seed and
// public key) for "whsk_", and of 32 bytes for "whpk_". The error wraps
// ErrInvalidSecret and does not quote the text.
func ParseSecret(text string) (Secret, error) {
	for _, prefix := range []string{prefixHMAC, prefixSigning, prefixPublic} {
		encoded, ok := strings.CutPrefix(text, prefix)
		if !ok {
			continue
		}
		raw, err := decodeKey(prefix, encoded)
		if err != nil {
			return Secret{}, fmt.Errorf("%w: %w", ErrInvalidSecret, err)
		}
		return seal(prefix, raw), nil
	}
	return Secret{}, fmt.Errorf("%w: it starts with none of %s, %s and %s",
		ErrInvalidSecret, prefixHMAC, prefixSigning, prefixPublic)
}

// decodeKey decodes and checks what follows the prefix.
func decodeKey(prefix, encoded string) ([]byte, error) {
	if strings.ContainsAny(encoded, "\r\n") {
		return nil, errors.New("it contains a line break")
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, errors.New("what follows " + prefix + " is not padded base64")
	}
	switch prefix {
	case prefixSigning:
		return raw, checkSigningKey(raw)
	case prefixPublic:
		if len(raw) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("a public key has %d bytes, not %d", ed25519.PublicKeySize, len(raw))
		}
	default:
		if len(raw) < minHMACBytes || len(raw) > maxHMACBytes {
			return nil, fmt.Errorf("a secret has %d to %d bytes, not %d", minHMACBytes, maxHMACBytes, len(raw))
		}
	}
	return raw, nil
}

// checkSigningKey refuses a key whose public half belongs to another seed:
// signing with such a key lets an onlooker compute the private one.
func checkSigningKey(raw []byte) error {
	if len(raw) != ed25519.PrivateKeySize {
		return fmt.Errorf("a signing key has %d bytes, not %d", ed25519.PrivateKeySize, len(raw))
	}
	if !bytes.Equal(ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize]), raw) {
		return errors.New("the public half of the signing key does not belong to its seed")
	}
	return nil
}

// Reveal returns the text form that ParseSecret reads, with the key in clear.
// The caller keeps it out of logs and errors. The zero Secret reveals "".
func (s Secret) Reveal() string {
	if s.key == nil {
		return ""
	}
	return s.key.prefix + base64.StdEncoding.EncodeToString(s.raw())
}

// IsZero reports whether s holds no key.
func (s Secret) IsZero() bool { return s.key == nil }

// Equal reports whether s and other hold the same key of the same kind. The
// time it takes does not depend on the contents of the keys.
func (s Secret) Equal(other Secret) bool {
	if s.key == nil || other.key == nil {
		return s.key == other.key
	}
	return s.key.prefix == other.key.prefix && subtle.ConstantTimeCompare(s.raw(), other.raw()) == 1
}

// Public returns the public key of an Ed25519 signing key, to be given to
// receivers; a public key returns itself. An HMAC secret has none: the error
// wraps ErrInvalidSecret.
func (s Secret) Public() (Secret, error) {
	switch s.kind() {
	case prefixPublic:
		return s, nil
	case prefixSigning:
		return seal(prefixPublic, s.raw()[ed25519.SeedSize:]), nil
	}
	return Secret{}, fmt.Errorf("%w: only an Ed25519 key has a public key", ErrInvalidSecret)
}

// kind returns the prefix, which is empty for the zero Secret.
func (s Secret) kind() string {
	if s.key == nil {
		return ""
	}
	return s.key.prefix
}

// String returns the kind of the secret and that it is redacted, never the key.
func (s Secret) String() string {
	if s.key == nil {
		return "(no secret)"
	}
	return s.key.prefix + "…redacted"
}

// GoString returns the same as String, for %#v.
func (s Secret) GoString() string { return s.String() }

// Format writes the same as String for every verb: without it %d and its like
// would print the fields.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue returns the same as String, for package slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
