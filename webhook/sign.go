package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// The names of the headers, in the form that http.Header keeps them in. HTTP
// does not tell upper from lower case.
const (
	// HeaderID carries the id of the message, the same in every attempt.
	HeaderID = "Webhook-Id"
	// HeaderTimestamp carries the time of the attempt, in seconds since 1970.
	HeaderTimestamp = "Webhook-Timestamp"
	// HeaderSignature carries one signature per secret, separated by spaces.
	HeaderSignature = "Webhook-Signature"
)

// The versions that stand before a signature.
const (
	versionHMAC    = "v1"
	versionEd25519 = "v1a"
)

// maxIDBytes bounds an id, so that one header cannot eat a receiver's limit.
const maxIDBytes = 256

// maxKeptBytes is the largest buffer, in bytes, that a pool keeps; a rare large
// body must not stay in memory.
const maxKeptBytes = 64 << 10

// maxUnix is the last second of the year 9999: the largest timestamp, in
// seconds, that is taken for one.
const maxUnix = 253402300799

// ErrInvalidID is wrapped by the errors of CheckID.
var ErrInvalidID = errors.New("invalid webhook id")

// ErrInvalidTimestamp is wrapped when a timestamp is not a decimal number of
// seconds from 1970 to the end of the year 9999.
var ErrInvalidTimestamp = errors.New("invalid webhook timestamp")

// CheckID reports why id cannot be the id of a message: it is empty, longer
// than 256 bytes, or has a byte other than printable ASCII without space and
// dot. A dot would let one signature stand for two messages, since dots
// separate what is signed. The error wraps ErrInvalidID.
func CheckID(id string) error {
	if id == "" {
		return fmt.Errorf("%w: it is empty", ErrInvalidID)
	}
	if len(id) > maxIDBytes {
		return fmt.Errorf("%w: it has %d bytes, more than %d", ErrInvalidID, len(id), maxIDBytes)
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c >= 0x7f || c == '.' {
			return fmt.Errorf("%w: byte %#02x at %d", ErrInvalidID, c, i)
		}
	}
	return nil
}

// Sign returns the three headers that authenticate body, sent under id at the
// time at, with one signature for each secret in the order given. It fails as
// NewSigner and Signer.Sign do. Who signs often keeps a Signer.
func Sign(id string, at time.Time, body []byte, secrets ...Secret) (http.Header, error) {
	signer, err := NewSigner(secrets...)
	if err != nil {
		return nil, err
	}
	return signer.Sign(id, at, body)
}

// Signer signs with a fixed list of secrets: while a secret is being replaced
// there are two, and a receiver accepts either signature. It is safe for
// concurrent use.
type Signer struct {
	keys  []signingKey
	heads buffers
}

// signingKey appends one signature, with its version, to dst. The content is
// head followed by body; neither is kept. Safe for concurrent use.
type signingKey interface {
	appendSignature(dst, head, body []byte) []byte
}

// NewSigner returns a Signer for at least one secret, each an HMAC secret or
// an Ed25519 signing key. The error wraps ErrInvalidSecret.
func NewSigner(secrets ...Secret) (*Signer, error) {
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%w: signing needs at least one", ErrInvalidSecret)
	}
	s := &Signer{keys: make([]signingKey, 0, len(secrets))}
	for i, secret := range secrets {
		switch secret.kind() {
		case prefixHMAC:
			s.keys = append(s.keys, newHMACKey(secret.raw()))
		case prefixSigning:
			s.keys = append(s.keys, &ed25519Key{secret: secret})
		default:
			return nil, fmt.Errorf("%w: number %d, %v, cannot sign", ErrInvalidSecret, i+1, secret)
		}
	}
	return s, nil
}

// Sign returns the three headers that authenticate body, sent under id at the
// time at, which is rounded down to the second. It fails with an error that
// wraps ErrInvalidID or ErrInvalidTimestamp.
func (s *Signer) Sign(id string, at time.Time, body []byte) (http.Header, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	ts := at.Unix()
	if ts < 0 || ts > maxUnix {
		return nil, fmt.Errorf("%w: %d s", ErrInvalidTimestamp, ts)
	}
	return http.Header{
		HeaderID:        {id},
		HeaderTimestamp: {strconv.FormatInt(ts, 10)},
		HeaderSignature: {string(s.AppendSignature(nil, id, ts, body))},
	}, nil
}

// AppendSignature appends the value of the signature header to dst and returns
// the longer slice: 47 bytes for an HMAC secret and 92 for an Ed25519 key, and
// a space between two. The time ts is in seconds since 1970, as it stands in
// the timestamp header. The id must have passed CheckID and ts must not be
// negative; neither is checked again here. With HMAC secrets it allocates
// nothing when dst has room.
func (s *Signer) AppendSignature(dst []byte, id string, ts int64, body []byte) []byte {
	head := s.heads.get()
	*head = appendHead(*head, id, ts)
	for i, key := range s.keys {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = key.appendSignature(dst, *head, body)
	}
	s.heads.put(head)
	return dst
}

// buffers is a pool of byte slices. Its zero value is ready; safe for
// concurrent use.
type buffers struct {
	pool sync.Pool
}

// get returns an empty slice, which the caller owns until it calls put.
func (b *buffers) get() *[]byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		*p = (*p)[:0]
		return p
	}
	return new([]byte)
}

// put takes p back, unless it has grown too large to keep.
func (b *buffers) put(p *[]byte) {
	if cap(*p) <= maxKeptBytes {
		b.pool.Put(p)
	}
}

// appendHead appends what is signed before the body: "id.timestamp.".
func appendHead(dst []byte, id string, ts int64) []byte {
	dst = append(dst, id...)
	dst = append(dst, '.')
	dst = strconv.AppendInt(dst, ts, 10)
	return append(dst, '.')
}

// hmacKey signs v1. Its pool holds hashes that have the key in them already.
type hmacKey struct {
	states sync.Pool
}

// hmacState is one hash in use, and the room for its sum.
type hmacState struct {
	hash hash.Hash
	sum  [sha256.Size]byte
}

func newHMACKey(raw []byte) *hmacKey {
	return &hmacKey{states: sync.Pool{New: func() any {
		return &hmacState{hash: hmac.New(sha256.New, raw)}
	}}}
}

func (k *hmacKey) appendSignature(dst, head, body []byte) []byte {
	state := k.states.Get().(*hmacState)
	state.hash.Reset()
	state.hash.Write(head)
	state.hash.Write(body)
	dst = append(dst, versionHMAC+","...)
	dst = base64.StdEncoding.AppendEncode(dst, state.hash.Sum(state.sum[:0]))
	k.states.Put(state)
	return dst
}

// ed25519Key signs v1a. Ed25519 reads its content twice and so wants it in one
// piece; contents holds the room for that.
type ed25519Key struct {
	secret   Secret
	contents buffers
}

func (k *ed25519Key) appendSignature(dst, head, body []byte) []byte {
	content := k.contents.get()
	*content = append(append(*content, head...), body...)
	dst = append(dst, versionEd25519+","...)
	dst = base64.StdEncoding.AppendEncode(dst, ed25519.Sign(k.secret.raw(), *content))
	k.contents.put(content)
	return dst
}
