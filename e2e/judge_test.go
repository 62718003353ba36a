package e2e

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/rowhook/rowhook/e2e/receiver"
)

// crashWindow is how long before a crash an answer may have been given whose event is sent again after it. Progress is written every
// 100 ms; the rest is room for a busy machine.
const crashWindow = 2 * time.Second

// lateArrival is how long after the death of who sent it the receiver may still get to a request.
const lateArrival = time.Second

// maxFaults is how many faults of one kind are listed; the rest are counted.
const maxFaults = 5

// event is what must be delivered once: one version of one row, as one type tells it.
type event struct {
	kind, key string
	version   int64
	deleted   bool // a delete carries the version it deleted
}

// rank orders the events of one key.
func (e event) rank() int64 {
	if e.deleted {
		return 2*e.version + 1
	}
	return 2 * e.version
}

func (e event) String() string {
	op := "written"
	if e.deleted {
		op = "deleted"
	}
	return fmt.Sprintf("%s %s version %d %s", e.kind, e.key, e.version, op)
}

// keyed is what stays in order: the events of one row, whatever their types.
type keyed struct{ table, key string }

// row is the row that an event is about. The types of one table have names that begin alike.
func (e event) row() keyed {
	table, _, _ := strings.Cut(e.kind, ".")
	return keyed{table, e.key}
}

// eventOf is the event that a delivery tells.
func eventOf(d receiver.Delivery) event {
	return event{kind: d.Type, key: d.Key, version: d.Version, deleted: d.Op == "delete"}
}

// story is all that came of one event at one endpoint, in the order of arrival.
type story []receiver.Delivery

// acceptedAt is when on the receiver's clock the event was first accepted; 0 if it never was.
func (s story) acceptedAt() uint64 {
	var first uint64
	for _, d := range s {
		if d.Accepted() && (first == 0 || d.Done < first) {
			first = d.Done
		}
	}
	return first
}

// faults collects what is wrong, a few of each kind.
type faults struct {
	kinds []string
	list  map[string][]string
	count map[string]int
}

func (f *faults) add(kind, format string, args ...any) {
	if f.list == nil {
		f.list, f.count = map[string][]string{}, map[string]int{}
	}
	if f.count[kind] == 0 {
		f.kinds = append(f.kinds, kind)
	}
	if f.count[kind]++; f.count[kind] <= maxFaults {
		f.list[kind] = append(f.list[kind], fmt.Sprintf(format, args...))
	}
}

// String is empty if nothing is wrong.
func (f *faults) String() string {
	var b strings.Builder
	for _, kind := range f.kinds {
		fmt.Fprintf(&b, "%s: %d\n", kind, f.count[kind])
		for _, text := range f.list[kind] {
			fmt.Fprintf(&b, "    %s\n", text)
		}
	}
	return b.String()
}

// judge compares what one endpoint should have got with what it got, and returns everything that breaks a promise. Crashes are the
// times at which the sender was killed.
func judge(wanted []event, got []receiver.Delivery, crashes []time.Time) *faults {
	f := &faults{}
	stories := map[event]story{}
	for _, d := range got {
		stories[eventOf(d)] = append(stories[eventOf(d)], d)
	}
	known := make(map[event]bool, len(wanted))
	for _, e := range wanted {
		if known[e] {
			f.add("the test's own book is wrong", "%v is wanted twice", e)
		}
		known[e] = true
	}
	judgeCompleteness(f, wanted, known, stories, got)
	judgeIdentity(f, got)
	judgeOrder(f, wanted, stories)
	for e, s := range stories {
		judgeRepeats(f, e, s, crashes)
	}
	return f
}

// judgeCompleteness: nothing missing, nothing made up.
func judgeCompleteness(f *faults, wanted []event, known map[event]bool, stories map[event]story, got []receiver.Delivery) {
	for _, e := range wanted {
		if stories[e].acceptedAt() == 0 {
			f.add("missing", "%v: %d attempts, none accepted", e, len(stories[e]))
		}
	}
	for _, d := range got {
		if !known[eventOf(d)] {
			f.add("never committed", "%v: %s seq %d", eventOf(d), d.ID, d.Seq)
		}
	}
}

// judgeIdentity: an event has one id, one seq and one body; an id has one event; (seq, type) has one id.
func judgeIdentity(f *faults, got []receiver.Delivery) {
	type place struct {
		seq  uint64
		kind string
	}
	byEvent, byID, byPlace := map[event]receiver.Delivery{}, map[string]event{}, map[place]string{}
	for _, d := range got {
		e := eventOf(d)
		first, again := byEvent[e]
		if !again {
			byEvent[e] = d
		}
		switch {
		case again && first.ID != d.ID:
			f.add("second id", "%v: %s, then %s", e, first.ID, d.ID)
		case again && first.Seq != d.Seq:
			f.add("second seq", "%v (%s): %d, then %d", e, d.ID, first.Seq, d.Seq)
		case again && first.Digest != d.Digest:
			f.add("second body", "%v: %s", e, d.ID)
		}
		if other, ok := byID[d.ID]; ok && other != e {
			f.add("one id for two events", "%s: %v and %v", d.ID, other, e)
		}
		byID[d.ID] = e
		at := place{d.Seq, d.Type}
		if other, ok := byPlace[at]; ok && other != d.ID {
			f.add("one seq for two events", "%s seq %d: %s and %s", d.Type, d.Seq, other, d.ID)
		}
		byPlace[at] = d.ID
	}
}

// judgeOrder: of each row, an event first arrives after those before it were accepted, with a greater seq. Two types may tell the same
// change in any order.
func judgeOrder(f *faults, wanted []event, stories map[event]story) {
	rows := map[keyed][]event{}
	for _, e := range wanted {
		if len(stories[e]) > 0 {
			rows[e.row()] = append(rows[e.row()], e)
		}
	}
	for _, events := range rows {
		sort.Slice(events, func(i, j int) bool { return events[i].rank() < events[j].rank() })
		var before []event // all that tell the version before
		for len(events) > 0 {
			n := slices.IndexFunc(events, func(e event) bool { return e.rank() != events[0].rank() })
			if n < 0 {
				n = len(events)
			}
			for _, first := range before {
				for _, second := range events[:n] {
					judgePair(f, first, second, stories)
				}
			}
			before, events = events[:n], events[n:]
		}
	}
}

// judgePair holds two events of one row against each other, of which the first was committed first.
func judgePair(f *faults, first, second event, stories map[event]story) {
	a, b := stories[first], stories[second]
	if accepted := a.acceptedAt(); accepted != 0 && accepted > b[0].Order {
		f.add("out of order", "%v (%s) came before %v (%s) was accepted", second, b[0].ID, first, a[0].ID)
	}
	if b[0].Seq <= a[0].Seq {
		f.add("seq does not grow", "%v has %d, then %v has %d", first, a[0].Seq, second, b[0].Seq)
	}
}

// judgeRepeats: what was accepted comes again only after a crash shortly after the answer.
func judgeRepeats(f *faults, e event, s story, crashes []time.Time) {
	for i, d := range s[:max(len(s)-1, 0)] {
		if !d.Accepted() || excused(d.At, s[i+1].At, crashes) {
			continue
		}
		f.add("repeated without a cause", "%v: %s (attempt %d) was accepted, and came again as attempt %d %v later; %s", e, d.ID, d.Attempt,
			s[i+1].Attempt, s[i+1].At.Sub(d.At), nextCrash(d.At, crashes))
	}
}

// excused reports whether a crash between the two arrivals came within the window of the first.
func excused(first, second time.Time, crashes []time.Time) bool {
	return slices.ContainsFunc(crashes, func(crash time.Time) bool {
		return crash.Before(second) && crash.Sub(first) < crashWindow && first.Sub(crash) < lateArrival
	})
}

// nextCrash is when the sender was killed next, for people.
func nextCrash(at time.Time, crashes []time.Time) string {
	for _, crash := range crashes {
		if crash.After(at) {
			return fmt.Sprintf("the next crash was %v after the answer", crash.Sub(at))
		}
	}
	return "no crash came after the answer"
}
