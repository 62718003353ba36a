package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// loadWriters is how many connections commit at once under load; a server groups their commits into one sync.
const loadWriters = 32

// phase is a stretch of commits.
type phase struct {
	name  string
	rate  int // commits a second
	lasts time.Duration
	alone bool // one connection, at uneven intervals, so as not to keep step with any timer

	commits  []commit
	took     time.Duration
	repeated int // requests beyond the first for a row
}

// commit is one transaction, in nanoseconds of the Unix epoch.
type commit struct {
	id       int64
	sent     int64 // before the statement was sent
	returned int64 // after the server said that it is committed
	arrived  int64 // at the receiver
}

// insertSheet is cheap for the server: its time would be Rowhook's too, on the same cores.
const insertSheet = `INSERT INTO sheet_rows VALUES (?, 4711, 'row 1234567 of the plan', 'owner123@example.com', 'shade-4F1D3C28', 56789.25,
	'2026-01-31 13:37:00.123456', '{"w": 320, "tags": ["a", "b"], "wrap": true}', 'open', 4321,
	'note 1234567: please check the figures against the invoice before the end of the month, thanks', 0)`

// run commits at the phase's rate. A server that is too slow makes the phase longer, not shorter of commits.
func (l *pipeline) run(ctx context.Context, ph *phase) error {
	n, writers := int(float64(ph.rate)*ph.lasts.Seconds()), loadWriters
	if ph.alone {
		writers = 1
	}
	ph.commits = make([]commit, n)
	due := ph.schedule(n)
	first := l.lastID + 1
	l.lastID += int64(n)
	g, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for w := range writers {
		g.Go(func() error {
			wr, err := l.openWriter(ctx)
			if err != nil {
				return err
			}
			defer wr.close()
			for i := w; i < n; i += writers {
				if err := waitUntil(ctx, began.Add(due[i])); err != nil {
					return err
				}
				if ph.commits[i], err = wr.insert(ctx, first+int64(i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := g.Wait()
	ph.took = time.Since(began)
	l.expected += n
	return err
}

// schedule says when each of n commits is due, from the start.
func (ph *phase) schedule(n int) []time.Duration {
	step := time.Second / time.Duration(ph.rate)
	due := make([]time.Duration, n)
	for i := range due {
		due[i] = time.Duration(i) * step
		if ph.alone {
			due[i] += rand.N(step / 2)
		}
	}
	return due
}

func waitUntil(ctx context.Context, at time.Time) error {
	d := time.Until(at)
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// achieved is how many commits a second there were, at most as many as were due.
func (ph *phase) achieved() float64 {
	return float64(len(ph.commits)) / max(ph.took, ph.lasts).Seconds()
}

// match finds when each committed row arrived, and fails if one did not.
func match(got arrivals, plan []phase) error {
	if got.Unreadable > 0 {
		return fmt.Errorf("the receiver got %d requests without a row id", got.Unreadable)
	}
	first, times := make(map[int64]int64, len(got.All)), make(map[int64]int, len(got.All))
	for _, a := range got.All {
		if times[a.ID]++; times[a.ID] == 1 {
			first[a.ID] = a.At
		}
	}
	for i := range plan {
		ph, missing := &plan[i], 0
		for j := range ph.commits {
			c := &ph.commits[j]
			if times[c.id] == 0 {
				missing++
				continue
			}
			c.arrived = first[c.id]
			ph.repeated += times[c.id] - 1
		}
		if missing > 0 {
			return fmt.Errorf("%s: %d of %d committed rows did not arrive", ph.name, missing, len(ph.commits))
		}
	}
	return nil
}

// times are the sorted durations of a phase.
type times struct {
	latency  []time.Duration // commit returned → arrived
	fromSent []time.Duration // statement sent → arrived
	commit   []time.Duration // statement sent → commit returned
}

func (ph *phase) times() times {
	var t times
	for _, c := range ph.commits {
		t.latency = append(t.latency, time.Duration(c.arrived-c.returned))
		t.fromSent = append(t.fromSent, time.Duration(c.arrived-c.sent))
		t.commit = append(t.commit, time.Duration(c.returned-c.sent))
	}
	slices.Sort(t.latency)
	slices.Sort(t.fromSent)
	slices.Sort(t.commit)
	return t
}

func (t times) row(ph *phase) Row {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.2f", milliseconds(d)) }
	return Row{
		ph.name, thousands(float64(len(ph.commits))), thousands(ph.achieved()),
		ms(percentile(t.latency, 50)), ms(percentile(t.latency, 95)), ms(percentile(t.latency, 99)), ms(percentile(t.latency, 100)),
		ms(percentile(t.fromSent, 50)), ms(percentile(t.fromSent, 95)), ms(percentile(t.commit, 50)),
	}
}

func (t times) add(f *Figures, prefix string) {
	for _, p := range []struct {
		name string
		of   float64
	}{{"p50_ms", 50}, {"p95_ms", 95}, {"p99_ms", 99}, {"max_ms", 100}} {
		f.Add(prefix+p.name, milliseconds(percentile(t.latency, p.of)))
	}
	f.Add(prefix+"from_sending_p50_ms", milliseconds(percentile(t.fromSent, 50)))
	f.Add(prefix+"from_sending_p95_ms", milliseconds(percentile(t.fromSent, 95)))
	f.Add(prefix+"commit_p50_ms", milliseconds(percentile(t.commit, 50)))
}
