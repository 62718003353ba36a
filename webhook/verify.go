package webhook

import (
	"crypto/ed25519"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// DefaultTolerance is how far the time of an attempt may be from the
// receiver's clock, either way, unless WithTolerance says otherwise.
const DefaultTolerance = 5 * time.Minute

// DefaultMaxBody is how many bytes VerifyRequest reads of a body when it is
// not told a limit.
const DefaultMaxBody = 1 << 20

// maxSignatureBytes bounds the signature header. It has room for more than
// forty signatures of either scheme, and bounds what a stranger can make a
// receiver compute.
const maxSignatureBytes = 4096

// Errors that say why a message was refused. Verify and VerifyRequest wrap
// exactly one of these, ErrInvalidID or ErrInvalidTimestamp, except that
// VerifyRequest also returns errors of reading the body.
var (
	// ErrMissingHeader means that one of the three headers is absent or empty.
	ErrMissingHeader = errors.New("missing webhook header")
	// ErrInvalidHeader means that a header is there more than once, or that
	// the list of signatures is longer than 4096 bytes.
	ErrInvalidHeader = errors.New("invalid webhook header")
	// ErrTooOld means that the attempt was made longer ago than the tolerance.
	ErrTooOld = errors.New("webhook timestamp too old")
	// ErrTooNew means that the attempt lies further ahead than the tolerance.
	ErrTooNew = errors.New("webhook timestamp too new")
	// ErrNoMatch means that no signature in the list was made for this id,
	// time and body with one of the secrets.
	ErrNoMatch = errors.New("no matching webhook signature")
	// ErrBodyTooLarge means that the body is longer than VerifyRequest may read.
	ErrBodyTooLarge = errors.New("webhook body too large")
)

// Message is what was verified.
type Message struct {
	// ID is the id of the event, the same in every attempt: what to dedupe by.
	ID string
	// Timestamp is the time of this attempt, in whole seconds, UTC.
	Timestamp time.Time
	// Body is what was signed: the slice given to Verify, or the one that
	// VerifyRequest read, which belongs to the caller.
	Body []byte
}

// Option changes how a Verifier verifies.
type Option func(*Verifier)

// WithTolerance sets how far the time of an attempt may be from the clock,
// either way; a time exactly that far away is accepted. A negative tolerance
// accepts no message at all.
func WithTolerance(d time.Duration) Option {
	return func(v *Verifier) { v.tolerance = d }
}

// WithAnyTimestamp accepts messages of any time. It is for looking at recorded
// requests; a receiver that uses it accepts replayed ones for ever.
func WithAnyTimestamp() Option {
	return func(v *Verifier) { v.anyTime = true }
}

// WithClock sets the clock, which is time.Now otherwise. It is called once per
// message and must be safe for concurrent use.
func WithClock(now func() time.Time) Option {
	return func(v *Verifier) { v.now = now }
}

// Verifier verifies with a fixed list of secrets; while a secret is being
// replaced there are two. It is safe for concurrent use.
type Verifier struct {
	keys      []verifyingKey
	tolerance time.Duration
	anyTime   bool
	now       func() time.Time
	heads     buffers
}

// verifyingKey reports whether signatures, a list separated by spaces, has one
// for head followed by body. Safe for concurrent use.
type verifyingKey interface {
	matches(signatures string, head, body []byte) bool
}

// NewVerifier returns a Verifier for at least one secret of any kind; an
// Ed25519 signing key verifies with its public half. The error wraps
// ErrInvalidSecret.
func NewVerifier(secrets []Secret, opts ...Option) (*Verifier, error) {
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%w: verifying needs at least one", ErrInvalidSecret)
	}
	v := &Verifier{tolerance: DefaultTolerance, now: time.Now}
	for i, secret := range secrets {
		switch secret.kind() {
		case prefixHMAC:
			v.keys = append(v.keys, newHMACKey(secret.raw()))
		case prefixPublic:
			v.keys = append(v.keys, &ed25519PublicKey{key: secret.raw()})
		case prefixSigning:
			v.keys = append(v.keys, &ed25519PublicKey{key: secret.raw()[ed25519.SeedSize:]})
		default:
			return nil, fmt.Errorf("%w: number %d is empty", ErrInvalidSecret, i+1)
		}
	}
	for _, opt := range opts {
		opt(v)
	}
	return v, nil
}

// Verify checks one message against secrets, as a Verifier made for the call
// would. Who verifies often keeps a Verifier.
func Verify(secrets []Secret, header http.Header, body []byte, opts ...Option) (Message, error) {
	v, err := NewVerifier(secrets, opts...)
	if err != nil {
		return Message{}, err
	}
	return v.Verify(header, body)
}

// Verify reports whether body, exactly as received, and header were signed
// with one of the secrets at a time within the tolerance. Every signature in
// the list is looked at; those of unknown versions are skipped. Only the three
// headers that HeaderID, HeaderTimestamp and HeaderSignature name are read,
// and of everything in the request only id, time and body are signed. An error
// wraps one of the errors of this package, and the Message is then zero.
func (v *Verifier) Verify(header http.Header, body []byte) (Message, error) {
	env, err := v.open(header)
	if err != nil {
		return Message{}, fmt.Errorf("verify webhook: %w", err)
	}
	return v.check(env, body)
}

// VerifyRequest reads the body of r, at most maxBody bytes of it or
// DefaultMaxBody if maxBody is not positive, and verifies it as Verify does.
// What the headers alone decide is decided before anything is read. It does
// not close the body, which the server does, and leaves it read. The error
// wraps ErrBodyTooLarge if there is more to read, or the error of reading.
func (v *Verifier) VerifyRequest(r *http.Request, maxBody int64) (Message, error) {
	env, err := v.open(r.Header)
	if err != nil {
		return Message{}, fmt.Errorf("verify webhook: %w", err)
	}
	body, err := readBody(r, maxBody)
	if err != nil {
		return Message{}, fmt.Errorf("verify webhook: %w", err)
	}
	return v.check(env, body)
}

// readBody reads the whole body of r if it is not longer than limit.
func readBody(r *http.Request, limit int64) ([]byte, error) {
	if limit <= 0 {
		limit = DefaultMaxBody
	}
	if r.ContentLength > limit {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrBodyTooLarge, r.ContentLength, limit)
	}
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrBodyTooLarge, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	return body, nil
}

// envelope is what the headers of a message say.
type envelope struct {
	id         string
	ts         int64 // seconds since 1970
	signatures string
}

// open reads the headers and decides all that does not need the body.
func (v *Verifier) open(header http.Header) (envelope, error) {
	id, err := single(header, HeaderID)
	if err != nil {
		return envelope{}, err
	}
	if err := CheckID(id); err != nil {
		return envelope{}, err
	}
	text, err := single(header, HeaderTimestamp)
	if err != nil {
		return envelope{}, err
	}
	ts, err := parseTimestamp(text)
	if err != nil {
		return envelope{}, err
	}
	signatures, err := single(header, HeaderSignature)
	if err != nil {
		return envelope{}, err
	}
	if len(signatures) > maxSignatureBytes {
		return envelope{}, fmt.Errorf("%w: %s has %d bytes, more than %d",
			ErrInvalidHeader, HeaderSignature, len(signatures), maxSignatureBytes)
	}
	return envelope{id, ts, signatures}, v.checkTime(ts)
}

// single returns the only value of a header. Of two values, this code and the
// code behind it might believe different ones.
func single(header http.Header, name string) (string, error) {
	values := header.Values(name)
	if len(values) > 1 {
		return "", fmt.Errorf("%w: %s is there %d times", ErrInvalidHeader, name, len(values))
	}
	if len(values) == 0 || values[0] == "" {
		return "", fmt.Errorf("%w: %s", ErrMissingHeader, name)
	}
	return values[0], nil
}

// parseTimestamp reads seconds since 1970. Only the canonical form is taken,
// so that what is signed is what stands in the header.
func parseTimestamp(text string) (int64, error) {
	ts, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ts < 0 || ts > maxUnix || strconv.FormatInt(ts, 10) != text {
		return 0, ErrInvalidTimestamp
	}
	return ts, nil
}

// checkTime refuses a time further from now than the tolerance.
func (v *Verifier) checkTime(ts int64) error {
	if v.anyTime {
		return nil
	}
	at := time.Unix(ts, 0).UTC()
	// Sub stops at 292 years rather than overflow, so negate the tolerance and
	// never the age: the lowest Duration has no opposite.
	switch age := v.now().Sub(at); {
	case age > v.tolerance:
		return fmt.Errorf("%w: %s is more than %v ago", ErrTooOld, at.Format(time.RFC3339), v.tolerance)
	case age < -v.tolerance:
		return fmt.Errorf("%w: %s is more than %v ahead", ErrTooNew, at.Format(time.RFC3339), v.tolerance)
	}
	return nil
}

// check decides what needs the body.
func (v *Verifier) check(env envelope, body []byte) (Message, error) {
	head := v.heads.get()
	defer v.heads.put(head)
	*head = appendHead(*head, env.id, env.ts)
	for _, key := range v.keys {
		if key.matches(env.signatures, *head, body) {
			return Message{ID: env.id, Timestamp: time.Unix(env.ts, 0).UTC(), Body: body}, nil
		}
	}
	return Message{}, fmt.Errorf("verify webhook: %w", ErrNoMatch)
}

func (k *hmacKey) matches(signatures string, head, body []byte) bool {
	want := k.appendSignature(make([]byte, 0, 64), head, body)
	matched := 0
	for got := range strings.SplitSeq(signatures, " ") {
		matched |= subtle.ConstantTimeCompare([]byte(got), want)
	}
	return matched == 1
}

// ed25519PublicKey verifies v1a. The key is public and so is the comparison:
// nothing about it needs to take constant time.
type ed25519PublicKey struct {
	key      ed25519.PublicKey
	contents buffers
}

func (k *ed25519PublicKey) matches(signatures string, head, body []byte) bool {
	content := k.contents.get()
	defer k.contents.put(content)
	*content = append(append(*content, head...), body...)
	for got := range strings.SplitSeq(signatures, " ") {
		version, encoded, _ := strings.Cut(got, ",")
		if version != versionEd25519 {
			continue
		}
		signature, err := base64.StdEncoding.DecodeString(encoded)
		if err == nil && len(signature) == ed25519.SignatureSize && ed25519.Verify(k.key, *content, signature) {
			return true
		}
	}
	return false
}
