package event

import "github.com/rowhook/rowhook/internal/change"

// tenantDiffers reports whether an update touched, or may have touched, a column of the tenant.
func (m *Matcher) tenantDiffers(tp *typePlan) bool {
	for _, i := range tp.tenant.indexes {
		if i >= 0 && (m.diff[i] == differs || m.unknownOld(i)) {
			return true
		}
	}
	return false
}

// unknownOld reports whether an update gives a value to a column whose old value the image did not carry. The other way round the
// column is unchanged: see compare.
func (m *Matcher) unknownOld(i int) bool {
	return m.diff[i] == unknown && m.before[i].State == change.Absent && m.after[i].State != change.Absent
}

// side is what an event tells of a change: the change as it is, or a side of a move.
type side struct {
	move Move
	op   change.Op
	// tenant is known before the event is made; empty where the event's own template says it.
	tenant string
}

// move gives the events of an update that touched the tenant's columns. A side whose tenant is NULL or comes out empty or too long
// belongs to nobody and gets no event; the update itself then fails as any event of such a row does.
func (m *Matcher) move(x *matching, tp *typePlan, f func(*Event) error) error {
	var from, to string
	var lost, found *Error
	from, m.scratch, lost = tp.old.render(m.before, m.scratch)
	to, m.scratch, found = tp.tenant.render(m.after, m.scratch)
	if lost != nil && lost.Code == CodeColumnAbsent { // whether it moved is not known
		return m.give(x, tp, side{op: change.Update}, lost, f)
	}
	update := side{op: change.Update, move: MoveUpdate}
	if from == to { // or neither has one
		update.move = MoveNone
	}
	if err := m.fire(x, tp, update, f); err != nil || update.move == MoveNone {
		return err
	}
	defer m.look(x.plan, change.Update)
	if lost == nil {
		m.look(x.plan, change.Delete)
		if err := m.fire(x, tp, side{MoveOut, change.Delete, from}, f); err != nil {
			return err
		}
	}
	if found != nil {
		return nil
	}
	m.look(x.plan, change.Insert)
	return m.fire(x, tp, side{MoveIn, change.Insert, to}, f)
}
