package mysql

import (
	"encoding/binary"
	"fmt"

	"github.com/rowhook/rowhook/internal/change"
)

func (rc *rowColumn) planInteger(c *mappedColumn) change.Kind {
	ops := map[byte]struct {
		op   decodeOp
		size uint32
	}{typeTiny: {opInt8, 1}, typeShort: {opInt16, 2}, typeInt24: {opInt24, 3}, typeLong: {opInt32, 4}, typeLongLong: {opInt64, 8}}
	o := ops[c.typ]
	if c.unsigned {
		return rc.fixed(o.op+opUint8-opInt8, o.size, change.Uint)
	}
	return rc.fixed(o.op, o.size, change.Int)
}

func (rc *rowColumn) planBit(c *mappedColumn) (change.Kind, string) {
	bits := uint32(c.meta[1])*8 + uint32(c.meta[0])
	if c.meta[0] > 7 || bits < 1 || bits > 64 {
		return 0, fmt.Sprintf("BIT of %d bits", bits)
	}
	return rc.fixed(opBit, (bits+7)/8, change.Uint), ""
}

func int24(v []byte) int64 {
	_ = v[2]
	return int64(int32(uint32(v[0])<<8|uint32(v[1])<<16|uint32(v[2])<<24) >> 8)
}

func uint24(v []byte) uint32 {
	_ = v[2]
	return uint32(v[0]) | uint32(v[1])<<8 | uint32(v[2])<<16
}

// appendTag appends a Protobuf tag; those of the first 15 columns are one byte.
func appendTag(p []byte, tag uint32) []byte {
	if tag < 0x80 {
		return append(p, byte(tag))
	}
	return binary.AppendUvarint(p, uint64(tag))
}

// appendInt appends a signed integer; the zigzag of a value near zero is one byte.
func (rc *rowColumn) appendInt(p []byte, v int64) []byte {
	return rc.appendUint(p, uint64(v<<1)^uint64(v>>63))
}

func (rc *rowColumn) appendUint(p []byte, v uint64) []byte {
	p = appendTag(p, rc.tag)
	if v < 0x80 {
		return append(p, byte(v))
	}
	return binary.AppendUvarint(p, v)
}

// appendInteger appends an integer, a YEAR or a BIT.
func (rc *rowColumn) appendInteger(p, v []byte) []byte {
	switch rc.op {
	case opInt8:
		return rc.appendInt(p, int64(int8(v[0])))
	case opInt16:
		return rc.appendInt(p, int64(int16(binary.LittleEndian.Uint16(v))))
	case opInt24:
		return rc.appendInt(p, int24(v))
	case opInt32:
		return rc.appendInt(p, int64(int32(binary.LittleEndian.Uint32(v))))
	case opInt64:
		return rc.appendInt(p, int64(binary.LittleEndian.Uint64(v)))
	case opUint8:
		return rc.appendUint(p, uint64(v[0]))
	case opUint16:
		return rc.appendUint(p, uint64(binary.LittleEndian.Uint16(v)))
	case opUint24:
		return rc.appendUint(p, uint64(uint24(v)))
	case opUint32:
		return rc.appendUint(p, uint64(binary.LittleEndian.Uint32(v)))
	case opUint64:
		return rc.appendUint(p, binary.LittleEndian.Uint64(v))
	case opYear:
		return rc.appendUint(p, year(v[0]))
	default:
		return rc.appendUint(p, bigEndian(v)) // BIT
	}
}

// year reads a YEAR: 0 is the zero year, 1 is 1901.
func year(b byte) uint64 {
	if b == 0 {
		return 0
	}
	return 1900 + uint64(b)
}
