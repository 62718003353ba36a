package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rowhook/rowhook/internal/dbserver"
)

// Sizes of the latency scenario.
const (
	LatencyRate     = 2000
	LatencyFor      = 20 * time.Second
	LatencyShortFor = 8 * time.Second
	maxLatencyRate  = 20_000
	minLatencyFor   = time.Second
	maxLatencyFor   = 10 * time.Minute
)

// LatencyOptions of Latency.
type LatencyOptions struct {
	Server ServerOptions
	// Rate is how many single-row transactions are committed a second in the loaded phase; 0 leaves it out.
	Rate int
	// For is how long each phase lasts.
	For time.Duration
	// Binary is the rowhook to measure, and ReceiverArgs make it run Receive.
	Binary       string
	ReceiverArgs []string
	// Progress takes lines for who waits.
	Progress io.Writer
}

// Validate says what is wrong with the options, in the words of the command line.
func (o LatencyOptions) Validate() error {
	switch {
	case o.Rate < 0 || o.Rate > maxLatencyRate:
		return fmt.Errorf("--rate is %d: it must be from 0 (idle only) to %d a second", o.Rate, maxLatencyRate)
	case o.For < minLatencyFor || o.For > maxLatencyFor:
		return fmt.Errorf("--for is %v: it must be from %v to %v", o.For, minLatencyFor, maxLatencyFor)
	}
	return o.Server.validate()
}

// Latency measures the time from a commit to the answer of the endpoint, end to end: a server, `rowhook serve` and a receiver, each
// a process of its own, first one commit at a time on an idle system, then under load.
func Latency(ctx context.Context, o LatencyOptions) (Result, error) {
	if err := o.Validate(); err != nil {
		return Result{}, err
	}
	d, err := findDisk(o.Server.Dir)
	if err != nil {
		return Result{}, err
	}
	p := NewProgress(o.Progress)
	s, err := openSite(ctx, o.Server, p, dbserver.Options{Durable: true, BufferPool: "512M"})
	if err != nil {
		return Result{}, err
	}
	r, err := latencyOn(ctx, s, o, p)
	r.Warnings = append(r.Warnings, d.warnings()...)
	return r, errors.Join(err, s.close())
}

func latencyOn(ctx context.Context, s *site, o LatencyOptions, p *Progress) (r Result, err error) {
	if err := s.exec(ctx, createSheet); err != nil {
		return r, err
	}
	dir, err := os.MkdirTemp(o.Server.Dir, "rowhook-bench-*")
	if err != nil {
		return r, fmt.Errorf("make the folder of the run: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	line := &pipeline{site: s}
	defer func() { err = errors.Join(err, line.stop()) }()
	if err := line.start(ctx, dir, o); err != nil {
		return r, err
	}
	phases, err := line.measure(ctx, o, p)
	if err != nil {
		return r, err
	}
	return latencyResult(ctx, s, o, phases)
}

// idleRate is the mean of the idle phase; a commit and its delivery are long over when the next one comes.
const idleRate = 10

// warmUp is how long the load lasts that nobody counts: connections open, buffers grow, caches fill.
const warmUp = 2 * time.Second

// measure runs the phases and waits for all that they committed.
func (l *pipeline) measure(ctx context.Context, o LatencyOptions, p *Progress) ([]phase, error) {
	p.Step("waiting for the first delivery")
	if err := l.attached(ctx); err != nil {
		return nil, err
	}
	plan := []phase{
		{name: "warm-up", rate: max(o.Rate, idleRate), lasts: warmUp},
		{name: "idle", rate: idleRate, lasts: o.For, alone: true},
	}
	if o.Rate > 0 {
		plan = append(plan, phase{name: "loaded", rate: o.Rate, lasts: o.For})
	}
	for i := range plan {
		ph := &plan[i]
		p.Step("%s: %d commits a second for %v", ph.name, ph.rate, ph.lasts)
		if err := l.run(ctx, ph); err != nil {
			return nil, fmt.Errorf("%s: %w", ph.name, err)
		}
		if err := l.settle(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", ph.name, err)
		}
	}
	got, err := l.receiver.arrivals(ctx)
	if err != nil {
		return nil, err
	}
	return plan[1:], match(got, plan)
}

func latencyResult(ctx context.Context, s *site, o LatencyOptions, phases []phase) (Result, error) {
	r := Result{Scenario: "latency", Server: string(s.kind)}
	r.Title = fmt.Sprintf("latency: from commit to 2xx, on %s %s; database, Rowhook and receiver on the same machine", s.kind, s.version)
	r.Rows = []Row{{"phase", "commits", "per second", "p50 ms", "p95 ms", "p99 ms", "max ms", "p50 from sending", "p95 from sending", "p50 of the commit"}}
	for i := range phases {
		ph := &phases[i]
		t := ph.times()
		r.Rows = append(r.Rows, t.row(ph))
		if ph.alone {
			t.add(&r.Measured, "idle_")
		}
		if !ph.alone || o.Rate == 0 {
			t.add(&r.Measured, "")
			r.Measured.Add("commits", len(ph.commits))
			r.Measured.Add("achieved_per_s", round(ph.achieved(), 1))
			r.Measured.Add("repeated", ph.repeated)
		}
		if got := ph.achieved(); got < 0.95*float64(ph.rate) {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s: the server took %.0f commits a second, not the %d that were asked for", ph.name, got, ph.rate))
		}
	}
	r.Settings.Add("rate", o.Rate)
	r.Settings.Add("idle_rate", idleRate)
	r.Settings.Add("for_s", o.For.Seconds())
	r.Settings.Add("writers", loadWriters)
	r.Settings.Add("rowhook", "rowhook serve, defaults: every block fsynced in the log before it is delivered, every attempt recorded; one type of 12 columns, one endpoint")
	r.Settings.Add("clock", "from the return of the commit to its writer, to the whole request being read by the receiver, which answers 200 at once; 'from sending' starts before the statement is sent")
	r.Settings.Add("tls", "off")
	describeMachine(&r.Settings)
	return r, s.describe(ctx, &r.Settings)
}
