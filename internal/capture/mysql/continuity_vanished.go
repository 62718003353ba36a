package mysql

import (
	"context"
	"fmt"
	"strings"

	"github.com/rowhook/rowhook/internal/capture"
	"github.com/rowhook/rowhook/internal/change"
)

// lacking is what a server lacks of a position; nil if it has all of it.
type lacking struct {
	// missing and has are for people.
	missing, has string
	vanished     capture.Vanished
}

// lacks compares what was captured with what the server has executed.
func (s *session) lacks(ctx context.Context, have *change.GTIDSet) (*lacking, error) {
	executed, err := s.executed(ctx)
	if err != nil {
		return nil, err
	}
	if s.flavor == change.MariaDB {
		return s.lacksMaria(ctx, have, executed)
	}
	extra := have.Minus(executed)
	if extra.Empty() {
		return nil, nil
	}
	return &lacking{extra.String(), orNone(executed), capture.Vanished{
		Has: func(gtid string) bool {
			g, err := change.ParseGTID(change.MySQL, gtid)
			return err == nil && extra.Contains(g)
		},
		After: func(set string) bool {
			at, err := change.ParseGTIDSet(change.MySQL, set)
			return err == nil && extra.Minus(at).String() == extra.String()
		},
	}}, nil
}

// lacksMaria asks what the server has of each other server's transactions: after a promotion a domain goes on with numbers of the new
// primary, so that a greater number does not mean that the lost ones are there.
func (s *session) lacksMaria(ctx context.Context, have, executed *change.GTIDSet) (*lacking, error) {
	state, err := s.value(ctx, "SELECT @@GLOBAL.gtid_binlog_state")
	if err != nil {
		return nil, err
	}
	purged, err := s.purged(ctx)
	if err != nil {
		return nil, err
	}
	newest := map[[2]uint32]uint64{}
	for _, g := range mariaGTIDs(state) {
		newest[[2]uint32{g.Domain, g.Server}] = g.N
	}
	// What is older than the oldest binlog the state need not name.
	lost := func(g change.GTID) bool { return !purged.Contains(g) && g.N > newest[[2]uint32{g.Domain, g.Server}] }
	var missing []string
	for _, g := range mariaGTIDs(have.String()) {
		if lost(g) {
			missing = append(missing, fmt.Sprintf("%d-%d-%d..%d", g.Domain, g.Server, newest[[2]uint32{g.Domain, g.Server}]+1, g.N))
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	return &lacking{strings.Join(missing, ","), orNone(executed), capture.Vanished{
		Has: func(gtid string) bool {
			g, err := change.ParseGTID(change.MariaDB, gtid)
			return err == nil && lost(g)
		},
		After: func(set string) bool {
			for _, g := range mariaGTIDs(set) {
				if lost(g) {
					return false
				}
			}
			return true
		},
	}}, nil
}

// mariaGTIDs reads a list of GTIDs, as the server prints it.
func mariaGTIDs(list string) []change.GTID {
	var out []change.GTID
	for text := range strings.SplitSeq(list, ",") {
		if g, err := change.ParseGTID(change.MariaDB, strings.TrimSpace(text)); err == nil && g.N > 0 {
			out = append(out, g)
		}
	}
	return out
}
