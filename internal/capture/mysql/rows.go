package mysql

import (
	"fmt"
	"unicode/utf8"

	"github.com/rowhook/rowhook/internal/change"
)

// Types of the events that carry rows.
const (
	eventWriteRowsV1          = 23
	eventUpdateRowsV1         = 24
	eventDeleteRowsV1         = 25
	eventWriteRowsV2          = 30
	eventUpdateRowsV2         = 31
	eventDeleteRowsV2         = 32
	eventPartialUpdateRows    = 39
	eventWriteRowsCompressed  = 166
	eventUpdateRowsCompressed = 167
	eventDeleteRowsCompressed = 168
	rowsPostHeader            = 8        // table id and flags
	rowsFlagStatementEnd      = 1        // table ids are void after this event
	dummyTableID              = 0xffffff // of an event without rows that only ends a statement
)

// rowsDecoder is the state of the rows event being decoded; its buffers are kept from event to event.
type rowsDecoder struct {
	plan *plan
	op   change.Op
	// before and after are the columns that the images carry; an insert has only after, a delete only before.
	before, after image
	rest          []byte
	// last is the before image of the update being decoded, if both images carry all columns.
	last lastImage
	// valueByValue decodes both images of an update, to compare; set by tests.
	valueByValue bool
	json         jsonText
	columns      columnInflater
}

// image is which columns the row images of one event carry.
type image struct {
	used bool
	// present has a bit for each column, as it stands in the event; full says that all are set.
	present []byte
	full    bool
	columns int
	// absent is the bitmap for change.Builder, nil if every column of the log is there.
	absent []byte
	buffer []byte
}

// Rows decodes one event that carries rows, of the given type, and hands its rows to out. Rows of a table that is not wanted are
// passed over without looking at them. The body is not kept.
func (d *Decoder) Rows(eventType byte, body []byte, out Rows) error {
	op, v2, compressed := rowsEvent(eventType)
	if len(body) < rowsPostHeader {
		return malformedEvent("rows event of %d bytes", len(body))
	}
	id := uint48(body)
	d.statementEnded = body[6]&rowsFlagStatementEnd != 0
	known, ok := d.ids[id]
	if !ok {
		if id == dummyTableID {
			return nil
		}
		return malformedEvent("rows of table id %d, of which no TABLE_MAP was seen", id)
	}
	p := known.plan
	if !p.wanted {
		return nil
	}
	if p.err != nil {
		return p.err
	}
	if op == 0 {
		return p.refuseEvent(eventType)
	}
	if err := d.rows.open(p, op, body, v2); err != nil {
		return fmt.Errorf("rows of %s.%s: %w", p.schema, p.name, err)
	}
	if compressed {
		var err error
		if d.rows.rest, err = d.inflater.inflate(d.rows.rest); err != nil {
			return fmt.Errorf("compressed rows of %s.%s: %w", p.schema, p.name, err)
		}
	}
	return d.rows.each(out)
}

func rowsEvent(eventType byte) (op change.Op, v2, compressed bool) {
	switch eventType {
	case eventWriteRowsV1, eventWriteRowsV2, eventWriteRowsCompressed:
		op = change.Insert
	case eventUpdateRowsV1, eventUpdateRowsV2, eventUpdateRowsCompressed:
		op = change.Update
	case eventDeleteRowsV1, eventDeleteRowsV2, eventDeleteRowsCompressed:
		op = change.Delete
	}
	return op, eventType >= eventWriteRowsV2 && eventType <= eventDeleteRowsV2, eventType >= eventWriteRowsCompressed
}

func (p *plan) refuseEvent(eventType byte) error {
	if eventType == eventPartialUpdateRows {
		return fmt.Errorf("%w: %s.%s: the row holds only the changed parts of a JSON document (PARTIAL_UPDATE_ROWS); run SET GLOBAL binlog_row_value_options='' and reconnect the writers",
			ErrUnsupportedColumn, p.schema, p.name)
	}
	return malformedEvent("event type %d carries no rows of %s.%s that are known", eventType, p.schema, p.name)
}

// open reads what stands before the rows.
func (d *rowsDecoder) open(p *plan, op change.Op, body []byte, v2 bool) error {
	d.plan, d.op = p, op
	r := eventReader{b: body[rowsPostHeader:]}
	if v2 {
		extra := int(littleEndian(r.take(2)))
		r.take(extra - 2) // the length counts itself
	}
	if n := r.count(); n != len(p.columns) && !r.failed {
		return malformedEvent("%d columns, TABLE_MAP has %d", n, len(p.columns))
	}
	bitmap := (len(p.columns) + 7) / 8
	d.before.used, d.after.used = op != change.Insert, op != change.Delete
	carried := 0
	for _, im := range [...]*image{&d.before, &d.after} {
		if im.used {
			im.open(p, r.take(bitmap))
			carried += im.columns
		}
	}
	if r.failed {
		return malformedEvent("cut off before the first row")
	}
	if carried == 0 {
		return malformedEvent("rows without a column cannot be counted")
	}
	d.rest = r.b
	return nil
}

func (im *image) open(p *plan, present []byte) {
	im.present, im.columns, im.absent = present, 0, nil
	if present == nil {
		return
	}
	for i := range p.columns {
		if im.has(i) {
			im.columns++
		}
	}
	if im.full = im.columns == len(p.columns); im.full {
		return
	}
	n := (len(p.table.Columns) + 7) / 8
	if cap(im.buffer) < n {
		im.buffer = make([]byte, n)
	}
	im.buffer = im.buffer[:n]
	clear(im.buffer)
	for i := range p.columns {
		if at := p.columns[i].index; at >= 0 && !im.has(i) {
			im.buffer[at/8] |= 1 << (at % 8)
			im.absent = im.buffer
		}
	}
}

func (im *image) has(i int) bool { return im.present[i/8]&(1<<(i%8)) != 0 }

// each decodes the rows one after the other.
func (d *rowsDecoder) each(out Rows) (err error) {
	b, skip, err := out.BeginRows(d.op, d.plan.table)
	if err != nil {
		return err
	}
	defer func() {
		if end := out.EndRows(); err == nil {
			err = end
		}
	}()
	for len(d.rest) > 0 {
		if skip > 0 {
			skip--
			err = d.pass(out)
		} else {
			err = d.write(b, out)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pass goes over a row that is in the log already.
func (d *rowsDecoder) pass(out Rows) error {
	for _, im := range [...]*image{&d.before, &d.after} {
		if im.used {
			if err := d.passImage(im); err != nil {
				return err
			}
		}
	}
	return out.Dropped()
}

func (d *rowsDecoder) write(b *change.Builder, out Rows) error {
	if d.op == change.Update && d.before.full && d.after.full && !d.valueByValue {
		return d.writeUpdate(b, out)
	}
	b.BeginChange(d.op, d.plan.table)
	for _, im := range [...]*image{&d.before, &d.after} {
		if !im.used {
			continue
		}
		before := im == &d.before
		p, err := d.appendImage(b.BeginRow(before), im)
		if err != nil {
			b.DropChange()
			return err
		}
		b.EndRow(p, before, im.absent)
	}
	b.EndChange()
	return out.Wrote()
}

// nulls takes the bitmap that stands before a row image: a bit for each column that the image carries.
func (d *rowsDecoder) nulls(im *image) ([]byte, error) {
	n := (im.columns + 7) / 8
	if n > len(d.rest) {
		return nil, d.cutOff()
	}
	v := d.rest[:n]
	d.rest = d.rest[n:]
	return v, nil
}

func (d *rowsDecoder) cutOff() error {
	return malformedEvent("a row of %s.%s is cut off", d.plan.schema, d.plan.name)
}

func (d *rowsDecoder) passImage(im *image) error {
	nulls, err := d.nulls(im)
	if err != nil {
		return err
	}
	carried := -1
	for i := range d.plan.columns {
		if !im.has(i) {
			continue
		}
		carried++
		if nulls[carried/8]&(1<<(carried%8)) != 0 {
			continue
		}
		var ok bool
		if _, d.rest, ok = d.plan.columns[i].take(d.rest); !ok {
			return d.cutOff()
		}
	}
	return nil
}

// appendImage appends the values of one row image.
func (d *rowsDecoder) appendImage(p []byte, im *image) ([]byte, error) {
	nulls, err := d.nulls(im)
	if err != nil {
		return p, err
	}
	rest, columns := d.rest, d.plan.columns
	carried := -1
	for i := range columns {
		if !im.full && !im.has(i) {
			continue
		}
		carried++
		if nulls[carried>>3]&(1<<(carried&7)) != 0 {
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
	}
	d.rest = rest
	return p, nil
}

// take splits the value of the column off b.
func (rc *rowColumn) take(b []byte) (v, rest []byte, ok bool) {
	n, prefix := uint(rc.size), uint(rc.prefix)
	if uint(len(b)) < prefix {
		return nil, nil, false
	}
	switch prefix {
	case 0:
	case 1:
		n = uint(b[0])
	case 2:
		n = uint(b[0]) | uint(b[1])<<8
	case 3:
		n = uint(uint24(b))
	default:
		n = uint(littleEndian(b[:4]))
	}
	b = b[prefix:]
	if n > uint(len(b)) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// refuseValue says which column holds a value that is not what its type allows. Of the value itself, no more gets into the error than
// the bytes that are no character.
func (d *rowsDecoder) refuseValue(c *rowColumn, v []byte) error {
	why := "a value that its type does not allow"
	switch c.op {
	case opUTF8, opASCII, opText:
		at, n := c.coding.invalid(v)
		why = fmt.Sprintf("text that is not valid %s: 0x%X, at byte %d of %d, is no character", c.coding.charset, v[at:at+n], at+1, len(v))
	case opJSON:
		why = "a JSON document that cannot be read"
	case opCompressed:
		if v, ok := d.columns.inflate(v); ok {
			return d.refuseValue(c.unpacked, v)
		}
		why = "a compressed value that cannot be unpacked"
	}
	return fmt.Errorf("%w: %s.%s.%s holds %s; name it in exclude_columns to go on without it",
		ErrUnsupportedColumn, d.plan.schema, d.plan.name, c.name, why)
}

// appendValue appends one value with its tag and reports whether it is one of the column's type. v has the length that the column
// says, so values of fixed size need no check here.
func (d *rowsDecoder) appendValue(p []byte, c *rowColumn, v []byte) ([]byte, bool) {
	switch c.op {
	case opSkip:
		return p, true
	case opInt8, opInt16, opInt24, opInt32, opInt64, opUint8, opUint16, opUint24, opUint32, opUint64, opYear, opBit:
		return c.appendInteger(p, v), true
	case opFloat, opDouble:
		return append(appendTag(p, c.tag), v...), true // Protobuf stores them as the binlog does
	case opUTF8:
		return c.appendBytes(p, v), utf8.Valid(v)
	case opASCII:
		return c.appendBytes(p, v), isASCII(v)
	case opLatin1:
		return c.appendLatin1(p, v), true
	case opBytes:
		return c.appendBytes(p, v), true
	case opText:
		return c.appendText(p, v)
	case opVector:
		return c.appendBytes(p, v), len(v)%4 == 0
	case opUUID, opInet4, opInet6:
		return c.appendDisguised(p, v)
	case opCompressed:
		v, ok := d.columns.inflate(v)
		if !ok {
			return p, false
		}
		return d.appendValue(p, c.unpacked, v)
	case opPaddedBytes:
		return c.appendPadded(p, v)
	case opEnum:
		return c.appendEnum(p, v)
	case opSet:
		return c.appendSet(p, v)
	case opDecimal:
		p, at := c.openValue(p)
		p, ok := appendDecimal(p, v, int(c.whole), int(c.digits))
		p[at] = byte(len(p) - at - 1) // at most 67 digits, sign and point
		return p, ok
	case opJSON:
		p, at := c.openValue(p)
		p, ok := d.json.append(p, v)
		return change.CloseValue(p, at), ok
	default:
		return c.appendMoment(p, v)
	}
}
