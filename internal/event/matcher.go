package event

import (
	"fmt"

	"github.com/rowhook/rowhook/internal/change"
)

// Matcher turns changes into events. It keeps what it learns of tables and reuses its buffers; it belongs to one goroutine.
type Matcher struct {
	set    *Set
	byPtr  map[*change.Table]*plan
	byName map[tableName][]*plan

	before, after []change.Value
	diff          []difference
	scratch       []byte
	key           []byte
	mask          []byte // masked values of the event
	prefix        prefix
	act           activation
	event         Event
}

type tableName struct{ schema, table string }

// Bounds of what a Matcher remembers: tables of recent blocks by their pointers, and versions of one table by their columns.
const (
	maxPointers = 256
	maxVersions = 8
)

// difference is how a column's two images compare.
type difference uint8

const (
	equal difference = iota
	differs
	unknown // one of the images did not carry it
)

// prefix is the part of the hashed identity that the rows of one table in one transaction share.
type prefix struct {
	tx         *change.Transaction
	plan       *plan
	source     string
	generation uint64
	bytes      []byte
	keyTable   []byte
}

// NewMatcher returns a Matcher of the set's types.
func (s *Set) NewMatcher() *Matcher {
	return &Matcher{set: s, byPtr: map[*change.Table]*plan{}, byName: map[tableName][]*plan{}}
}

// Each calls f with the event of every type that c matches, in the order of the types' names, and stops at f's first error.
// source and generation name the source of the block that c is from. A type that fails on c gives an event with Err set; Each
// itself returns an error only if f did, or if the row's bytes are malformed.
//
// An update that moves a row to another tenant gives up to three events of one type, in this order: MoveUpdate, if the type fires on
// the update; MoveOut, if it fires on a delete of the row as it was; MoveIn, if it fires on an insert of the row as it is.
func (m *Matcher) Each(source string, generation uint64, c *change.Change, f func(*Event) error) error {
	p := m.planOf(c.Table)
	if !p.ops.has(c.Op) {
		return nil
	}
	if err := m.load(p, c); err != nil {
		return fmt.Errorf("read row %d of %s: %w", c.Seq, c.Table.FullName(), err)
	}
	x := &matching{plan: p, source: source, generation: generation, change: c}
	for _, tp := range p.types {
		if c.Op == change.Update && tp.moves && m.tenantDiffers(tp) {
			if err := m.move(x, tp, f); err != nil {
				return err
			}
			continue
		}
		if err := m.fire(x, tp, side{op: c.Op}, f); err != nil {
			return err
		}
	}
	return nil
}

// matching is one call of Each. The caller's function is passed beside it, so that it need not live on the heap.
type matching struct {
	plan       *plan
	source     string
	generation uint64
	change     *change.Change
	begun      bool
}

// fire gives the event of one type, if the type makes one of that side.
func (m *Matcher) fire(x *matching, tp *typePlan, s side, f func(*Event) error) error {
	fires, failed := m.fires(tp, s.op)
	if !fires {
		return nil
	}
	return m.give(x, tp, s, failed, f)
}

func (m *Matcher) give(x *matching, tp *typePlan, s side, failed *Error, f func(*Event) error) error {
	if !x.begun {
		m.begin(x.plan, x.source, x.generation, x.change)
		x.begun = true
	}
	m.fill(tp, x.change, s, failed)
	return f(&m.event)
}

func (m *Matcher) planOf(t *change.Table) *plan {
	if p, ok := m.byPtr[t]; ok {
		return p
	}
	// Each block has tables of its own, mostly equal to those of the block before.
	if len(m.byPtr) >= maxPointers {
		clear(m.byPtr)
	}
	p := m.versionOf(t)
	m.byPtr[t] = p
	return p
}

func (m *Matcher) versionOf(t *change.Table) *plan {
	name := tableName{t.Schema, t.Name}
	versions := m.byName[name]
	for _, p := range versions {
		if p.same(t) {
			return p
		}
	}
	if len(versions) >= maxVersions {
		versions = versions[1:]
	}
	p := m.set.plan(t)
	m.byName[name] = append(versions, p)
	return p
}

// load reads the row's images, once for all types.
func (m *Matcher) load(p *plan, c *change.Change) (err error) {
	if m.before, err = c.Before.Values(m.before); err != nil {
		return err
	}
	if m.after, err = c.After.Values(m.after); err != nil {
		return err
	}
	m.diff = m.diff[:0]
	if c.Op == change.Update {
		m.compare()
	}
	m.look(p, c.Op)
	return nil
}

// look shows the change to expressions as an operation: that of the change, or the delete or insert of a move.
func (m *Matcher) look(p *plan, op change.Op) {
	m.act = activation{
		plan: p, op: op,
		before: row{p, m.before, op == change.Update || op == change.Delete},
		after:  row{p, m.after, op != change.Delete},
	}
	if op == change.Update {
		m.act.diff = m.diff
	}
}

// compare finds what an update changed, and lets the value before stand for one that the image after left out as unchanged.
func (m *Matcher) compare() {
	for i := range m.after {
		b, a := &m.before[i], &m.after[i]
		switch {
		case a.State == change.Absent || b.State == change.Absent:
			m.diff = append(m.diff, unknown)
			if a.State == change.Absent {
				*a = *b
			}
		case a.Equal(*b):
			m.diff = append(m.diff, equal)
		default:
			m.diff = append(m.diff, differs)
		}
	}
}

// fires reports whether the type makes an event of the change; failed is set if that could not be told, or if the table lacks
// a column that the event needs.
func (m *Matcher) fires(tp *typePlan, op change.Op) (fires bool, failed *Error) {
	if !tp.typ.ops.has(op) {
		return false, nil
	}
	if op == change.Update && len(tp.columns) > 0 {
		changed, err := m.anyChanged(tp)
		if err != nil {
			return true, err
		}
		if !changed {
			return false, nil
		}
	}
	if tp.typ.when != nil {
		ok, err := tp.typ.when.eval(&m.act)
		if err != nil {
			return true, err
		}
		if !ok {
			return false, nil
		}
	}
	return true, tp.err
}

func (m *Matcher) anyChanged(tp *typePlan) (bool, *Error) {
	absent := -1
	for _, i := range tp.columns {
		switch m.diff[i] {
		case differs:
			return true, nil
		case unknown:
			absent = i
		}
	}
	if absent < 0 {
		return false, nil
	}
	name := m.act.plan.table.Columns[absent].Name
	return false, &Error{Code: CodeColumnAbsent, Column: name, Message: "columns: whether " + name +
		" changed is not known, because a row image did not carry it; set binlog_row_image=FULL"}
}

// row is the image that an event speaks of.
func (m *Matcher) row(op change.Op) []change.Value {
	if op == change.Delete {
		return m.before
	}
	return m.after
}

// begin sets what all events of the change share.
func (m *Matcher) begin(p *plan, source string, generation uint64, c *change.Change) {
	m.event.Time, m.event.Seq, m.event.Table = c.Tx.CommitTime, c.Seq, c.Table
	m.event.Source = Origin{
		Name: source, Server: c.Tx.ServerID, GTID: c.Tx.GTID,
		File: c.Tx.File, Offset: c.Tx.Offset, Ordinal: c.Ordinal,
	}
	x := &m.prefix
	if x.tx == c.Tx && x.plan == p && x.source == source && x.generation == generation {
		return
	}
	id := Identity{
		Source: source, Generation: generation, GTID: c.Tx.GTID, File: c.Tx.File, FileCreated: c.Tx.FileCreated, Offset: c.Tx.Offset,
		Schema: c.Table.Schema, Table: c.Table.Name,
	}
	x.tx, x.plan, x.source, x.generation = c.Tx, p, source, generation
	x.bytes = id.appendTable(id.appendTransaction(x.bytes[:0]))
	x.keyTable = appendKeyTable(x.keyTable[:0], source, c.Table.Schema, c.Table.Name)
}

// fill makes m.event the event of one type.
func (m *Matcher) fill(tp *typePlan, c *change.Change, s side, failed *Error) {
	ev := &m.event
	ev.Type, ev.Op, ev.Move, ev.Subject, ev.Tenant, ev.Err = tp.typ.def.Name, s.op, s.move, "", s.tenant, failed
	ev.Data, ev.Changed, m.mask = ev.Data[:0], ev.Changed[:0], m.mask[:0]
	m.scratch = appendRow(append(m.scratch[:0], m.prefix.bytes...), c.TableOrdinal, ev.Type, ev.Move)
	hashed := len(m.scratch)
	m.scratch = appendID(m.scratch, m.scratch, c.Tx.CommitTime, c.TableOrdinal)
	ev.ID = string(m.scratch[hashed:])
	m.keys(tp, c.Op) // also for a move: its delete and its insert wait for what the update would wait for
	if ev.Err == nil {
		m.render(tp, ev.Op)
	}
	if ev.Err == nil {
		m.data(tp, ev.Op)
	}
}

// keys sets the order key. A table without a key, or a key that is not known, orders all events of the table.
func (m *Matcher) keys(tp *typePlan, op change.Op) {
	ev := &m.event
	ev.OtherKey = 0
	var absent int
	m.key, absent = appendKey(append(m.key[:0], m.prefix.keyTable...), m.row(op), tp.key)
	if !tp.keyed || absent >= 0 {
		ev.Key = hashKey(m.prefix.keyTable)
		if absent >= 0 {
			m.keyAbsent(absent)
		}
		return
	}
	ev.Key = hashKey(m.key)
	if op != change.Update || !m.keyChanged(tp) {
		return
	}
	m.key, absent = appendKey(append(m.key[:0], m.prefix.keyTable...), m.before, tp.key)
	if absent >= 0 {
		m.keyAbsent(absent)
		return
	}
	if other := hashKey(m.key); other != ev.Key {
		ev.OtherKey = other
	}
}

func (m *Matcher) keyChanged(tp *typePlan) bool {
	for _, i := range tp.key {
		if m.diff[i] != equal {
			return true
		}
	}
	return false
}

func (m *Matcher) keyAbsent(column int) {
	if m.event.Err == nil {
		name := m.act.plan.table.Columns[column].Name
		m.event.Err = &Error{Code: CodeColumnAbsent, Column: name, Message: "key needs the column " + name + ", which a row image did not carry; set binlog_row_image=FULL"}
	}
}

func (m *Matcher) render(tp *typePlan, op change.Op) {
	ev, row := &m.event, m.row(op)
	if ev.Subject, m.scratch, ev.Err = tp.subject.render(row, m.scratch); ev.Err == nil {
		ev.Tenant, m.scratch, ev.Err = tp.tenant.render(row, m.scratch)
	}
}

func (m *Matcher) data(tp *typePlan, op change.Op) {
	ev, row, columns := &m.event, m.row(op), m.act.plan.table.Columns
	for n, i := range tp.data {
		if tp.masks != nil && tp.masks[n].column != nil {
			ev.Data = append(ev.Data, m.masked(tp.masks[n], row[i]))
			continue
		}
		ev.Data = append(ev.Data, Field{&columns[i], row[i]})
	}
	if op != change.Update {
		return
	}
	for _, i := range tp.watched {
		if m.diff[i] == differs {
			ev.Changed = append(ev.Changed, columns[i].Name)
		}
	}
}
