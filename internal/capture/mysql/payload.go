package mysql

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// Compressed payloads are inflated as they are read, an event at a time: a transaction of 5,000,000 rows must not be held whole.

const (
	payloadSizeField        = 1
	payloadCompressionField = 2

	payloadZstd = 0
	payloadNone = 255

	// maxEvent is more than any server writes (max_allowed_packet ends at 1 GiB, and a header comes on top).
	maxEvent = 1<<30 + 1<<20
	// maxWindow is the most memory a compressed payload may ask for. Servers use levels whose windows are at most 8 MiB, except the
	// highest, which need 128 MiB.
	maxWindow = 128 << 20
)

// parsePayload returns the compressed events of a TRANSACTION_PAYLOAD and how they are compressed.
func parsePayload(body []byte) (compression uint64, payload []byte, err error) {
	r := eventReader{b: body}
	compression = payloadZstd
	for {
		field := r.lenenc()
		if r.failed {
			return 0, nil, malformedEvent("TRANSACTION_PAYLOAD of %d bytes is cut off", len(body))
		}
		if field == 0 {
			return compression, r.b, nil
		}
		size := r.lenenc()
		if r.failed || size > uint64(len(r.b)) {
			return 0, nil, malformedEvent("TRANSACTION_PAYLOAD of %d bytes has a field of %d", len(body), size)
		}
		v := eventReader{b: r.take(int(size))}
		if field == payloadCompressionField {
			compression = v.lenenc()
		}
	}
}

// payloadReader reads the events of compressed transactions. What it needs for one is kept for the next.
type payloadReader struct {
	zstd  *zstd.Decoder // its stream mode has no goroutine, so that it need not be closed
	event []byte
}

// each calls f for the events in a TRANSACTION_PAYLOAD. An event is valid until f returns.
func (p *payloadReader) each(body []byte, f func(event []byte) error) error {
	compression, payload, err := parsePayload(body)
	if err != nil {
		return err
	}
	return p.inflate(compression, bytes.NewReader(payload), f)
}

// payloadFields is more than the fields in front of the compressed events take.
const payloadFields = 1 << 10

// eachOf is each for a payload that is read to its end while it is used.
func (p *payloadReader) eachOf(body io.Reader, f func(event []byte) error) error {
	in := bufio.NewReaderSize(body, packetBuffer)
	head, err := in.Peek(payloadFields)
	if err != nil && !errors.Is(err, io.EOF) {
		return notOurs(err)
	}
	compression, rest, err := parsePayload(head)
	if err != nil {
		return err
	}
	if _, err := in.Discard(len(head) - len(rest)); err != nil {
		return notOurs(err)
	}
	return p.inflate(compression, in, f)
}

func (p *payloadReader) inflate(compression uint64, in io.Reader, f func(event []byte) error) (err error) {
	switch compression {
	case payloadNone:
		return p.events(in, f)
	case payloadZstd:
	default:
		return malformedEvent("TRANSACTION_PAYLOAD is compressed in the unknown way %d", compression)
	}
	if p.zstd == nil {
		p.zstd, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	} else {
		err = p.zstd.Reset(in)
	}
	if err != nil {
		return fmt.Errorf("inflate a transaction payload: %w", err)
	}
	return p.events(p.zstd, f)
}

// keptEvent is the largest buffer that is kept from one payload to the next.
const keptEvent = 1 << 20

func (p *payloadReader) events(in io.Reader, f func(event []byte) error) error {
	defer func() {
		if cap(p.event) > keptEvent {
			p.event = nil
		}
	}()
	for {
		if err := p.more(in, headerSize); err != nil {
			if errors.Is(err, io.EOF) && len(p.event) == 0 {
				return nil
			}
			return malformedEvent("transaction payload: %w", err)
		}
		h, err := parseHeader(p.event)
		if err != nil {
			return err
		}
		if h.size > maxEvent {
			return malformedEvent("an event in a payload says that it has %d bytes", h.size)
		}
		if err := p.more(in, int(h.size)); err != nil {
			return malformedEvent("transaction payload: %w", err)
		}
		if err := f(p.event); err != nil {
			return err
		}
		p.event = p.event[:0]
	}
}

// more makes the event size bytes long. The buffer grows with what arrives, not with what the header promises.
func (p *payloadReader) more(in io.Reader, size int) error {
	for len(p.event) < size {
		if len(p.event) == cap(p.event) {
			grown := make([]byte, len(p.event), min(max(2*len(p.event), 16<<10), max(size, 16<<10)))
			copy(grown, p.event)
			p.event = grown
		}
		n, err := in.Read(p.event[len(p.event):min(size, cap(p.event))])
		p.event = p.event[:len(p.event)+n]
		if err != nil && len(p.event) < size {
			return err
		}
	}
	return nil
}

// maxStatement is how much of a compressed statement is inflated; its first words decide, except in CREATE TABLE.
const maxStatement = 16 << 20

// inflateQuery turns the body of a compressed QUERY of MariaDB into that of a plain one: everything before the text is plain.
func inflateQuery(body []byte) ([]byte, error) {
	_, text, err := parseQuery(body)
	if err != nil {
		return nil, err
	}
	// One byte: 0x80, algorithm in bits 4-6 (0 is zlib), bytes of the length in bits 0-2. Then the length, and the stream.
	if len(text) < 1 || text[0]&0xf0 != 0x80 || len(text) < 1+int(text[0]&7) {
		return nil, malformedEvent("a compressed QUERY has no header")
	}
	z, err := zlib.NewReader(bytes.NewReader(text[1+int(text[0]&7):]))
	if err != nil {
		return nil, malformedEvent("compressed QUERY: %v", err)
	}
	out := bytes.NewBuffer(bytes.Clone(body[:len(body)-len(text)]))
	if _, err := io.CopyN(out, z, maxStatement); err != nil && !errors.Is(err, io.EOF) {
		return nil, malformedEvent("compressed QUERY: %v", err)
	}
	return out.Bytes(), nil
}
