package app

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/rowhook/rowhook/internal/capture"
	"github.com/rowhook/rowhook/internal/capture/mysql"
	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/eventlog"
)

const (
	// purgeInterval is how often a source is asked how long the binlog that it needs will be kept.
	purgeInterval = time.Minute
	// purgeWarning is how long before a purge warnings begin: a night and a morning.
	purgeWarning = 24 * time.Hour
	// purgeRepeat is how often the warning is repeated.
	purgeRepeat = time.Hour
	// vanishedSample is how many GTIDs of vanished transactions a stop names.
	vanishedSample = 5
)

// purger knows how long binlogs are kept; it is a replica.
type purger interface {
	PurgeMargin(ctx context.Context, at change.Position) (margin time.Duration, behind bool, err error)
}

// watchPurge warns while the source falls so far behind, or is stopped for so long, that the server will purge what was not captured.
func (s *source) watchPurge(ctx context.Context, p purger) error {
	t := time.NewTicker(purgeInterval)
	defer t.Stop()
	var warned time.Time
	for {
		_, pos, appended := s.log.Tail()
		if !appended.IsZero() {
			margin, behind, err := p.PurgeMargin(ctx, pos)
			switch {
			case err != nil: // a server that cannot be reached is told of elsewhere
				s.logger.Debug("how long binlogs are kept is not known", "source", s.name, "err", err)
			default:
				s.margin.Store(int64(margin))
				if behind && margin < purgeWarning && time.Since(warned) >= purgeRepeat {
					warned = time.Now()
					s.logger.Warn("the server will purge binlogs that are not captured yet", "source", s.name, "in", max(margin, 0).Round(time.Second),
						"file", pos.File, "captured_to", time.UnixMicro(pos.CommitTime).UTC(),
						"hint", "let the source catch up, or keep binlogs for longer: SET GLOBAL binlog_expire_logs_seconds = 1209600;")
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// purgeMargin is for the metric: seconds, +Inf for good, NaN before it is known.
func (s *source) purgeMargin() float64 {
	switch m := time.Duration(s.margin.Load()); m {
	case unknownMargin:
		return math.NaN()
	case mysql.KeptForGood:
		return math.Inf(1)
	default:
		return m.Seconds()
	}
}

// unknownMargin stands for a margin that was not asked for yet.
const unknownMargin = time.Duration(math.MinInt64)

// tellVanished adds to a stop what the log has of the transactions that the server lost, so that it can be undone where it was sent.
func (s *source) tellVanished(ctx context.Context, stop *capture.StopError) {
	if stop.Vanished == nil {
		return
	}
	v, err := s.findVanished(ctx, stop.Vanished)
	if err != nil {
		stop.Message += fmt.Sprintf("; what the log has of them could not be read: %v", err)
		return
	}
	if v.changes == 0 {
		stop.Message += "; no change of theirs is in the log, so nothing of them was sent"
		return
	}
	stop.Message += fmt.Sprintf("; the log has %d changes of %d of them, from seq %d to %d, which may have been sent: %s", v.changes, v.transactions, v.first,
		v.last, v.sample())
}

// vanished is what a log has of vanished transactions.
type vanished struct {
	changes, transactions, first, last uint64
	gtids                              []string
	newest                             string
}

func (v *vanished) sample() string {
	text := strings.Join(v.gtids, ", ")
	if v.transactions > uint64(len(v.gtids)) {
		text += fmt.Sprintf(" and %d more, the last one %s", v.transactions-uint64(len(v.gtids)), v.newest)
	}
	return text
}

func (v *vanished) add(c *change.Change) {
	if v.changes == 0 {
		v.first = c.Seq
	}
	v.changes, v.last = v.changes+1, c.Seq
	if c.Tx.GTID == v.newest {
		return
	}
	v.newest = strings.Clone(c.Tx.GTID)
	v.transactions++
	if len(v.gtids) < vanishedSample {
		v.gtids = append(v.gtids, v.newest)
	}
}

// findVanished reads the end of the log, from before the first of them on.
func (s *source) findVanished(ctx context.Context, gone *capture.Vanished) (*vanished, error) {
	next, _, _ := s.log.Tail()
	from, err := s.beforeVanished(ctx, gone, next)
	if err != nil {
		return nil, err
	}
	v, reader := &vanished{}, s.log.NewReader(from)
	for seq := from; seq < next; {
		e, err := reader.Next(ctx)
		if err != nil {
			return nil, err
		}
		blk, err := change.Parse(e.Block)
		if err != nil {
			return nil, err
		}
		err = blk.Each(func(c *change.Change) error {
			if gone.Has(c.Tx.GTID) {
				v.add(c)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		seq = blk.NextSeq()
	}
	return v, nil
}

// beforeVanished goes back in ever greater steps until it is before all of them: they are at the log's end, and the log may be long.
func (s *source) beforeVanished(ctx context.Context, gone *capture.Vanished, next uint64) (uint64, error) {
	first, err := s.log.First(ctx)
	if err != nil {
		return 0, err
	}
	for step := uint64(1 << 12); ; step *= 4 {
		if next <= first+step {
			return first, nil
		}
		e, err := s.entry(ctx, next-step)
		if err != nil {
			return 0, err
		}
		if gone.After(e.Header.Position.GTIDSet) {
			return e.Header.FirstSeq, nil
		}
	}
}

func (s *source) entry(ctx context.Context, seq uint64) (*eventlog.Entry, error) {
	return s.log.NewReader(seq).Next(ctx)
}
