package event

import (
	"fmt"
	"slices"

	"github.com/rowhook/rowhook/internal/change"
)

// plan is what a Matcher knows of one table: the types that look at it, with their columns resolved.
type plan struct {
	table   *change.Table
	columns map[string]int
	types   []*typePlan
	// ops are those that any of the types looks at.
	ops opMask
}

// typePlan is one type on one table.
type typePlan struct {
	typ *eventType
	// err is set if the type names a column that the table lacks; no index is then valid but those of the key.
	err             *Error
	data            []int
	columns         []int
	watched         []int // data, then the columns that are not in it
	key             []int
	keyed           bool // key is usable
	subject, tenant boundTemplate
	// old is the tenant template once more, for the row before a move.
	old boundTemplate
	// masks is parallel to data; nil if no column is masked.
	masks []maskedField
	// moves is set if the tenant can be told from the table's columns, and a move between tenants may make an event.
	moves bool
}

func (s *Set) plan(t *change.Table) *plan {
	p := &plan{table: t, columns: make(map[string]int, len(t.Columns))}
	for i := range t.Columns {
		p.columns[t.Columns[i].Name] = i
	}
	for _, typ := range s.types {
		if typ.pattern.match(t.Schema, t.Name) {
			tp := p.bind(typ)
			p.types = append(p.types, tp)
			p.ops |= typ.ops
			if tp.moves {
				p.ops |= 1 << change.Update // the delete and insert of a move
			}
		}
	}
	return p
}

func (p *plan) bind(typ *eventType) *typePlan {
	tp := &typePlan{typ: typ}
	if errs := p.check(typ); len(errs) > 0 {
		tp.err = errs[0]
	}
	tp.data, _ = p.indexes(typ.def.Data)
	tp.columns, _ = p.indexes(typ.def.Columns)
	tp.watched = slices.Clone(tp.data)
	for _, i := range tp.columns {
		if !slices.Contains(tp.data, i) {
			tp.watched = append(tp.watched, i)
		}
	}
	tp.key, tp.keyed = p.table.Key, len(p.table.Key) > 0
	if len(typ.def.Key) > 0 {
		tp.key, tp.keyed = p.indexes(typ.def.Key)
	}
	tp.subject = typ.subject.bind(fieldSubject, p.table)
	tp.tenant = typ.tenant.bind(fieldTenant, p.table)
	tp.old = typ.tenant.bind(fieldTenant, p.table)
	tp.masks = p.bindMasks(typ, tp.data)
	_, known := p.indexes(typ.tenant.columns())
	tp.moves = known && len(typ.tenant.columns()) > 0 && typ.ops&(1<<change.Insert|1<<change.Update|1<<change.Delete) != 0
	return tp
}

func (p *plan) indexes(names []string) (out []int, all bool) {
	for _, name := range names {
		i, ok := p.columns[name]
		if !ok {
			return nil, false
		}
		out = append(out, i)
	}
	return out, true
}

// check returns an error for each column that the type needs and the table lacks. What an expression names is not among them: it
// is found when it is read, so that an expression may look at the table's name first.
func (p *plan) check(typ *eventType) []*Error {
	var errs []*Error
	need := func(field string, names []string) {
		for _, name := range names {
			if _, ok := p.columns[name]; !ok {
				errs = append(errs, unknownColumn(p.table, field, name))
			}
		}
	}
	need(fieldData, typ.def.Data)
	need(fieldColumns, typ.def.Columns)
	need(fieldKey, typ.def.Key)
	need(fieldSubject, typ.subject.columns())
	need(fieldTenant, typ.tenant.columns())
	return errs
}

func unknownColumn(t *change.Table, field, column string) *Error {
	names := make([]string, 0, len(t.Columns))
	for i := range t.Columns {
		names = append(names, t.Columns[i].Name)
	}
	return &Error{Code: CodeUnknownColumn, Column: column, Message: fmt.Sprintf(
		"%s names the column %s, which %s does not have or which is excluded%s", field, column, t.FullName(), didYouMean(column, names))}
}

// CheckTable returns what is wrong between the types and a table, before its first change arrives: every column that a type
// needs and the table lacks. A type of one table is held to what its expression reads, too, unless it asks with has.
func (s *Set) CheckTable(t *change.Table) []error {
	p := s.plan(t)
	var out []error
	for _, tp := range p.types {
		for _, err := range append(p.check(tp.typ), p.checkExpression(tp.typ)...) {
			out = append(out, fmt.Errorf("type %s%s: %w", tp.typ.def.Name, tp.typ.def.origin.where(), err))
		}
	}
	return out
}

func (p *plan) checkExpression(typ *eventType) []*Error {
	if typ.when == nil || typ.pattern.glob() {
		return nil
	}
	var errs []*Error
	reported := map[string]bool{}
	for _, r := range typ.when.refs {
		asked := slices.ContainsFunc(typ.when.refs, func(o reference) bool { return o.asked && o.column == r.column })
		if _, ok := p.columns[r.column]; ok || asked || reported[r.column] {
			continue
		}
		reported[r.column] = true
		errs = append(errs, unknownColumn(p.table, fieldWhen, r.column))
	}
	return errs
}

// same reports whether a plan for p's table serves t, too.
func (p *plan) same(t *change.Table) bool {
	return slices.Equal(p.table.Columns, t.Columns) && slices.Equal(p.table.Key, t.Key)
}
