package mysql

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
)

// maxInflatedRows bounds the rows of one compressed event. Servers write no event over max_allowed_packet, which is at most 1 GiB.
const maxInflatedRows = 1 << 30

// rowsInflater unpacks the rows of MariaDB's compressed events (log_bin_compress) into a buffer that it keeps.
type rowsInflater struct {
	src bytes.Reader
	zr  io.ReadCloser
	buf bytes.Buffer
}

// inflate returns the rows, valid until the next call. They begin with a byte whose low bits say how many bytes of length follow.
func (f *rowsInflater) inflate(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, malformedEvent("no compressed rows")
	}
	n := int(b[0] & 7)
	if b[0]>>4&7 != 0 || n < 1 || n > 4 || len(b) < 1+n {
		return nil, malformedEvent("compression header %#x", b[0])
	}
	size := bigEndian(b[1 : 1+n])
	if size > maxInflatedRows {
		return nil, malformedEvent("%d bytes when unpacked", size)
	}
	if err := f.open(b[1+n:]); err != nil {
		return nil, err
	}
	f.buf.Reset()
	// The buffer grows with what is really there, not with what the header promises; one byte more shows a lie.
	got, err := f.buf.ReadFrom(io.LimitReader(f.zr, int64(size)+1))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if uint64(got) != size {
		return nil, malformedEvent("rows unpack to another size than %d bytes", size)
	}
	return f.buf.Bytes(), nil
}

func (f *rowsInflater) open(b []byte) error {
	f.src.Reset(b)
	if f.zr == nil {
		zr, err := zlib.NewReader(&f.src)
		if err != nil {
			return fmt.Errorf("unpack: %w", err)
		}
		f.zr = zr
		return nil
	}
	r, ok := f.zr.(zlib.Resetter)
	if !ok {
		return errors.New("unpack: the zlib reader cannot be used again")
	}
	if err := r.Reset(&f.src, nil); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	return nil
}
