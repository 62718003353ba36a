package mysql

import (
	"context"
	"fmt"
	"strconv"

	"github.com/rowhook/rowhook/internal/change"
)

// Places to attach at.
const (
	// AtNow is the end of the binlog: what is committed from here on.
	AtNow = "now"
	// AtEarliest is the start of the oldest binlog that the server still has.
	AtEarliest = "earliest"
)

// Attach returns the position to begin with.
func (r *Replica) Attach(ctx context.Context, at string) (change.Position, error) {
	if at != AtNow && at != AtEarliest {
		return change.Position{}, fmt.Errorf("attach at %q: use %s or %s", at, AtNow, AtEarliest)
	}
	s, err := r.open(ctx)
	if err != nil {
		return change.Position{}, err
	}
	defer s.close()
	if err := r.checkSettings(s); err != nil {
		return change.Position{}, err
	}
	ask := s.earliest
	if at == AtNow {
		ask = s.now
	}
	p, err := ask(ctx)
	if err != nil {
		return change.Position{}, r.classify("ask "+r.addr()+" for its position", err)
	}
	p.Server = s.identity
	if !s.byFile() {
		return p, nil
	}
	// Some transactions may have GTIDs nevertheless, but a set of them would not be all.
	p.GTIDSet = ""
	id, err := r.chooseServerID(ctx, s)
	if err != nil {
		return change.Position{}, err
	}
	if p.FileCreated, err = r.fileCreated(ctx, s, place{file: p.File, offset: p.Offset}, id); err != nil {
		return change.Position{}, fmt.Errorf("ask %s when it created %s: %w", r.addr(), p.File, err)
	}
	return p, nil
}

// now returns the end of the binlog. File, offset and set are of one moment.
func (s *session) now(ctx context.Context) (change.Position, error) {
	rows, err := s.table(ctx, "SHOW BINARY LOG STATUS")
	if code, _ := serverErrorCode(err); code == errSyntax {
		rows, err = s.table(ctx, "SHOW MASTER STATUS")
	}
	if err != nil {
		return change.Position{}, err
	}
	if len(rows) == 0 {
		return change.Position{}, stop(CodeLogBin, logBinHint, "the server has no binlog")
	}
	p := change.Position{File: rows[0]["file"]}
	if p.Offset, err = strconv.ParseUint(rows[0]["position"], 10, 64); err != nil {
		return p, fmt.Errorf("binlog position: %w", err)
	}
	var set *change.GTIDSet
	if s.flavor == change.MariaDB {
		set, err = s.set(ctx, "SELECT BINLOG_GTID_POS(?, ?)", p.File, p.Offset)
	} else {
		set, err = change.ParseGTIDSet(s.flavor, rows[0]["executed_gtid_set"])
	}
	if err != nil {
		return p, err
	}
	p.GTIDSet = set.String()
	return p, nil
}

func (s *session) earliest(ctx context.Context) (change.Position, error) {
	file, err := s.firstFile(ctx)
	if err != nil {
		return change.Position{}, err
	}
	set, err := s.purged(ctx)
	if err != nil {
		return change.Position{}, err
	}
	return change.Position{File: file, Offset: fileStart, GTIDSet: set.String()}, nil
}
