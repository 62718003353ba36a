package mysql

import (
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

// eachInPayload calls f for the events in a TRANSACTION_PAYLOAD. An event is valid until f returns.
func eachInPayload(body []byte, f func(event []byte) error) error {
	compression, payload, err := parsePayload(body)
	if err != nil {
		return err
	}
	var in io.Reader = bytes.NewReader(payload)
	switch compression {
	case payloadNone:
	case payloadZstd:
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return fmt.Errorf("inflate a transaction payload: %w", err)
		}
		defer z.Close()
		in = z
	default:
		return malformedEvent("TRANSACTION_PAYLOAD is compressed in the unknown way %d", compression)
	}
	return eachEvent(in, f)
}

func eachEvent(in io.Reader, f func(event []byte) error) error {
	var buf bytes.Buffer
	for {
		buf.Reset()
		if n, err := io.CopyN(&buf, in, headerSize); errors.Is(err, io.EOF) && n == 0 {
			return nil
		} else if err != nil {
			return malformedEvent("transaction payload: %v", err)
		}
		h, err := parseHeader(buf.Bytes())
		if err != nil {
			return err
		}
		if h.size > maxEvent {
			return malformedEvent("an event in a payload says that it has %d bytes", h.size)
		}
		// The buffer grows with what arrives, not with what the header promises.
		if _, err := io.CopyN(&buf, in, int64(h.size)-headerSize); err != nil {
			return malformedEvent("transaction payload: %v", err)
		}
		if err := f(buf.Bytes()); err != nil {
			return err
		}
	}
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
