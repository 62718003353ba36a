package mysql

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

func (s *stream) payload(body []byte) error {
	if !s.tx.open {
		return malformedEvent("a transaction payload outside a transaction")
	}
	return s.payloads.each(body, s.inPayload)
}

func (s *stream) inPayload(raw []byte) error {
	h, err := parseHeader(raw)
	if err != nil {
		return err
	}
	return s.dispatch(h, raw[headerSize:])
}

// largePayload implements events.
func (s *stream) largePayload(header []byte, body io.Reader) error {
	h, err := parseHeader(header)
	if err != nil {
		return s.fault(err)
	}
	skip, err := s.advance(h)
	if err != nil {
		return s.fault(err)
	}
	if skip {
		_, err := io.Copy(io.Discard, body)
		return s.fault(notOurs(err))
	}
	if s.tx.passed {
		if _, err := io.Copy(io.Discard, body); err != nil {
			return s.fault(notOurs(err))
		}
		return s.fault(s.passOver(h, nil))
	}
	return s.fault(s.readPayload(h, header, body))
}

// readPayload decodes a payload while it arrives. Its end is a commit inside it, which is passed on only once the checksum has shown
// that all before it was right.
func (s *stream) readPayload(h eventHeader, header []byte, body io.Reader) error {
	if !s.tx.open {
		return malformedEvent("a transaction payload outside a transaction")
	}
	size := int64(h.size) - headerSize
	if s.checksummed {
		size -= checksumSize
	}
	if size < 0 {
		return malformedEvent("event of type %d has no checksum", h.kind)
	}
	sum := crc32.NewIEEE()
	_, _ = sum.Write(header) // never fails
	arrived := &arriving{in: io.TeeReader(io.LimitReader(body, size), sum)}
	s.commitLater, s.commitDue = true, false
	err := s.payloads.eachOf(arrived, s.inPayload)
	s.commitLater = false
	switch {
	case arrived.err != nil: // not the payload's fault
		return notOurs(arrived.err)
	case err != nil:
		return err
	}
	if s.checksummed {
		var want [checksumSize]byte
		if _, err := io.ReadFull(body, want[:]); err != nil {
			return notOurs(cutOff(err))
		}
		if sum.Sum32() != binary.LittleEndian.Uint32(want[:]) {
			return s.damaged(h)
		}
	}
	if s.commitDue {
		return s.commit()
	}
	return nil
}

// arriving remembers why a reader failed: who reads through a decompressor is told that in other words.
type arriving struct {
	in  io.Reader
	err error
}

// Read implements io.Reader.
func (a *arriving) Read(b []byte) (int, error) {
	n, err := a.in.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		a.err = err
	}
	return n, err
}

// damaged says that an event is not what the server wrote. Reading it again may help, if the damage was done on the way.
func (s *stream) damaged(h eventHeader) error {
	return notOurs(fmt.Errorf("the event of type %d and %d bytes behind %s does not match its checksum", h.kind, h.size, s.place()))
}
