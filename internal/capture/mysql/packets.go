package mysql

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

const (
	packetHeader = 4
	// maxPacket is the length of a packet that is continued by the next one.
	maxPacket = 1<<24 - 1
	// packetBuffer is what one read may bring. It holds dozens of the events that servers cut large changes into, and stays in the
	// processor's cache between the read and the decoder.
	packetBuffer = 256 << 10
	// trusted is how much memory a length in a header gets at once. What is longer gets it as it arrives.
	trusted = 64 << 20
	// keepLarge is how many packets that fit the buffer may follow one that did not, before its memory is given back.
	keepLarge = 256
)

// packets reads what a server sends over a connection that is ours alone. Packets that fit the buffer are handed out as they stand
// there; larger ones are read as a stream, or gathered. It must not be used by two goroutines at once.
type packets struct {
	conn net.Conn
	// timeout is how long the connection may be silent.
	timeout time.Duration
	seq     byte

	buf  []byte
	r, w int // buf[r:w] is read and not handed out yet
	// heard is when something was last read.
	heard time.Time

	// left is what remains of the large packet, and more whether another one continues it.
	left int
	more bool

	large []byte // gathered, kept for the next one
	small int    // packets since large was used
}

// newPackets returns a reader of the packets from number seq on.
func newPackets(conn net.Conn, timeout time.Duration, seq byte) *packets {
	return &packets{conn: conn, timeout: timeout, seq: seq, buf: make([]byte, packetBuffer)}
}

// next returns the payload of the next packet, valid until the next call of any method. If large is set the payload does not fit the
// buffer: head is how it begins, and all of it is to be read with Read, or gather.
func (p *packets) next() (payload []byte, large bool, err error) {
	n, err := p.header()
	if err != nil {
		return nil, false, err
	}
	if n <= len(p.buf) {
		if err := p.fill(n); err != nil {
			return nil, false, cutOff(err)
		}
		payload = p.buf[p.r : p.r+n]
		p.r += n
		p.forget()
		return payload, false, nil
	}
	p.left, p.more = n, n == maxPacket
	head := 1 + headerSize
	if err := p.fill(head); err != nil {
		return nil, false, cutOff(err)
	}
	return p.buf[p.r : p.r+head], true, nil
}

// header takes the header of a packet and returns its length.
func (p *packets) header() (int, error) {
	if err := p.fill(packetHeader); err != nil {
		if p.w > p.r {
			err = cutOff(err)
		}
		return 0, err
	}
	h := p.buf[p.r:]
	if h[3] != p.seq {
		return 0, fmt.Errorf("packet number %d arrived, %d was due", h[3], p.seq)
	}
	p.seq++
	p.r += packetHeader
	return int(uint24(h)), nil
}

// forget gives up the memory of a large packet some time after it.
func (p *packets) forget() {
	if p.large == nil {
		return
	}
	if p.small++; p.small > keepLarge {
		p.large = nil
	}
}

// fill makes n bytes stand in the buffer, which must have room for them.
func (p *packets) fill(n int) error {
	if p.w-p.r >= n {
		return nil
	}
	if p.r == p.w {
		p.r, p.w = 0, 0
	} else if p.r+n > len(p.buf) {
		p.w = copy(p.buf, p.buf[p.r:p.w])
		p.r = 0
	}
	for p.w-p.r < n {
		m, err := p.receive(p.buf[p.w:])
		if p.w += m; err != nil && p.w-p.r < n {
			return err
		}
	}
	return nil
}

// receive reads once from the connection.
func (p *packets) receive(b []byte) (int, error) {
	now := time.Now()
	if err := p.conn.SetReadDeadline(now.Add(p.timeout)); err != nil {
		return 0, err
	}
	n, err := p.conn.Read(b)
	switch {
	case n > 0:
		p.heard = time.Now()
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("nothing arrived for %v, not even a heartbeat: %w", p.timeout, err)
	case err == nil:
		err = io.ErrNoProgress
	}
	return n, err
}

// Read reads the large packet that next announced, across the packets that continue it. It returns io.EOF at its end.
func (p *packets) Read(b []byte) (int, error) {
	for p.left == 0 {
		if !p.more {
			return 0, io.EOF
		}
		n, err := p.header()
		if err != nil {
			return 0, cutOff(err)
		}
		p.left, p.more = n, n == maxPacket
	}
	b = b[:min(len(b), p.left)]
	n := copy(b, p.buf[p.r:p.w])
	p.r += n
	if n == 0 {
		var err error
		if n, err = p.receive(b); n == 0 && err != nil {
			return 0, cutOff(err)
		}
	}
	p.left -= n
	return n, nil
}

// gather returns all of the large packet that next announced, of which promised bytes are expected. It is valid until the next call
// of any method. Memory beyond trusted grows with what arrives.
func (p *packets) gather(promised int) ([]byte, error) {
	p.small = 0
	b := p.large[:0]
	if want := min(promised, trusted); cap(b) < want {
		p.large = nil // two of them at once are one too many
		b = make([]byte, 0, want)
	}
	for {
		if len(b) == cap(b) {
			if p.left == 0 && !p.more {
				break
			}
			grown := make([]byte, len(b), max(min(2*len(b), promised), len(b)+packetBuffer))
			copy(grown, b)
			b = grown
		}
		n, err := p.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(b) > 1+maxEvent {
			return nil, fmt.Errorf("a packet of more than %d bytes", maxEvent)
		}
	}
	p.large = b
	return b, nil
}

// cutOff says that a connection ended inside a packet.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
