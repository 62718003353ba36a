package mysql

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
)

// maxInflated bounds what is unpacked at once. Servers write no event over max_allowed_packet, which is at most 1 GiB.
const maxInflated = 1 << 30

// maxInflatedKept is the largest buffer that is kept for the next value of a compressed column.
const maxInflatedKept = 1 << 20

// inflater unpacks bytes into a buffer that it keeps.
type inflater struct {
	src       bytes.Reader
	zlib, raw io.ReadCloser
	buf       bytes.Buffer
}

// unpack returns the size bytes that were packed as b, valid until the next call; raw says that zlib's header was left out.
func (f *inflater) unpack(b []byte, size uint64, raw bool) ([]byte, error) {
	if size > maxInflated {
		return nil, malformedEvent("%d bytes when unpacked", size)
	}
	f.src.Reset(b)
	r, err := f.reader(raw)
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	f.buf.Reset()
	// The buffer grows with what is really there, not with what the header promises; one byte more shows a lie.
	got, err := f.buf.ReadFrom(io.LimitReader(r, int64(size)+1))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if uint64(got) != size {
		return nil, malformedEvent("unpacks to another size than %d bytes", size)
	}
	return f.buf.Bytes(), nil
}

// reader returns a reader that unpacks f.src.
func (f *inflater) reader(raw bool) (io.Reader, error) {
	if raw {
		if f.raw == nil {
			f.raw = flate.NewReader(&f.src)
			return f.raw, nil
		}
		r, ok := f.raw.(flate.Resetter)
		if !ok {
			return nil, errors.New("the reader cannot be used again")
		}
		return f.raw, r.Reset(&f.src, nil)
	}
	if f.zlib == nil {
		zr, err := zlib.NewReader(&f.src)
		if err != nil {
			return nil, err
		}
		f.zlib = zr
		return zr, nil
	}
	r, ok := f.zlib.(zlib.Resetter)
	if !ok {
		return nil, errors.New("the reader cannot be used again")
	}
	return f.zlib, r.Reset(&f.src, nil)
}

// rowsInflater unpacks the rows of MariaDB's compressed events (log_bin_compress).
type rowsInflater struct{ inflater }

// inflate returns the rows, valid until the next call. They begin with a byte whose low bits say how many bytes of length follow.
func (f *rowsInflater) inflate(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, malformedEvent("no compressed rows")
	}
	n := int(b[0] & 7)
	if b[0]>>4&7 != 0 || n < 1 || n > 4 || len(b) < 1+n {
		return nil, malformedEvent("compression header %#x", b[0])
	}
	return f.unpack(b[1+n:], bigEndian(b[1:1+n]), false)
}

// Parts of the byte before a value of a compressed column.
const (
	columnMethod     = 0xf0
	columnMethodZlib = 0x80
	columnRaw        = 0x08 // without zlib's header and checksum
	columnLengthSize = 0x07
)

// columnInflater unpacks values of MariaDB's compressed columns.
type columnInflater struct{ inflater }

// inflate returns the value, valid until the next call, and reports whether it could be unpacked. It begins with a byte: 0 before a
// value that was not worth packing, else the method and how many bytes of length follow.
func (f *columnInflater) inflate(v []byte) (out []byte, ok bool) {
	if len(v) == 0 {
		return v, true // the empty value has no header
	}
	n := int(v[0] & columnLengthSize)
	switch {
	case v[0] == 0:
		return v[1:], true
	case v[0]&columnMethod != columnMethodZlib || n < 1 || n > 4 || len(v) < 1+n:
		return nil, false
	}
	if f.buf.Cap() > maxInflatedKept {
		f.buf = bytes.Buffer{}
	}
	out, err := f.unpack(v[1+n:], bigEndian(v[1:1+n]), v[0]&columnRaw != 0)
	return out, err == nil
}
