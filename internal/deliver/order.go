package deliver

import "time"

// item is one event on its way to one endpoint.
type item struct {
	ref             EventRef
	id              string
	subject, tenant string
	commitMS        int64
	body            []byte
	attempts        uint32

	// keys are the order keys that it holds: one, or two when the change moved the key itself; 0 is none.
	keys [2]uint64
	// next is the next event with that key, prev the one before it.
	next, prev [2]*item

	stored    bool // the store has its body, or will with the next checkpoint
	done      bool // no longer outstanding: delivered, skipped, or kept as an exception
	exception bool // stands in the store as an exception
	probe     bool // tried ahead of its schedule
	test      bool // somebody's try, no event of the log
	retry     bool // takes a retry's place, not a first attempt's
	due       time.Time

	cost            int64 // bytes charged, as an exception or as queued
	costAsException bool
}

// keyFIFO holds the events of one key in order; its head is the one that may be sent.
type keyFIFO struct{ head, tail *item }

// keyOrder lets one event per key through at a time.
type keyOrder map[uint64]keyFIFO

// add puts it behind the events of its keys and reports whether it may be sent now.
func (o keyOrder) add(it *item) bool {
	ready := true
	for _, k := range it.keys {
		if k == 0 {
			continue
		}
		f := o[k]
		if f.tail == nil {
			f.head = it
		} else {
			f.tail.next[slotOfKey(f.tail, k)] = it
			it.prev[slotOfKey(it, k)] = f.tail
			ready = false
		}
		f.tail = it
		o[k] = f
	}
	return ready
}

// remove takes out an event at the head of its keys and returns those that may be sent now.
func (o keyOrder) remove(it *item) []*item {
	var ready []*item
	for _, k := range it.keys {
		if k == 0 {
			continue
		}
		n := it.next[slotOfKey(it, k)]
		if n == nil {
			delete(o, k)
			continue
		}
		n.prev[slotOfKey(n, k)] = nil
		f := o[k]
		f.head = n
		o[k] = f
	}
	for i, n := range it.next {
		if n != nil && (i == 0 || n != it.next[0]) && n.first() {
			ready = append(ready, n)
		}
	}
	it.next = [2]*item{}
	return ready
}

// first reports whether it is at the head of all its keys.
func (it *item) first() bool { return it.prev == [2]*item{} }

// stuck reports whether all that stands before it in its keys are exceptions. An event that also stands behind one that is
// still outstanding is not: after a restart exceptions are put back before the log is read, so it would overtake that one.
func (it *item) stuck() bool {
	for _, p := range it.prev {
		if p != nil && !p.exception {
			return false
		}
	}
	return !it.first()
}

func slotOfKey(it *item, k uint64) int {
	if it.keys[0] == k {
		return 0
	}
	return 1
}

// orderKeys returns the keys an event holds, with 0 kept free to mean none.
func orderKeys(key, other uint64, ordered bool) [2]uint64 {
	if !ordered {
		return [2]uint64{}
	}
	keys := [2]uint64{max(key, 1), other}
	if other == keys[0] {
		keys[1] = 0
	}
	return keys
}
