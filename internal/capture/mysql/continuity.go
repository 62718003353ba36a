package mysql

import (
	"context"
	"fmt"
	"time"

	"github.com/rowhook/rowhook/internal/change"
)

const aheadHint = "The server lacks transactions that were captured: a failover lost them, or it was rebuilt or reset. Follow the server that has them, or move data_dir away to attach anew at the present position."

// checkContinuity returns what the position has, once it is certain that the server can continue it without a gap: what we have was
// executed there, and what it purged we have.
func (r *Replica) checkContinuity(ctx context.Context, s *session, from change.Position) (*change.GTIDSet, error) {
	have, err := change.ParseGTIDSet(s.flavor, from.GTIDSet)
	if err != nil {
		return nil, stop(CodePositionLost, "The source was captured from another kind of server. Follow that one, or move data_dir away to attach anew at the present position.",
			"the position is not one of a %s server: %v", s.flavor, err)
	}
	if err := r.checkNotAhead(ctx, s, have); err != nil {
		return nil, r.classify("compare the position with "+r.addr(), err)
	}
	purged, err := s.purged(ctx)
	if err != nil {
		return nil, r.classify("ask "+r.addr()+" for its oldest binlog", err)
	}
	if missing := purged.Minus(have); !missing.Empty() {
		return nil, lost(fmt.Sprintf("%s has purged transactions that were not captured: %s (the position has %s)", r.addr(), missing, orNone(have)))
	}
	if from.Server != "" && from.Server != s.identity {
		r.log.Warn("the server changed and continues the position", "before", from.Server, "now", s.identity, "gtid", from.GTIDSet)
	}
	return have, nil
}

// settlePoll is how often a server is asked again whether it has executed what it sent.
const settlePoll = 100 * time.Millisecond

func (r *Replica) checkNotAhead(ctx context.Context, s *session, have *change.GTIDSet) error {
	deadline := time.Now().Add(r.settle)
	tick := time.NewTicker(settlePoll)
	defer tick.Stop()
	for {
		executed, err := s.executed(ctx)
		if err != nil {
			return err
		}
		extra := have.Minus(executed)
		if extra.Empty() {
			return nil
		}
		if time.Now().After(deadline) {
			return stop(CodePositionAhead, aheadHint, "%s (server %s) lacks transactions that were captured: %s (it has %s)", r.addr(), s.identity, extra, orNone(executed))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func orNone(s *change.GTIDSet) string {
	if s.Empty() {
		return "none"
	}
	return s.String()
}
