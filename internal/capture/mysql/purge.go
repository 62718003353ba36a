package mysql

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/rowhook/rowhook/internal/change"
)

// KeptForGood is the margin of a server that never purges binlogs by age.
const KeptForGood = time.Duration(math.MaxInt64)

// PurgeMargin returns how long it will take until the server may purge the binlog file that a position needs: from when that file was
// closed and how long files are kept. KeptForGood means never; a file that is still written to has the whole of the retention. Zero or
// less means that it may be gone at any rotation. behind tells whether the server has gone on to another file.
func (r *Replica) PurgeMargin(ctx context.Context, at change.Position) (margin time.Duration, behind bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	s, err := r.open(ctx)
	if err != nil {
		return 0, false, err
	}
	defer s.close()
	rows, err := s.table(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return 0, false, r.classify("ask "+r.addr()+" for its binlogs", err)
	}
	var files []string
	for _, row := range rows {
		files = append(files, row["log_name"])
	}
	kept := binlogsKept(s)
	i := slices.Index(files, at.File)
	switch {
	case at.Server != s.identity || at.File == "":
		return forGood(kept), false, nil // the files of another server have other names; the first commit from here tells
	case i < 0:
		return 0, true, nil
	case i == len(files)-1:
		return forGood(kept), false, nil
	case kept == 0:
		return KeptForGood, true, nil
	}
	closed, err := r.fileCreated(ctx, s, place{file: files[i+1], offset: fileStart}, r.derivedID(idOfPurgeDump))
	if err != nil {
		return 0, true, err
	}
	return time.Until(time.Unix(int64(closed), 0).Add(kept)), true, nil
}

func forGood(kept time.Duration) time.Duration {
	if kept == 0 {
		return KeptForGood
	}
	return kept
}

// idOfPurgeDump picks the server id for the dump that asks when a file began.
const idOfPurgeDump = 1<<20 + 1
