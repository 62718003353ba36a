package change

import (
	"bytes"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Row is one image of a row. The zero Row is no image at all.
type Row struct {
	Table   *Table
	data    []byte
	absent  []byte
	present bool
}

// Present reports whether there is an image.
func (r Row) Present() bool { return r.present }

// State tells a value from NULL, and NULL from a column that the image did not carry.
type State uint8

// The states of a value.
const (
	Absent State = iota
	Null
	Set
)

// Value is one column's value. Its bytes alias the block.
type Value struct {
	State State
	Kind  Kind
	num   uint64
	bytes []byte
}

// Int returns a KindInt value.
func (v Value) Int() int64 { return protowire.DecodeZigZag(v.num) }

// Uint returns a KindUint value.
func (v Value) Uint() uint64 { return v.num }

// Float returns a KindFloat value.
func (v Value) Float() float32 { return math.Float32frombits(uint32(v.num)) }

// Double returns a KindDouble value.
func (v Value) Double() float64 { return math.Float64frombits(v.num) }

// Bytes returns the bytes of a value of any other kind; the caller must not modify them.
func (v Value) Bytes() []byte { return v.bytes }

// Equal reports whether both are the same value, both NULL, or both absent.
func (v Value) Equal(o Value) bool {
	return v.State == o.State && v.Kind == o.Kind && v.num == o.num && bytes.Equal(v.bytes, o.bytes)
}

// Values appends the value of every column, in the order of the table's columns, to dst[:0]. It is the one pass over a row
// that everything else builds on; dst may be kept between rows to save the allocation.
func (r Row) Values(dst []Value) ([]Value, error) {
	cols := r.Table.Columns
	dst = slices.Grow(dst[:0], len(cols))[:len(cols)]
	for i := range cols {
		dst[i] = Value{State: r.without(i), Kind: cols[i].Kind}
	}
	i := 0
	for b := r.data; len(b) > 0; {
		num, v, n, err := field(b)
		if err != nil {
			return nil, err
		}
		b = b[n:]
		for i < len(dst) && cols[i].Number < uint32(num) {
			i++
		}
		// Fields come in the order of the columns; one that no column names belongs to no reader.
		if i < len(dst) && cols[i].Number == uint32(num) && dst[i].State != Absent {
			dst[i].State, dst[i].num, dst[i].bytes = Set, v.num, v.bytes
		}
	}
	return dst, nil
}

// without is the state of a column that has no field.
func (r Row) without(i int) State {
	if !r.present || len(r.absent) > 0 && r.isAbsent(i) {
		return Absent
	}
	return Null
}

// Value returns the value of column i.
func (r Row) Value(i int) (Value, error) {
	c := &r.Table.Columns[i]
	out := Value{State: r.without(i), Kind: c.Kind}
	if out.State == Absent {
		return out, nil
	}
	for b := r.data; len(b) > 0; {
		num, v, n, err := field(b)
		if err != nil {
			return Value{}, err
		}
		if uint32(num) == c.Number {
			out.State, out.num, out.bytes = Set, v.num, v.bytes
			return out, nil
		}
		if uint32(num) > c.Number {
			break
		}
		b = b[n:]
	}
	return out, nil
}

func (r Row) isAbsent(i int) bool {
	return i/8 < len(r.absent) && r.absent[i/8]&(1<<(i%8)) != 0
}
