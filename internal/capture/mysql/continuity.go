package mysql

import (
	"context"
	"fmt"
	"time"

	"github.com/rowhook/rowhook/internal/change"
)

const aheadHint = "A failover lost them, or the server was rebuilt or reset. Follow the server that has them; or undo at the receivers what was sent of them, and move data_dir away to attach anew at the present position."

// checkContinuity returns where to begin, once it is certain that the server can continue the position without a gap.
func (r *Replica) checkContinuity(ctx context.Context, s *session, from change.Position) (beginning, error) {
	if err := r.checkKind(s, from); err != nil {
		return beginning{}, err
	}
	if from.ByFile() {
		at := place{from.File, from.FileCreated, from.Offset}
		return beginning{place: &at}, r.checkPlace(ctx, s, at, from.Server)
	}
	have, err := r.checkSet(ctx, s, from)
	return beginning{set: have}, err
}

// checkKind holds that a log goes on as it began. A change would be a change of all ids, and a transaction that was captured in part
// would not be found again.
func (r *Replica) checkKind(s *session, from change.Position) error {
	switch {
	case from.ByFile() && s.flavor != change.MySQL:
		return stop(CodePositionLost, placeHint, "the position %s:%d is one of a MySQL server, and %s is a %s server", from.File, from.Offset, r.addr(), s.flavor)
	case from.ByFile() && !s.byFile():
		return stop(CodeGTIDChanged, gtidTurnedOnHint, "gtid_mode of %s is ON now, and this source began without GTIDs", r.addr())
	case !from.ByFile() && s.byFile():
		return stop(CodeGTIDChanged, "Turn it on again: "+gtidModeSQL(s)+" Or move data_dir away to attach anew at the present position, without GTIDs.",
			"gtid_mode of %s is %s now, and this source began with GTIDs", r.addr(), s.vars[CodeGTIDMode])
	}
	return nil
}

// checkSet holds that what we have was executed at the server, and that what it purged we have.
func (r *Replica) checkSet(ctx context.Context, s *session, from change.Position) (*change.GTIDSet, error) {
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
		lacks, err := s.lacks(ctx, have)
		if err != nil || lacks == nil {
			return err
		}
		if time.Now().After(deadline) {
			e := stop(CodePositionLost, aheadHint, "%s (server %s) lacks transactions that were captured: %s (it has %s)", r.addr(), s.identity, lacks.missing, lacks.has)
			e.Vanished = &lacks.vanished
			return e
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
