package deliver

import (
	"strconv"
	"strings"
)

// Range is what one version of a subscription covers of one source's log. An edit ends one version and begins the next at the same
// seq, so that no event falls between them and none is judged twice.
type Range struct {
	Source, Endpoint, Subscription string
	// Version of the subscription, from 1.
	Version uint64
	// Types are change.Glob patterns over the names of event types.
	Types []string
	// Subject is a change.Glob over the event's subject; empty is any.
	Subject string
	// From is the seq after which it begins.
	From uint64
	// LiveFrom is the seq after which the endpoint's own lane serves it. What lies between From and LiveFrom the endpoint had passed
	// when the version was made: a lane of its own serves that, the backfill. Equal to From if there is none.
	LiveFrom uint64
	// To is the last seq that it covers; 0 while it has no end.
	To uint64
	// Backfilled says that the backfill is done.
	Backfilled bool
}

// Covers reports whether a change is within the version's range.
func (r *Range) Covers(seq uint64) bool { return seq > r.From && (r.To == 0 || seq <= r.To) }

// FromNow as a Range's From means the end of the log at the moment that it is taken in.
const FromNow = ^uint64(0)

// LaneName names the progress of the range's backfill.
func (r *Range) LaneName() string {
	return r.Endpoint + laneMark + r.Subscription + "@" + strconv.FormatUint(r.Version, 10)
}

// laneMark ends the endpoint's name in the name of a lane. No endpoint's name has it.
const laneMark = "#"

// LaneEndpoint returns the endpoint of a lane's name.
func LaneEndpoint(lane string) string {
	endpoint, _, _ := strings.Cut(lane, laneMark)
	return endpoint
}

// same reports whether both are of one version of one subscription.
func (r *Range) same(o *Range) bool {
	return r.Endpoint == o.Endpoint && r.Subscription == o.Subscription && r.Version == o.Version
}

// backfillEnd is the last seq of the backfill.
func (r *Range) backfillEnd() uint64 {
	if r.To == 0 {
		return r.LiveFrom
	}
	return min(r.LiveFrom, r.To)
}

// backfilling reports whether there is a backfill to be done.
func (r *Range) backfilling() bool { return !r.Backfilled && r.From < r.backfillEnd() }
