package deliver

import (
	"bytes"
	"slices"
	"sync"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/internal/translate"
)

// maxRouteTypes bounds the names of event types that the routes are remembered for.
const maxRouteTypes = 4096

// routes finds the lanes of an event. Lists in it are replaced, never changed: a reader may keep one. It is safe for concurrent use.
type routes struct {
	mu     sync.RWMutex
	of     map[*sender][]*route
	byType map[string][]*route // those whose patterns match the name
}

func newRoutes() *routes {
	return &routes{of: map[*sender][]*route{}, byType: map[string][]*route{}}
}

// route is what one lane serves of a range.
type route struct {
	lane *lane
	r    *Range
	// The seqs that the lane serves; to is 0 for no end.
	from, to uint64
	// earlier are the endpoint's ranges that were made before this one: what one of them covers too is its, not a backfill's.
	// Empty for the endpoint's own lane, which knows what it has had.
	earlier []*Range
}

// replace sets the routes of a sender.
func (rs *routes) replace(s *sender, now []*route) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for name, list := range rs.byType {
		rest := slices.DeleteFunc(slices.Clone(list), func(rt *route) bool { return rt.lane.sender == s })
		for _, rt := range now {
			if rt.r.names(name) {
				rest = append(rest, rt)
			}
		}
		rs.byType[name] = rest
	}
	if len(now) == 0 {
		delete(rs.of, s)
		return
	}
	rs.of[s] = now
}

// named returns the routes whose patterns match an event type's name.
func (rs *routes) named(name string) []*route {
	rs.mu.RLock()
	list, ok := rs.byType[name]
	rs.mu.RUnlock()
	if ok {
		return list
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if len(rs.byType) >= maxRouteTypes {
		clear(rs.byType)
	}
	list = []*route{}
	for _, all := range rs.of {
		for _, rt := range all {
			if rt.r.names(name) {
				list = append(list, rt)
			}
		}
	}
	rs.byType[name] = list
	return list
}

// each calls f for the lane of every range that ev matches; a lane with several is called several times.
func (rs *routes) each(ev *event.Event, f func(*lane)) {
	for _, rt := range rs.named(ev.Type) {
		if ev.Seq > rt.from && (rt.to == 0 || ev.Seq <= rt.to) && rt.lane.concerns(ev) && rt.r.about(ev) && !rt.taken(ev) {
			f(rt.lane)
		}
	}
}

// taken reports whether the event belongs to an earlier range.
func (rt *route) taken(ev *event.Event) bool {
	for _, o := range rt.earlier {
		if o.Covers(ev.Seq) && o.names(ev.Type) && o.about(ev) {
			return true
		}
	}
	return false
}

// names reports whether the range is about events of the type.
func (r *Range) names(typ string) bool {
	return slices.ContainsFunc(r.Types, func(p string) bool { return event.MatchType(p, typ) })
}

// about reports whether the event's subject fits. One that failed may not know it: it is never sent, only parked wherever it might
// have gone.
func (r *Range) about(ev *event.Event) bool {
	return ev.Err != nil || r.Subject == "" || change.Glob(r.Subject, ev.Subject)
}

// body is an event's JSON, made once for all lanes that want it.
type body struct {
	bytes   []byte
	err     error
	made    bool
	scratch []byte
}

func (b *body) reset() { b.bytes, b.err, b.made = nil, nil, false }

func (b *body) render(ev *event.Event) error {
	if b.made {
		return b.err
	}
	b.made = true
	if ev.Err != nil {
		b.err = ev.Err
		return b.err
	}
	if b.scratch, b.err = translate.AppendJSON(b.scratch[:0], ev); b.err == nil {
		b.bytes = bytes.Clone(b.scratch)
	}
	return b.err
}
