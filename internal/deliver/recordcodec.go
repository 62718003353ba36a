package deliver

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	rowhookv1 "github.com/rowhook/rowhook/gen/rowhook/v1"
)

// recordVersion is the version of the formats of record.proto that this release writes and reads.
const recordVersion = 1

var (
	// ErrMalformed is wrapped by errors about records that are not what this package wrote.
	ErrMalformed = errors.New("malformed record")
	// ErrVersion is wrapped by errors about records of a version that this release does not read.
	ErrVersion = errors.New("unknown record version")
)

func malformed(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrMalformed, what, err)
}

func checkVersion(what string, version uint32) error {
	if version == recordVersion {
		return nil
	}
	return fmt.Errorf("%w: %s has version %d, this release reads %d: use the release that wrote it, or a newer one",
		ErrVersion, what, version, recordVersion)
}

func marshal(what string, m proto.Message) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", what, err)
	}
	return b, nil
}

// MarshalCursor returns the cursor's frozen encoding.
func MarshalCursor(c Cursor) ([]byte, error) {
	return marshal("cursor", &rowhookv1.Cursor{Version: recordVersion, Source: c.Source, Seq: c.Seq})
}

// UnmarshalCursor reads what MarshalCursor returned.
func UnmarshalCursor(b []byte) (Cursor, error) {
	var p rowhookv1.Cursor
	if err := proto.Unmarshal(b, &p); err != nil {
		return Cursor{}, malformed("cursor", err)
	}
	if err := checkVersion("cursor", p.Version); err != nil {
		return Cursor{}, err
	}
	return Cursor{Source: p.Source, Seq: p.Seq}, nil
}

// MarshalProgress returns the progress's frozen encoding. Ranges that are not ascending and disjoint are an error.
func MarshalProgress(p Progress) ([]byte, error) {
	if err := checkRanges(p.Done); err != nil {
		return nil, malformed("progress", err)
	}
	m := &rowhookv1.Progress{Version: recordVersion, Floor: p.Floor}
	for _, r := range p.Done {
		m.Done = append(m.Done, &rowhookv1.SeqRange{First: r.First, Last: r.Last})
	}
	for _, e := range p.DoneEvents {
		m.DoneEvents = append(m.DoneEvents, &rowhookv1.EventRef{Seq: e.Seq, Type: e.Type})
	}
	return marshal("progress", m)
}

// UnmarshalProgress reads what MarshalProgress returned.
func UnmarshalProgress(b []byte) (Progress, error) {
	var m rowhookv1.Progress
	if err := proto.Unmarshal(b, &m); err != nil {
		return Progress{}, malformed("progress", err)
	}
	if err := checkVersion("progress", m.Version); err != nil {
		return Progress{}, err
	}
	p := Progress{Floor: m.Floor}
	for _, r := range m.Done {
		p.Done = append(p.Done, SeqRange{First: r.GetFirst(), Last: r.GetLast()})
	}
	for _, e := range m.DoneEvents {
		p.DoneEvents = append(p.DoneEvents, EventRef{Seq: e.GetSeq(), Type: e.GetType()})
	}
	if err := checkRanges(p.Done); err != nil {
		return Progress{}, malformed("progress", err)
	}
	return p, nil
}

func checkRanges(ranges []SeqRange) error {
	for i, r := range ranges {
		if r.First > r.Last {
			return fmt.Errorf("range from %d to %d", r.First, r.Last)
		}
		if i > 0 && r.First <= ranges[i-1].Last {
			return fmt.Errorf("range from %d after one to %d", r.First, ranges[i-1].Last)
		}
	}
	return nil
}

// MarshalException returns the exception's frozen encoding, without its source and endpoint.
func MarshalException(e *Exception) ([]byte, error) {
	if err := checkState(e.State); err != nil {
		return nil, malformed("exception", err)
	}
	return marshal("exception", &rowhookv1.Exception{
		Version:       recordVersion,
		Event:         &rowhookv1.EventRef{Seq: e.Seq, Type: e.Type},
		EventId:       e.EventID,
		State:         rowhookv1.ExceptionState(e.State),
		Key:           e.Key,
		OtherKey:      e.OtherKey,
		Attempts:      e.Attempts,
		NextAttemptMs: e.NextAttemptMS,
		CommitTimeMs:  e.CommitTimeMS,
		Reason:        e.Reason,
		Payload:       e.Payload,
		Subject:       e.Subject,
		Tenant:        e.Tenant,
	})
}

// UnmarshalException reads what MarshalException returned; source and endpoint are left empty.
func UnmarshalException(b []byte) (Exception, error) {
	var p rowhookv1.Exception
	if err := proto.Unmarshal(b, &p); err != nil {
		return Exception{}, malformed("exception", err)
	}
	if err := checkVersion("exception", p.Version); err != nil {
		return Exception{}, err
	}
	if p.State < 0 || p.State > rowhookv1.ExceptionState(Parked) {
		return Exception{}, malformed("exception", fmt.Errorf("state %d", p.State))
	}
	e := Exception{
		Seq:           p.Event.GetSeq(),
		Type:          p.Event.GetType(),
		EventID:       p.EventId,
		State:         ExceptionState(p.State),
		Key:           p.Key,
		OtherKey:      p.OtherKey,
		Attempts:      p.Attempts,
		NextAttemptMS: p.NextAttemptMs,
		CommitTimeMS:  p.CommitTimeMs,
		Reason:        p.Reason,
		Subject:       p.Subject,
		Tenant:        p.Tenant,
	}
	if len(p.Payload) > 0 {
		e.Payload = p.Payload
	}
	if err := checkState(e.State); err != nil {
		return Exception{}, malformed("exception", err)
	}
	return e, nil
}

func checkState(s ExceptionState) error {
	if s < Waiting || s > Parked {
		return errors.New(s.String())
	}
	return nil
}

// Field numbers of Send, which is written by hand: it is encoded before each request.
const (
	sendVersion  = 1
	sendEventID  = 2
	sendEndpoint = 3
	sendEpoch    = 4
	sendAttempt  = 5
	sendTimeUS   = 6
	sendSeq      = 7
	sendSource   = 8
	sendType     = 9
)

// AppendSend appends the send's frozen encoding to b. It allocates only when b is too small. Strings that are not
// UTF-8 cannot be read back; names and ids always are.
func AppendSend(b []byte, s *Send) []byte {
	b = appendVarint(b, sendVersion, recordVersion)
	b = appendString(b, sendEventID, s.EventID)
	b = appendString(b, sendEndpoint, s.Endpoint)
	b = appendVarint(b, sendEpoch, s.Epoch)
	b = appendVarint(b, sendAttempt, uint64(s.Attempt))
	b = appendVarint(b, sendTimeUS, uint64(s.TimeUS))
	b = appendVarint(b, sendSeq, s.Seq)
	b = appendString(b, sendSource, s.Source)
	return appendString(b, sendType, s.Type)
}

// UnmarshalSend reads what AppendSend appended.
func UnmarshalSend(b []byte) (Send, error) {
	var p rowhookv1.Send
	if err := proto.Unmarshal(b, &p); err != nil {
		return Send{}, malformed("send", err)
	}
	if err := checkVersion("send", p.Version); err != nil {
		return Send{}, err
	}
	return Send{
		Source: p.Source, Endpoint: p.Endpoint, Seq: p.Seq, Type: p.Type, EventID: p.EventId,
		Epoch: p.Epoch, Attempt: p.Attempt, TimeUS: p.TimeUs,
	}, nil
}

func appendVarint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendString(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}
