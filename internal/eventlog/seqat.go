package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rowhook/rowhook/internal/change"
)

const (
	// clockTolerance is how far the clocks of the followed server and of this machine may be apart before SeqAt skips a change.
	clockTolerance = 5 * time.Second
	// seqAtBytes bounds the blocks that SeqAt looks through after its search.
	seqAtBytes = 32 << 20
)

// SeqAt returns a seq after which all changes lie that committed at or after t: the start of a reader that wants those. It errs to
// the early side only. If t is before everything, it is the one before First; if it is after everything, that of the last change.
//
// Commit times are not in order: a server keeps those of the servers it replicates, and a long statement may have the time of its
// beginning. So SeqAt searches by the time of the append, which is after the commit: about log2(messages) reads. From there it skips
// the changes that committed before t, in whole seconds, within 32 MiB. A log that was far behind at that time therefore gives more
// than was asked for. A change is skipped wrongly only if the clock of the server was more than 5 s ahead of this machine's.
func (l *Log) SeqAt(ctx context.Context, t time.Time) (uint64, error) {
	seq, err := l.seqAt(ctx, t)
	if x, ok := errors.AsType[*ExpiredError](err); ok {
		return max(1, x.First) - 1, nil // it expired meanwhile
	}
	if err != nil {
		return 0, fmt.Errorf("find the changes of source %s from %s on: %w", l.st.source, t.UTC().Format(time.RFC3339Nano), err)
	}
	return seq, nil
}

func (l *Log) seqAt(ctx context.Context, t time.Time) (uint64, error) {
	st := l.st
	e, err := st.srv.running(ctx)
	if err != nil {
		return 0, err
	}
	st.mu.Lock()
	end, next := st.tail, st.nextSeq()
	st.mu.Unlock()
	first, err := st.fetch(ctx, e, 1, 1)
	if err != nil {
		return 0, err
	}
	if len(first) == 0 || !end.known {
		return max(1, next) - 1, nil
	}
	m, err := st.searchTime(ctx, e, first[0], end.last, t.Add(-clockTolerance))
	if err != nil {
		return 0, err
	}
	if m == nil {
		return end.header.NextSeq() - 1, nil
	}
	return l.skipBefore(ctx, max(m.mark.firstSeq, first[0].firstWhole()), end.header.NextSeq(), t)
}

// searchTime returns the first message from first on, up to sequence hi, that was appended at or after t; nil if there is none.
func (st *stream) searchTime(ctx context.Context, e *engine, first message, hi uint64, t time.Time) (*message, error) {
	if !first.at.Before(t) {
		return &first, nil
	}
	var found *message
	for lo := first.seq + 1; lo <= hi; {
		mid := lo + (hi-lo)/2
		ms, err := st.fetch(ctx, e, mid, 1)
		if err != nil {
			return nil, err
		}
		// Messages expire from the front while this runs; then the one found is the first there is.
		if len(ms) == 0 || ms[0].seq > hi {
			return nil, &CorruptError{Source: st.source, StreamSeq: mid, Reason: "the message is missing"}
		}
		if m := ms[0]; m.at.Before(t) {
			lo = m.seq + 1
		} else {
			found, hi = &m, mid-1
		}
	}
	return found, nil
}

// skipBefore returns the seq before the first change from seq from on, up to next, that committed at or after t.
func (l *Log) skipBefore(ctx context.Context, from, next uint64, t time.Time) (uint64, error) {
	since := t.Truncate(time.Second).UnixMicro() // MariaDB keeps seconds
	r, seq := l.NewReader(from), from
	for size := 0; seq < next && size < seqAtBytes; {
		e, err := r.Next(ctx)
		if err != nil {
			return 0, err
		}
		blk, err := change.Parse(e.Block)
		if err != nil {
			return 0, &CorruptError{Source: l.st.source, StreamSeq: e.StreamSeq, Reason: err.Error()}
		}
		err = blk.Each(func(c *change.Change) error {
			if c.Tx.CommitTime >= since {
				return errFound
			}
			seq = max(seq, c.Seq+1)
			return nil
		})
		if errors.Is(err, errFound) {
			break
		}
		if err != nil {
			return 0, &CorruptError{Source: l.st.source, StreamSeq: e.StreamSeq, Reason: err.Error()}
		}
		size += len(e.Block)
	}
	return seq - 1, nil
}

var errFound = errors.New("found")
