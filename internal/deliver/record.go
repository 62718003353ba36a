package deliver

import (
	"errors"
	"fmt"
	"hash/fnv"
	"time"
)

// Slots is the number of slots that the endpoints are cut into. It is part of what the store holds and never changes.
const Slots = 256

// SlotOf returns the slot of an endpoint, from 0 to Slots-1. It depends on the endpoint's name alone, in every release.
func SlotOf(endpoint string) int {
	h := fnv.New64a()
	h.Write([]byte(endpoint)) // a hash does not fail
	v := h.Sum64()
	// FNV's low byte depends on the low bits of each byte only; folding brings the others in.
	v ^= v >> 32
	v ^= v >> 16
	v ^= v >> 8
	return int(v % Slots)
}

// Claim is the ownership of a slot.
type Claim struct {
	Slot  int
	Owner string
	// Epoch is larger than that of any claim of the slot before it. Writes that carry a smaller one are refused.
	Epoch uint64
	// Until is when the lease ends; it has a monotonic reading. The epoch fences, the lease only nominates.
	Until time.Time
}

// SlotProgress says that a slot's reader has handed every event up to ReadSeq to its endpoints' state.
type SlotProgress struct {
	Source  string
	Slot    int
	ReadSeq uint64
}

// SeqRange is a range of seqs, both ends included.
type SeqRange struct {
	First, Last uint64
}

// EventRef names an event: seq and type are unique within a source.
type EventRef struct {
	Seq  uint64
	Type string
}

// Progress is what an endpoint has finished of one source.
type Progress struct {
	// Floor is the seq up to which every event is done, or stands in an exception.
	Floor uint64
	// Done holds the seqs above the floor of which every event is done, ascending and disjoint.
	Done []SeqRange
	// DoneEvents holds events above the floor that are done while another event of the same seq is not.
	DoneEvents []EventRef
}

// EndpointProgress is the progress of an endpoint that is not in step with its slot, or of one of its backfills.
type EndpointProgress struct {
	Source string
	// Endpoint is the name of the lane: the endpoint's, or Range.LaneName of a backfill.
	Endpoint string
	Progress Progress
	// Clear says that the endpoint is in step again: its stored progress is removed and Progress is not looked at.
	Clear bool
}

// ExceptionState is why a single event stands outside its endpoint's progress. The values are stored.
type ExceptionState uint8

// The states of an exception.
const (
	// Waiting: it failed and will be tried again.
	Waiting ExceptionState = 1
	// Behind: it waits behind an event with the same key.
	Behind ExceptionState = 2
	// Parked: it is given up until somebody releases it.
	Parked ExceptionState = 3
)

// String returns the state's word.
func (s ExceptionState) String() string {
	switch s {
	case Waiting:
		return "waiting"
	case Behind:
		return "behind"
	case Parked:
		return "parked"
	default:
		return fmt.Sprintf("state %d", uint8(s))
	}
}

// ExceptionKey names an exception.
type ExceptionKey struct {
	Source, Endpoint string
	Seq              uint64
	Type             string
}

// Exception is one event of one endpoint that is neither done nor covered by the floor alone.
type Exception struct {
	Source, Endpoint string
	Seq              uint64
	Type             string
	EventID          string
	State            ExceptionState
	// Key is the hash of the order key; OtherKey a second one that it holds (a change of the key itself), or 0.
	Key, OtherKey uint64
	// Attempts made so far.
	Attempts uint32
	// NextAttemptMS is when the next attempt is due, in milliseconds of the Unix epoch; 0 unless waiting.
	NextAttemptMS int64
	// CommitTimeMS of the change, in milliseconds of the Unix epoch.
	CommitTimeMS int64
	// Reason is a short code: "http_500", "timeout", "expression".
	Reason string
	// Payload is the body to send; empty while behind.
	Payload []byte
	Subject string
	Tenant  string
}

// ExceptionKey returns the exception's name.
func (e *Exception) ExceptionKey() ExceptionKey {
	return ExceptionKey{Source: e.Source, Endpoint: e.Endpoint, Seq: e.Seq, Type: e.Type}
}

// MaxAttemptError is the number of bytes of an attempt's Error that are stored; the rest is cut off.
const MaxAttemptError = 200

// Attempt is one request of one event to one endpoint, and what came of it.
type Attempt struct {
	Source, Endpoint string
	Seq              uint64
	Type             string
	EventID          string
	// Attempt is 1 for the first.
	Attempt uint32
	// Epoch of the claim that it was sent under.
	Epoch uint64
	// StartedUS is in microseconds of the Unix epoch.
	StartedUS  int64
	DurationUS int64
	// Status is the HTTP status, or 0 without an answer.
	Status int
	// Outcome is a short code: "ok", "http_500", "timeout", "refused", "egress", "gone", "crash_window".
	Outcome string
	// Error is what the operator should read; never row data.
	Error string
	// BodySHA256 is the digest of the body that was sent; zero if it is not known.
	BodySHA256 [32]byte
	// Cause is why the event was sent again: "retry", "crash_window", "manual_replay", "test"; empty for a first send.
	Cause string
}

// ExpiredRange is a range of seqs that retention removed before the endpoint had got them.
type ExpiredRange struct {
	Source, Endpoint string
	SeqRange
}

// EndpointState says whether an endpoint is sent to at all.
type EndpointState struct {
	Endpoint string
	// Disabled by its own answer, Paused by somebody; either is enough.
	Disabled, Paused bool
	// Reason is a short code: "gone", or what was said for the pause.
	Reason string
	At     time.Time
}

// SlotWrite is what the owner of a slot has to record. All of it is refused if the epoch is stale. Everything in it
// is about endpoints of this slot.
type SlotWrite struct {
	Slot  int
	Epoch uint64
	// ReadSeq only ever moves forward; 0 leaves it as it is.
	ReadSeq  uint64
	Progress []EndpointProgress
	Put      []Exception
	Delete   []ExceptionKey
	Attempts []Attempt
	Expired  []ExpiredRange
	States   []EndpointState
	// Ranges that were begun, ended or backfilled. They stand beside the progress that was made under them, so that the store
	// never has one without the other.
	Ranges []Range
	// Forget names endpoints of which the source is to know nothing any more: progress, exceptions, ranges, state. It comes before
	// everything else in the write.
	Forget []string
}

// Batch is what is recorded in one transaction, all of one source.
type Batch struct {
	Source string
	Slots  []SlotWrite
}

// Send is an entry of the send journal, written before the request leaves.
type Send struct {
	Source, Endpoint string
	Seq              uint64
	Type             string
	EventID          string
	Epoch            uint64
	// Attempt is 1 for the first.
	Attempt uint32
	// TimeUS is in microseconds of the Unix epoch.
	TimeUS int64
}

// Cursor is how far a reader of a source's log has come: everything up to and including Seq has been read.
type Cursor struct {
	Source string
	Seq    uint64
}

// ErrStale is wrapped by the error of a write whose epoch is not the slot's any more.
var ErrStale = errors.New("stale epoch")

// StaleError names the slots whose writes were refused because somebody else has claimed them since.
type StaleError struct {
	Slots []int
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("writes refused: %v of slots %v, which another owner has claimed since", ErrStale, e.Slots)
}

// Is makes errors.Is(err, ErrStale) true.
func (e *StaleError) Is(target error) bool { return target == ErrStale }
