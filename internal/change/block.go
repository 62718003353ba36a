package change

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	rowhookv1 "github.com/rowhook/rowhook/gen/rowhook/v1"
)

// ErrMalformed is wrapped by every error about bytes that are not what this package wrote.
var ErrMalformed = errors.New("malformed block")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// Header is the part of a block that says where it stands.
type Header struct {
	Source string
	// Epoch of the capture that wrote the block.
	Epoch uint64
	// FirstSeq is the seq of the first change, or of the next change if the block holds none.
	FirstSeq uint64
	Changes  uint32
	// Position after the block.
	Position Position
	// TypesVersion is the version of the event types that the block's changes are to be read with; 0 before versions were kept.
	TypesVersion uint64
}

// NextSeq returns the seq of the first change after the block.
func (h *Header) NextSeq() uint64 { return h.FirstSeq + uint64(h.Changes) }

// LastSeq returns the seq of the block's last change; without changes, that of the last change before it.
func (h *Header) LastSeq() uint64 { return h.NextSeq() - 1 }

// Block is a parsed block. It aliases the bytes given to Parse and may be read by many goroutines at once.
type Block struct {
	Header
	Tables   []*Table
	segments [][]byte
}

// ParseHeader reads the header alone.
func ParseHeader(b []byte) (Header, error) {
	blk, err := parse(b, true)
	if err != nil {
		return Header{}, err
	}
	return blk.Header, nil
}

// Parse reads a block. Changes are checked as Each walks them.
func Parse(b []byte) (*Block, error) { return parse(b, false) }

func parse(b []byte, headerOnly bool) (*Block, error) {
	blk := &Block{}
	var version uint64
	for len(b) > 0 {
		num, v, n, err := field(b)
		if err != nil {
			return nil, err
		}
		b = b[n:]
		switch num {
		case blockVersion:
			version = v.num
		case blockSource:
			blk.Source = string(v.bytes)
		case blockEpoch:
			blk.Epoch = v.num
		case blockFirstSeq:
			blk.FirstSeq = v.num
		case blockChanges:
			blk.Changes = uint32(v.num)
		case blockPosition:
			if blk.Position, err = UnmarshalPosition(v.bytes); err != nil {
				return nil, err
			}
		case blockTypesVersion:
			blk.TypesVersion = v.num
		case blockTables:
			if headerOnly {
				return checkVersion(blk, version)
			}
			if err := blk.parseTable(v.bytes); err != nil {
				return nil, err
			}
		case blockSegments:
			if headerOnly {
				return checkVersion(blk, version)
			}
			blk.segments = append(blk.segments, v.bytes)
		}
	}
	return checkVersion(blk, version)
}

func checkVersion(blk *Block, version uint64) (*Block, error) {
	if version != FormatVersion {
		return nil, malformed("format version %d, this release reads %d", version, FormatVersion)
	}
	return blk, nil
}

func (blk *Block) parseTable(b []byte) error {
	var p rowhookv1.Table
	if err := proto.Unmarshal(b, &p); err != nil {
		return malformed("table: %v", err)
	}
	t, err := tableFromProto(&p)
	if err != nil {
		return err
	}
	blk.Tables = append(blk.Tables, t)
	return nil
}

// Change is one row's change in its transaction.
type Change struct {
	Seq   uint64
	Op    Op
	Table *Table
	// TableIndex is the table's place among the block's tables.
	TableIndex int
	// Before and After are the row's images; one is empty for an insert or a delete.
	Before, After Row
	// Tx is shared by the changes of a segment.
	Tx *Transaction
	// Ordinal among the changes of the transaction that are in the log, from 0.
	Ordinal uint64
	// TableOrdinal among the rows of this table in the transaction, from 0. It does not depend on which tables are captured.
	TableOrdinal uint64
	// Last is set on the last change of a transaction.
	Last bool
}

// Row returns the image that names the row: after the change, or before it for a delete.
func (c *Change) Row() Row {
	if c.Op == Delete {
		return c.Before
	}
	return c.After
}

// Each calls f for every change in order and stops at its first error. The Change is reused: copy what must outlive the call.
func (blk *Block) Each(f func(*Change) error) error {
	c := Change{Seq: blk.FirstSeq}
	for _, s := range blk.segments {
		if err := blk.eachOf(s, &c, f); err != nil {
			return err
		}
	}
	if c.Seq != blk.NextSeq() {
		return malformed("%d changes, the header says %d", c.Seq-blk.FirstSeq, blk.Changes)
	}
	return nil
}

type segment struct {
	tx           *Transaction
	ordinal      uint64
	tableOrdinal []uint64
	commit       bool
	rest         []byte // from the first change on
	lastChange   int    // changes in rest
}

func (blk *Block) eachOf(b []byte, c *Change, f func(*Change) error) error {
	s, err := blk.openSegment(b)
	if err != nil {
		return err
	}
	c.Tx = s.tx
	for i, b := 0, s.rest; len(b) > 0; {
		num, v, n, err := field(b)
		if err != nil {
			return err
		}
		b = b[n:]
		if num != segmentChanges {
			continue
		}
		i++
		if err := blk.parseChange(v.bytes, c); err != nil {
			return err
		}
		c.Ordinal, c.TableOrdinal = s.ordinal, s.tableOrdinal[c.TableIndex]
		c.Last = s.commit && i == s.lastChange
		s.ordinal++
		s.tableOrdinal[c.TableIndex]++
		if err := f(c); err != nil {
			return err
		}
		c.Seq++
	}
	return nil
}

func (blk *Block) openSegment(b []byte) (*segment, error) {
	s := &segment{tx: &Transaction{}, tableOrdinal: make([]uint64, len(blk.Tables))}
	for len(b) > 0 {
		num, v, n, err := field(b)
		if err != nil {
			return nil, err
		}
		if num == segmentChanges {
			if s.rest == nil {
				s.rest = b
			}
			s.lastChange++
		}
		b = b[n:]
		switch num {
		case segmentGTID:
			s.tx.GTID = string(v.bytes)
		case segmentCommitTime:
			s.tx.CommitTime = int64(v.num)
		case segmentFile:
			s.tx.File = string(v.bytes)
		case segmentOffset:
			s.tx.Offset = v.num
		case segmentServerID:
			s.tx.ServerID = uint32(v.num)
		case segmentFirstOrdinal:
			s.ordinal = v.num
		case segmentCommit:
			s.commit = v.num != 0
		case segmentFileCreated:
			s.tx.FileCreated = uint32(v.num)
		case segmentBefore:
			if err := blk.countBefore(s, v.bytes); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

func (blk *Block) countBefore(s *segment, b []byte) error {
	var r rowhookv1.TableRows
	if err := proto.Unmarshal(b, &r); err != nil {
		return malformed("rows before: %v", err)
	}
	for i, t := range blk.Tables {
		// A table altered within a block stands in it twice, under one name.
		if t.Schema == r.Schema && t.Name == r.Name {
			s.tableOrdinal[i] = r.Rows
		}
	}
	return nil
}

func (blk *Block) parseChange(b []byte, c *Change) error {
	var before, after, beforeAbsent, afterAbsent []byte
	c.Op, c.TableIndex = 0, 0
	for len(b) > 0 {
		num, v, n, err := field(b)
		if err != nil {
			return err
		}
		b = b[n:]
		switch num {
		case changeOp:
			c.Op = Op(v.num)
		case changeTable:
			if v.num >= uint64(len(blk.Tables)) {
				return malformed("change of table %d, the block has %d", v.num, len(blk.Tables))
			}
			c.TableIndex = int(v.num)
		case changeBefore:
			before = v.bytes
		case changeAfter:
			after = v.bytes
		case changeBeforeAbsent:
			beforeAbsent = v.bytes
		case changeAfterAbsent:
			afterAbsent = v.bytes
		}
	}
	if len(blk.Tables) == 0 || c.Op < Insert || c.Op > Snapshot {
		return malformed("change with operation %d of %d tables", c.Op, len(blk.Tables))
	}
	c.Table = blk.Tables[c.TableIndex]
	c.Before = Row{Table: c.Table, data: before, absent: beforeAbsent, present: c.Op == Update || c.Op == Delete}
	c.After = Row{Table: c.Table, data: after, absent: afterAbsent, present: c.Op != Delete}
	return nil
}

type wireValue struct {
	num   uint64
	bytes []byte
}

// field reads one field; n is its whole length. Nearly all tags and lengths of a row are one byte, or two.
func field(b []byte) (num protowire.Number, v wireValue, n int, err error) {
	tag, tn := uvarint(b)
	if tn <= 0 || tag>>3 == 0 || tag>>3 > math.MaxInt32 {
		return 0, v, 0, malformed("bad field tag")
	}
	num, b = protowire.Number(tag>>3), b[tn:]
	switch protowire.Type(tag & 7) {
	case protowire.VarintType:
		u, un := uvarint(b)
		if un <= 0 {
			return 0, v, 0, malformed("field %d: bad varint", num)
		}
		return num, wireValue{num: u}, tn + un, nil
	case protowire.BytesType:
		l, ln := uvarint(b)
		if ln <= 0 || l > uint64(len(b)-ln) {
			return 0, v, 0, malformed("field %d: length beyond its end", num)
		}
		end := ln + int(l)
		return num, wireValue{bytes: b[ln:end:end]}, tn + end, nil
	case protowire.Fixed32Type:
		if len(b) < 4 {
			return 0, v, 0, malformed("field %d: cut off", num)
		}
		return num, wireValue{num: uint64(binary.LittleEndian.Uint32(b))}, tn + 4, nil
	case protowire.Fixed64Type:
		if len(b) < 8 {
			return 0, v, 0, malformed("field %d: cut off", num)
		}
		return num, wireValue{num: binary.LittleEndian.Uint64(b)}, tn + 8, nil
	default:
		return 0, v, 0, malformed("field %d: wire type %d", num, tag&7)
	}
}

// uvarint is binary.Uvarint with its usual cases in line.
func uvarint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	if len(b) > 1 && b[1] < 0x80 {
		return uint64(b[0]&0x7f) | uint64(b[1])<<7, 2
	}
	return binary.Uvarint(b)
}
