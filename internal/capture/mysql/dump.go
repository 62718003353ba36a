package mysql

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	gomysql "github.com/go-mysql-org/go-mysql/mysql"
)

// events takes what a dump receives.
type events interface {
	// connected says that a dump begins, and whether its events end in a checksum until one says otherwise.
	connected(checksummed bool)
	// heard is called when something arrived, before the events that it holds.
	heard(at time.Time)
	// event takes one event as it stands in the file. It is not kept. An error ends the dump.
	event(raw []byte) error
	// largePayload takes a TRANSACTION_PAYLOAD that is too large to be held: its header, and a reader of what follows it. It reads
	// to the end. An error ends the dump.
	largePayload(header []byte, body io.Reader) error
	// ended is why it ended the dump; nil if it did not.
	ended() error
}

// dump receives the binlog from a place on until ctx ends, the connection fails, or its taker ends it.
func (r *Replica) dump(ctx context.Context, s *session, to events, at beginning, serverID uint32) error {
	line := &wire{}
	// Whatever is under way ends when the connection is closed.
	stopWatching := context.AfterFunc(ctx, line.close)
	defer stopWatching()
	conn, err := r.login(ctx, s, line, serverID)
	if err == nil {
		err = r.stream(conn, s, to, at, serverID)
	}
	line.close()
	if conn != nil {
		s.kill(ctx, conn.GetConnectionID())
	}
	if reason := to.ended(); reason != nil {
		return reason
	}
	return r.classify("receive the binlog from "+r.addr(), err)
}

// stream asks for the binlog and passes its events on.
func (r *Replica) stream(conn *client.Conn, s *session, to events, at beginning, serverID uint32) error {
	summed, err := checksummed(conn)
	if err != nil {
		return err
	}
	if err := at.request(conn, s.flavor, serverID); err != nil {
		return err
	}
	to.connected(summed)
	// The answer to the request is packet 1. Nothing of it can be in go-mysql's buffer, which has read the answers before.
	return receive(newPackets(conn.Conn.Conn, 3*r.cfg.Heartbeat, 1), to)
}

// receive passes events on until one of both ends it.
func receive(p *packets, to events) error {
	var heard time.Time
	for {
		payload, large, err := p.next()
		if err != nil {
			return err
		}
		if p.heard != heard {
			heard = p.heard
			to.heard(heard)
		}
		if large {
			err = receiveLarge(p, payload, to)
		} else {
			err = receivePacket(payload, to)
		}
		if err != nil {
			return err
		}
	}
}

// First bytes of packets.
const (
	packetEvent = 0
	packetEOF   = 0xfe
	packetError = 0xff
)

func receivePacket(payload []byte, to events) error {
	if len(payload) == 0 {
		return errors.New("an empty packet arrived")
	}
	switch payload[0] {
	case packetEvent:
		raw := payload[1:]
		if len(raw) >= headerSize && binary.LittleEndian.Uint32(raw[9:]) != uint32(len(raw)) {
			return fmt.Errorf("an event of type %d arrived with %d bytes, and says that it has %d", raw[4], len(raw), binary.LittleEndian.Uint32(raw[9:]))
		}
		return to.event(raw)
	case packetError:
		return errorPacket(payload)
	case packetEOF:
		return errors.New("the server ended the stream")
	default:
		return fmt.Errorf("a packet that begins with %#x is no event", payload[0])
	}
}

// errorPacket is what the server says in place of an event.
func errorPacket(b []byte) error {
	const state = 1 + 2 + 6 // with its mark
	if len(b) < state {
		return errors.New("an error packet is cut off")
	}
	return &gomysql.MyError{Code: binary.LittleEndian.Uint16(b[1:]), State: string(b[4:state]), Message: string(b[state:])}
}

// maxHeldPayload is how much of a compressed transaction is held until its checksum is known to be right. A larger one is checked
// while it is decoded: its end comes into the log only if the checksum is right.
const maxHeldPayload = 64 << 20

// receiveLarge takes a packet that does not fit the buffer and begins with head.
func receiveLarge(p *packets, head []byte, to events) error {
	if head[0] != packetEvent {
		return fmt.Errorf("a large packet that begins with %#x is no event", head[0])
	}
	h, err := parseHeader(head[1:])
	if err != nil {
		return err
	}
	if h.size > maxEvent {
		return fmt.Errorf("an event of type %d says that it has %d bytes", h.kind, h.size)
	}
	if h.kind != evTransactionPayload || h.size <= maxHeldPayload {
		payload, err := p.gather(1 + int(h.size))
		if err != nil {
			return err
		}
		return receivePacket(payload, to)
	}
	header := bytes.Clone(head[1:])
	if _, err := io.CopyN(io.Discard, p, int64(len(head))); err != nil {
		return err
	}
	if err := to.largePayload(header, io.LimitReader(p, int64(h.size)-headerSize)); err != nil {
		return err
	}
	_, err = p.Read(make([]byte, 1))
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		err = fmt.Errorf("an event of type %d goes on behind the %d bytes that it says it has", h.kind, h.size)
	}
	return err
}

// connected implements events.
func (s *stream) connected(checksummed bool) { s.checksummed = checksummed }

// heard implements events.
func (s *stream) heard(at time.Time) { s.feed.Heard(at) }
