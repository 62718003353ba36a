package deliver

import (
	"slices"
	"time"

	"github.com/rowhook/rowhook/internal/event"
)

// LaneState is how an endpoint is served.
type LaneState string

// The states. A paused or disabled endpoint keeps its place.
const (
	LaneLive     LaneState = "live"
	LaneLagging  LaneState = "lagging"
	LanePaused   LaneState = "paused"
	LaneDisabled LaneState = "disabled"
)

// LaneStatus is where one endpoint is in one source.
type LaneStatus struct {
	Endpoint string
	State    LaneState
	// Reason of a pause or a disabling, and since when; empty otherwise.
	Reason string
	Since  time.Time
	LaneProgress
	// Backfills that are running, oldest first.
	Backfills []BackfillStatus
}

// LaneProgress is how far a lane is.
type LaneProgress struct {
	// Floor is the seq up to which every event is done, or counted below.
	Floor uint64
	// Offered is the seq up to which every event was offered to the lane.
	Offered uint64
	// Waiting events failed and will be tried again; Behind ones wait behind those.
	Waiting, Behind int
}

// BackfillStatus is how far a backfill is: from its range's From to its LiveFrom.
type BackfillStatus struct {
	Range Range
	LaneProgress
}

// Lane returns the status of an endpoint; false if there is no such endpoint.
func (e *Engine) Lane(endpoint string) (LaneStatus, bool) {
	s := e.senders.get(endpoint)
	if s == nil {
		return LaneStatus{}, false
	}
	return s.status(), true
}

// Lanes returns the status of all endpoints, in order of their names.
func (e *Engine) Lanes() []LaneStatus {
	all := e.senders.all()
	out := make([]LaneStatus, len(all))
	for i, s := range all {
		out[i] = s.status()
	}
	return out
}

func (s *sender) status() LaneStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := LaneStatus{Endpoint: s.name, State: LaneLagging, LaneProgress: s.main.status()}
	switch {
	case s.disabled:
		st.State = LaneDisabled
	case s.paused:
		st.State = LanePaused
	case s.main.state == live:
		st.State = LaneLive
	}
	if s.halted() {
		st.Reason, st.Since = s.reason, s.since
	}
	for _, l := range s.lanes {
		if l.backfill != nil {
			st.Backfills = append(st.Backfills, BackfillStatus{*l.backfill, l.status()})
		}
	}
	return st
}

func (l *lane) status() LaneProgress {
	waiting := len(l.waiting) + l.retries.len() + l.retrying
	return LaneProgress{Floor: l.floor(), Offered: l.offered(), Waiting: waiting, Behind: max(l.excepted-waiting, 0)}
}

// Matching returns the endpoints with an open range that matches an event, whatever its seq, in order of their names.
func (e *Engine) Matching(ev *event.Event) []string {
	var out []string
	for _, rt := range e.routes.named(ev.Type) {
		if rt.r.To == 0 && rt.lane.concerns(ev) && rt.r.about(ev) {
			out = append(out, rt.lane.sender.name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
