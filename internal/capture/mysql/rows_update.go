package mysql

import (
	"bytes"

	"github.com/rowhook/rowhook/internal/change"
)

// An UPDATE changes few columns of a row and both images carry all. Values that have the same bytes in the binlog have the same bytes
// in the block, so those of the second image are copied from the first one.

// lastImage is what was decoded as the before image.
type lastImage struct {
	raw    []byte // as it stands in the event, without its bitmap
	values []lastValue
	size   int // of the image in the block
}

// lastValue is one column of it.
type lastValue struct {
	from, to int32 // in raw; from is negative for NULL
	end      int32 // in the image in the block, where the next value begins
}

// writeUpdate writes an update whose images carry all columns.
func (d *rowsDecoder) writeUpdate(b *change.Builder, out Rows) error {
	b.BeginChange(d.op, d.plan.table)
	p, err := d.appendBefore(b.BeginRow(true))
	if err != nil {
		b.DropChange()
		return err
	}
	b.EndRow(p, true, nil)
	end := b.Size()
	p = b.BeginRow(false)
	start := len(p) - (b.Size() - end) - d.last.size
	if p, err = d.appendAfter(p, start); err != nil {
		b.DropChange()
		return err
	}
	b.EndRow(p, false, nil)
	b.EndChange()
	return out.Wrote()
}

// appendBefore is appendImage for all columns, and remembers where each value stands.
func (d *rowsDecoder) appendBefore(p []byte) ([]byte, error) {
	nulls, err := d.nulls(&d.before)
	if err != nil {
		return p, err
	}
	start, raw, rest, columns := len(p), d.rest, d.rest, d.plan.columns
	if cap(d.last.values) < len(columns) {
		d.last.values = make([]lastValue, len(columns))
	}
	values := d.last.values[:len(columns)]
	for i := range columns {
		if nulls[i>>3]&(1<<(i&7)) != 0 {
			values[i] = lastValue{from: -1, end: int32(len(p) - start)}
			continue
		}
		c := &columns[i]
		v, after, ok := c.take(rest)
		if !ok {
			return p, d.cutOff()
		}
		rest = after
		if p, ok = d.appendValue(p, c, v); !ok {
			return p, d.refuseValue(c, v)
		}
		to := len(raw) - len(rest)
		values[i] = lastValue{from: int32(to - len(v)), to: int32(to), end: int32(len(p) - start)}
	}
	d.last.raw, d.last.size, d.rest = raw, len(p)-start, rest
	return p, nil
}

// appendAfter appends the second image; the first one begins at p[start].
func (d *rowsDecoder) appendAfter(p []byte, start int) ([]byte, error) {
	nulls, err := d.nulls(&d.after)
	if err != nil {
		return p, err
	}
	rest, columns := d.rest, d.plan.columns
	values := d.last.values[:len(columns)]
	// The first image from same to here is what is to be copied.
	same, here := int32(0), int32(0)
	for i := range columns {
		c, last := &columns[i], &values[i]
		before := here
		here = last.end
		if nulls[i>>3]&(1<<(i&7)) != 0 {
			if last.from >= 0 {
				p = append(p, p[start+int(same):start+int(before)]...)
				same = here
			}
			continue
		}
		v, after, ok := c.take(rest)
		if !ok {
			return p, d.cutOff()
		}
		rest = after
		if last.from >= 0 && bytes.Equal(v, d.last.raw[last.from:last.to]) {
			continue
		}
		p = append(p, p[start+int(same):start+int(before)]...)
		same = here
		if p, ok = d.appendValue(p, c, v); !ok {
			return p, d.refuseValue(c, v)
		}
	}
	d.rest = rest
	return append(p, p[start+int(same):start+int(here)]...), nil
}
