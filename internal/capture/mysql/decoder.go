package mysql

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/rowhook/rowhook/internal/change"
)

// ErrRowMetadata is wrapped when a row cannot be named, because the server left the column names out of the binlog.
var ErrRowMetadata = errors.New("the binlog carries no column names")

// ErrUnsupportedColumn is wrapped when a column of a wanted table has a type, a character set or a value that is not decoded exactly.
var ErrUnsupportedColumn = errors.New("column cannot be decoded exactly")

// errMalformedEvent is wrapped by errors about events that contradict themselves.
var errMalformedEvent = errors.New("malformed binlog event")

func malformedEvent(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errMalformedEvent, fmt.Errorf(format, args...))
}

// DecoderOptions say what a Decoder decodes. Wanted and ColumnTypes must be set.
type DecoderOptions struct {
	Flavor change.Flavor
	// Wanted reports whether changes of the table enter the log.
	Wanted func(schema, table string) bool
	// Exclude reports whether the column stays out of the log; nil excludes none.
	Exclude func(schema, table, column string) bool
	// ColumnTypes returns information_schema's COLUMN_TYPE by column name of the table as it is now. It is asked once for each
	// table definition seen in the binlog. A column that it does not name is described by what the binlog says.
	ColumnTypes func(schema, table string) (map[string]string, error)
	// Schema returns the columns of a table whose TABLE_MAP does not name them, as they were when its rows were written. An error that
	// wraps errUncertain stops at the table's rows. Without it, such rows cannot be read.
	Schema func(schema, table string) (*tableSchema, error)
}

// Rows takes the rows of one event.
type Rows interface {
	// BeginRows announces changes of t. It returns the builder to write them to, and how many rows from here on are in the log
	// already and are to be dropped. Unless it fails, EndRows follows, whatever happens in between.
	BeginRows(op change.Op, t *change.Table) (b *change.Builder, skip uint64, err error)
	// Dropped is called for each row that was in the log already, in place of writing it.
	Dropped() error
	// Wrote is called after each written change. It may cut the block.
	Wrote() error
	EndRows() error
}

// Decoder turns the bodies of binlog events into changes. A body is what follows the event's 19-byte header, without a checksum.
// It must not be used by two goroutines at once.
type Decoder struct {
	opts DecoderOptions

	ids   map[uint64]tableID
	plans map[string]*plan // by TABLE_MAP body without table id and flags
	// statementEnded is set when the last rows event said that all table ids are void.
	statementEnded bool

	rows     rowsDecoder
	inflater rowsInflater
}

// tableID is what a table id stands for: the body it came with and the plan made of it.
type tableID struct {
	body []byte
	plan *plan
}

// Limits on what is remembered. They are far above what one statement needs, and keep a source with many tables, or one whose
// tables change all day, from growing the process.
const (
	maxTableIDs = 8192
	maxPlans    = 8192
)

// NewDecoder returns a Decoder.
func NewDecoder(o DecoderOptions) *Decoder {
	d := &Decoder{opts: o}
	d.Reset()
	return d
}

// Reset forgets all tables. It is called at a new binlog file and at a new connection, after which table ids may be reused, and
// after a DDL statement, which may change types that TABLE_MAP does not tell apart.
func (d *Decoder) Reset() {
	d.ids, d.plans = map[uint64]tableID{}, map[string]*plan{}
}

// TableMap takes a TABLE_MAP event. The body is not kept. A table that cannot be decoded is reported when a row of it arrives.
func (d *Decoder) TableMap(body []byte) error {
	if len(body) < tableMapPostHeader {
		return malformedEvent("TABLE_MAP of %d bytes", len(body))
	}
	id := uint48(body)
	known, ok := d.ids[id]
	if ok && bytes.Equal(known.body, body[tableMapPostHeader:]) {
		return nil
	}
	d.forget()
	p, err := d.planOf(body[tableMapPostHeader:])
	if err != nil {
		return err
	}
	d.ids[id] = tableID{body: p.body, plan: p}
	return nil
}

// forget makes room, but never between the TABLE_MAP of a statement and its rows.
func (d *Decoder) forget() {
	if d.statementEnded && len(d.ids) >= maxTableIDs {
		clear(d.ids)
	}
	if len(d.plans) >= maxPlans {
		clear(d.plans)
	}
	d.statementEnded = false
}

// planOf returns the one plan for a TABLE_MAP, so that equal definitions share one change.Table.
func (d *Decoder) planOf(body []byte) (*plan, error) {
	if p, ok := d.plans[string(body)]; ok {
		return p, nil
	}
	p, err := d.newPlan(bytes.Clone(body))
	if err != nil {
		return nil, err
	}
	d.plans[string(p.body)] = p
	return p, nil
}
