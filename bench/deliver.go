package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Sizes of the deliver scenario.
const (
	DeliverRows      = 200_000
	DeliverShortRows = 30_000
	minDeliverRows   = 1000
	maxDeliverRows   = 5_000_000
	// deliverConnections is how many requests are in flight, for Rowhook and for its peer.
	deliverConnections = 64
)

// DeliverOptions of Deliver.
type DeliverOptions struct {
	// Rows is how many events are delivered in each round.
	Rows int
	// Dir is where logs are kept; empty is the system's temporary folder.
	Dir string
	// Binary is the rowhook to measure, and ReceiverArgs make it run Receive.
	Binary       string
	ReceiverArgs []string
	// Progress takes lines for who waits.
	Progress io.Writer
}

// Validate says what is wrong with the options, in the words of the command line.
func (o DeliverOptions) Validate() error {
	if o.Rows < minDeliverRows || o.Rows > maxDeliverRows {
		return fmt.Errorf("--rows is %d: it must be from %d to %d", o.Rows, minDeliverRows, maxDeliverRows)
	}
	return nil
}

// deliverPerRow is the disk that an event takes: in the log, its attempt, the journal.
const deliverPerRow = 1500

// Deliver measures how fast `rowhook serve` sends what is in its log: matched, in order for each key, journaled, signed, posted,
// every attempt recorded. Its peer is net/http in a bare loop that posts the same bytes to the same receiver. They take turns.
func Deliver(ctx context.Context, o DeliverOptions) (r Result, err error) {
	if err := o.Validate(); err != nil {
		return r, err
	}
	d, err := findDisk(o.Dir)
	if err != nil {
		return r, err
	}
	if err := d.need(uint64(o.Rows) * deliverPerRow); err != nil {
		return r, err
	}
	dir, err := os.MkdirTemp(o.Dir, "rowhook-bench-*")
	if err != nil {
		return r, fmt.Errorf("make the folder of the run: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p := NewProgress(o.Progress)
	var own, bare []sending
	for round := 1; round <= rounds; round++ {
		s, err := deliverRowhook(ctx, o, filepath.Join(dir, fmt.Sprint(round)))
		if err != nil {
			return r, fmt.Errorf("round %d: Rowhook: %w", round, err)
		}
		p.Step("round %d of %d: Rowhook    %s requests/s", round, rounds, thousands(s.rate()))
		own = append(own, s)
		if s, err = deliverBare(ctx, o); err != nil {
			return r, fmt.Errorf("round %d: bare loop: %w", round, err)
		}
		p.Step("round %d of %d: bare loop  %s requests/s", round, rounds, thousands(s.rate()))
		bare = append(bare, s)
	}
	return deliverResult(o, own, bare, d), nil
}

// sending is how long a number of requests took, from the first to the last that the receiver had read whole.
type sending struct {
	requests int
	took     time.Duration
	// cpu is the processors' time that the sender took in all.
	cpu time.Duration
}

// each is the sender's processor time for one request, in microseconds: unlike the rate it does not depend on what else runs.
func (s sending) each() float64 { return float64(s.cpu.Microseconds()) / float64(s.requests) }

func (s sending) rate() float64 { return float64(s.requests-1) / s.took.Seconds() }

// sendingOf holds what has come to what had to, each row once, and measures it.
func sendingOf(got arrivals, rows int) (sending, error) {
	if len(got.All) != rows || got.Unreadable > 0 {
		return sending{}, fmt.Errorf("the receiver got %d requests and %d that it could not read, not %d", len(got.All), got.Unreadable, rows)
	}
	slices.SortFunc(got.All, func(a, b arrival) int { return cmp.Compare(a.ID, b.ID) })
	first, last := got.All[0].At, got.All[0].At
	for i, a := range got.All {
		if a.ID != int64(i+1) {
			return sending{}, fmt.Errorf("row %d is missing, or came twice", i+1)
		}
		first, last = min(first, a.At), max(last, a.At)
	}
	return sending{requests: rows, took: time.Duration(last - first)}, nil
}

// awaitAll waits until so many requests have come; sender says why they may not.
func (r *remote) awaitAll(ctx context.Context, rows int, sender *child) (arrivals, error) {
	last, since := 0, time.Now()
	for {
		n, err := r.count(ctx)
		if err != nil {
			return arrivals{}, err
		}
		if n >= rows {
			return r.arrivals(ctx)
		}
		if n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) > patience {
			return arrivals{}, fmt.Errorf("%d of %d requests have come, and none for %v: %w", n, rows, patience, sender.failed())
		}
		if err := waitUntil(ctx, time.Now().Add(100*time.Millisecond)); err != nil {
			return arrivals{}, err
		}
		if err := sender.failed(); err != nil {
			return arrivals{}, err
		}
	}
}

func deliverResult(o DeliverOptions, own, bare []sending, d disk) Result {
	r := Result{Scenario: "deliver", Server: "none"}
	r.Title = fmt.Sprintf("deliver: %s events from the log to a receiver that answers 200, %d connections", thousands(float64(o.Rows)), deliverConnections)
	a, b := sendRates(own), sendRates(bare)
	ratio := median(a) / median(b)
	r.Rows = []Row{
		{"sender", "requests/s", "of five runs", "Rowhook is", "processor µs each"},
		{"net/http, bare loop", thousands(median(b)), spread(b), fmt.Sprintf("%.2f ×", ratio), fmt.Sprintf("%.0f", median(sendTimes(bare)))},
		{"Rowhook, from the log", thousands(median(a)), spread(a), "1.00 ×", fmt.Sprintf("%.0f", median(sendTimes(own)))},
	}
	r.Measured.Add("rowhook_requests_per_s", round(median(a), 0))
	r.Measured.Add("bare_loop_requests_per_s", round(median(b), 0))
	r.Measured.Add("rowhook_requests_per_s_runs", whole(a))
	r.Measured.Add("bare_loop_requests_per_s_runs", whole(b))
	r.Measured.Add("rowhook_cpu_us_per_request", round(median(sendTimes(own)), 1))
	r.Measured.Add("bare_loop_cpu_us_per_request", round(median(sendTimes(bare)), 1))
	r.Ratios.Add("to_bare_loop", round(ratio, 3))
	r.Settings.Add("rows", o.Rows)
	r.Settings.Add("rounds", rounds)
	r.Settings.Add("connections", deliverConnections)
	r.Settings.Add("bare_loop", "net/http of this Go: 64 goroutines, one http.Client with 64 idle connections, HTTP/1.1, the same headers and bodies made beforehand, answers read; nothing is matched, signed or recorded")
	r.Settings.Add("rowhook", "rowhook serve, defaults but concurrency 64: read from the log, matched, ordered by key, rendered, journaled, signed, posted, every attempt in the store")
	r.Settings.Add("clock", "from the first to the last request, each when the receiver has read it whole; the receiver is a process of its own and answers 200 at once")
	r.Settings.Add("tls", "off")
	describeMachine(&r.Settings)
	r.Warnings = append(r.Warnings, d.warnings()...)
	return r
}

func sendRates(all []sending) []float64 {
	out := make([]float64, 0, len(all))
	for _, s := range all {
		out = append(out, s.rate())
	}
	return out
}

func sendTimes(all []sending) []float64 {
	out := make([]float64, 0, len(all))
	for _, s := range all {
		out = append(out, s.each())
	}
	return out
}

func spread(values []float64) string {
	low, high := extent(values)
	return thousands(low) + " – " + thousands(high)
}
