package change

import (
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// FormatVersion is the version of the block, position and record formats.
const FormatVersion = 1

// Field numbers of block.proto that are written and read by hand.
const (
	blockVersion  = 1
	blockSource   = 2
	blockEpoch    = 3
	blockFirstSeq = 4
	blockChanges  = 5
	blockPosition = 6
	blockTables   = 7
	blockSegments = 8
	// blockTypesVersion is written before the tables, in spite of its number.
	blockTypesVersion = 9

	segmentGTID         = 1
	segmentCommitTime   = 2
	segmentFile         = 3
	segmentOffset       = 4
	segmentServerID     = 5
	segmentFirstOrdinal = 6
	segmentBefore       = 7
	segmentBegin        = 8
	segmentCommit       = 9
	segmentFileCreated  = 10
	segmentChanges      = 15

	changeOp           = 1
	changeTable        = 2
	changeBefore       = 3
	changeAfter        = 4
	changeBeforeAbsent = 5
	changeAfterAbsent  = 6
)

// A length is not known before its content is written. Its place is kept with a varint padded to this width, which every
// Protobuf parser reads; content that needs more is moved. 3 bytes reach 2 MiB, 4 reach 256 MiB.
const (
	rowLengthWidth     = 3
	segmentLengthWidth = 4
)

// Transaction is what is known of a transaction when its first row is read.
type Transaction struct {
	// GTID as text; empty if the source has none.
	GTID string
	// CommitTime at the server that committed it first, in microseconds of the Unix epoch.
	CommitTime int64
	// File, Offset of its start in the binlog it was read from.
	File   string
	Offset uint64
	// ServerID of the server that committed it.
	ServerID uint32
	// FileCreated is the creation time of the binlog file in seconds of the Unix epoch; set only where there is no GTID.
	FileCreated uint32
}

// Builder writes blocks of one source. It may be reused after Finish, and must not be used by two goroutines at once.
//
// Calls nest like the format: BeginSegment, then for each change BeginChange, BeginRow, values, EndRow, EndChange, and EndSegment last.
type Builder struct {
	source string
	epoch  uint64
	types  uint64

	// body begins with headRoom bytes in which Finish writes the header, so that a large block need not be copied.
	body    []byte
	tables  []*Table
	index   map[*Table]uint32
	changes uint32

	segment, change, row int // offsets of the open lengths

	head []byte // of the last block; its memory is used again
}

// NewBuilder returns a Builder for the named source, whose blocks carry the writer's epoch.
func NewBuilder(source string, epoch uint64) *Builder {
	return &Builder{source: source, epoch: epoch, index: map[*Table]uint32{}, body: make([]byte, headRoom, 2*headRoom)}
}

// SetTypesVersion sets the version of the event types that the block being built and all blocks after it are to be read with. It
// is 0 in a new Builder, which is not written. Who changes it between changes finishes the block first.
func (b *Builder) SetTypesVersion(v uint64) { b.types = v }

// Size returns the bytes of the block so far, without its header.
func (b *Builder) Size() int { return len(b.body) - headRoom }

// Changes returns the number of changes in the block so far.
func (b *Builder) Changes() uint32 { return b.changes }

// BeginSegment opens a transaction, or goes on with one in a new block: firstOrdinal changes of it are in the log already, and
// before says how many by table. begin is true when the segment holds the transaction's start.
func (b *Builder) BeginSegment(tx *Transaction, firstOrdinal uint64, before []TableRows, begin bool) {
	b.body, b.segment = openLength(b.body, blockSegments, segmentLengthWidth)
	p := b.body
	p = appendString(p, segmentGTID, tx.GTID)
	p = appendUint(p, segmentCommitTime, uint64(tx.CommitTime))
	p = appendString(p, segmentFile, tx.File)
	p = appendUint(p, segmentOffset, tx.Offset)
	p = appendUint(p, segmentServerID, uint64(tx.ServerID))
	p = appendUint(p, segmentFirstOrdinal, firstOrdinal)
	for _, r := range tableRowsProto(before) {
		p = protowire.AppendTag(p, segmentBefore, protowire.BytesType)
		p = protowire.AppendVarint(p, uint64(proto.Size(r)))
		p, _ = proto.MarshalOptions{}.MarshalAppend(p, r) // a message of two valid strings cannot fail
	}
	p = appendUint(p, segmentBegin, protowire.EncodeBool(begin))
	b.body = appendUint(p, segmentFileCreated, uint64(tx.FileCreated))
}

// EndSegment closes the segment; commit says that the transaction ends here.
func (b *Builder) EndSegment(commit bool) {
	b.body = appendUint(b.body, segmentCommit, protowire.EncodeBool(commit))
	b.body = closeLength(b.body, b.segment, segmentLengthWidth)
}

// BeginChange opens a change of a row of t. The table enters the block with its first change.
func (b *Builder) BeginChange(op Op, t *Table) {
	i, ok := b.index[t]
	if !ok {
		i = uint32(len(b.tables))
		b.tables, b.index[t] = append(b.tables, t), i
	}
	b.body, b.change = openLength(b.body, segmentChanges, rowLengthWidth)
	b.body = appendUint(b.body, changeOp, uint64(op))
	b.body = appendUint(b.body, changeTable, uint64(i))
}

// EndChange closes the change.
func (b *Builder) EndChange() {
	b.body = closeLength(b.body, b.change, rowLengthWidth)
	b.changes++
}

// DropChange takes back the open change, for a row that is in the log already.
func (b *Builder) DropChange() {
	b.body = b.body[:b.change-1] // the tag of segmentChanges is one byte
}

// BeginRow opens the row image before the change, or after it, and returns the buffer to append values to with the Append
// functions of this package; EndRow takes the buffer back.
func (b *Builder) BeginRow(before bool) []byte {
	num := protowire.Number(changeAfter)
	if before {
		num = changeBefore
	}
	b.body, b.row = openLength(b.body, num, rowLengthWidth)
	return b.body
}

// EndRow closes the row image. absent is the bitmap of columns that the image did not carry, nil if it carried all.
func (b *Builder) EndRow(p []byte, before bool, absent []byte) {
	b.body = closeLength(p, b.row, rowLengthWidth)
	num := protowire.Number(changeAfterAbsent)
	if before {
		num = changeBeforeAbsent
	}
	b.body = AppendBytes(b.body, uint32(num), absent, len(absent) == 0)
}

// Finish returns the block in a buffer of its own and makes the builder ready for the next one.
func (b *Builder) Finish(firstSeq uint64, pos Position) ([]byte, error) {
	head, err := b.appendHead(b.head[:0], firstSeq, pos)
	if err != nil {
		return nil, err
	}
	b.head = head
	n := len(b.body)
	fits := cap(b.body)-n <= n/4 // or the block would hold much more memory than it needs
	var out []byte
	if n >= leastGiven && fits && len(head) <= headRoom {
		out = b.body[headRoom-len(head):]
		copy(out, head)
		b.body = nil
	} else {
		out = make([]byte, 0, len(head)+b.Size())
		out = append(append(out, head...), b.body[headRoom:]...)
	}
	if b.body == nil || n >= leastGiven && !fits || cap(b.body) > mostPlanned {
		b.body = make([]byte, headRoom, min(n+n/16, mostPlanned)) // the next block is probably as large
	}
	b.body, b.tables, b.changes = b.body[:headRoom], b.tables[:0], 0
	clear(b.index)
	return out, nil
}

const (
	// headRoom is as large as headers usually are, with a table or some.
	headRoom = 4 << 10
	// leastGiven is from where on a copy costs more than a new buffer.
	leastGiven = 64 << 10
	// mostPlanned is the largest buffer that is made ready for a next block.
	mostPlanned = 2 << 20
)

// appendHead appends what stands before the segments.
func (b *Builder) appendHead(out []byte, firstSeq uint64, pos Position) ([]byte, error) {
	position, err := pos.Marshal()
	if err != nil {
		return nil, err
	}
	out = appendUint(out, blockVersion, FormatVersion)
	out = appendString(out, blockSource, b.source)
	out = appendUint(out, blockEpoch, b.epoch)
	out = appendUint(out, blockFirstSeq, firstSeq)
	out = appendUint(out, blockChanges, uint64(b.changes))
	out = AppendBytes(out, blockPosition, position, false)
	out = appendUint(out, blockTypesVersion, b.types)
	for _, t := range b.tables {
		m := t.proto()
		out = protowire.AppendTag(out, blockTables, protowire.BytesType)
		out = protowire.AppendVarint(out, uint64(proto.Size(m)))
		if out, err = (proto.MarshalOptions{}).MarshalAppend(out, m); err != nil {
			return nil, fmt.Errorf("encode table %s: %w", t.FullName(), err)
		}
	}
	return out, nil
}

// AppendInt appends a KindInt value.
func AppendInt(p []byte, number uint32, v int64) []byte {
	p = protowire.AppendVarint(p, uint64(number)<<3|uint64(protowire.VarintType))
	return protowire.AppendVarint(p, protowire.EncodeZigZag(v))
}

// AppendUint appends a KindUint value.
func AppendUint(p []byte, number uint32, v uint64) []byte {
	p = protowire.AppendVarint(p, uint64(number)<<3|uint64(protowire.VarintType))
	return protowire.AppendVarint(p, v)
}

// AppendFloat appends a KindFloat value.
func AppendFloat(p []byte, number uint32, v float32) []byte {
	p = protowire.AppendVarint(p, uint64(number)<<3|uint64(protowire.Fixed32Type))
	return binary.LittleEndian.AppendUint32(p, math.Float32bits(v))
}

// AppendDouble appends a KindDouble value.
func AppendDouble(p []byte, number uint32, v float64) []byte {
	p = protowire.AppendVarint(p, uint64(number)<<3|uint64(protowire.Fixed64Type))
	return binary.LittleEndian.AppendUint64(p, math.Float64bits(v))
}

// AppendBytes appends a value of any other kind, unless skip is set.
func AppendBytes(p []byte, number uint32, v []byte, skip bool) []byte {
	if skip {
		return p
	}
	p = protowire.AppendVarint(p, uint64(number)<<3|uint64(protowire.BytesType))
	p = protowire.AppendVarint(p, uint64(len(v)))
	return append(p, v...)
}

// OpenValue opens a length-delimited value whose length is not known yet; CloseValue takes the returned offset.
// It serves values that are rendered piece by piece: dates, decimals, JSON.
func OpenValue(p []byte, number uint32) ([]byte, int) {
	p = protowire.AppendVarint(p, uint64(number)<<3|uint64(protowire.BytesType))
	p = append(p, 0)
	return p, len(p) - 1
}

// CloseValue closes a value that OpenValue opened.
func CloseValue(p []byte, at int) []byte { return closeLength(p, at, 1) }

func openLength(p []byte, num protowire.Number, width int) ([]byte, int) {
	p = protowire.AppendTag(p, num, protowire.BytesType)
	at := len(p)
	return append(p, 0, 0, 0, 0)[:at+width], at // the longest width is 4
}

// closeLength writes the length of p[at+width:] at p[at:], padded to width, and moves the content where it does not fit.
func closeLength(p []byte, at, width int) []byte {
	n := len(p) - at - width
	if need := protowire.SizeVarint(uint64(n)); need > width {
		p = append(p, make([]byte, need-width)...)
		copy(p[at+need:], p[at+width:at+width+n])
		width = need
	}
	for i := range width - 1 {
		p[at+i] = byte(n)&0x7f | 0x80
		n >>= 7
	}
	p[at+width-1] = byte(n)
	return p
}

func appendUint(p []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return p
	}
	p = protowire.AppendTag(p, num, protowire.VarintType)
	return protowire.AppendVarint(p, v)
}

func appendString(p []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return p
	}
	p = protowire.AppendTag(p, num, protowire.BytesType)
	return protowire.AppendString(p, s)
}
