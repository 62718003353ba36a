package deliver

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
