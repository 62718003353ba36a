package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/internal/eventlog"
	"github.com/rowhook/rowhook/internal/store"
)

// leaseTTL is how long a claim of the slots lasts. Three renewals fit into it, so that one slow write does not stop the sends.
const leaseTTL = 15 * time.Second

// drain is how long requests in flight may take once the process was told to stop. Most answer within a second; what does not is
// sent again after the next start.
const drain = 10 * time.Second

// App is one process. New makes it; Run may be called once.
type App struct {
	cfg     *config.Config
	log     *slog.Logger
	version string

	types    *event.Set
	store    *store.Store
	journal  *store.Journal
	logs     *eventlog.Server
	listener net.Listener
	client   *http.Client
	claims   []deliver.Claim
	sources  []*source
	metrics  *metrics
	budget   *deliver.Budget
}

// Options of New.
type Options struct {
	Config  *config.Config
	Log     *slog.Logger
	Version string
	// Observer hears of every attempt; nil if nobody asks. It must not block.
	Observer deliver.Observer
}

// New opens the data folder and everything in it. After an error nothing is left open.
func New(ctx context.Context, o Options) (*App, error) {
	a := &App{cfg: o.Config, log: o.Log, version: o.Version}
	if err := a.open(ctx, o); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// open is one straight line: each step needs the ones before it.
func (a *App) open(ctx context.Context, o Options) error {
	var err error
	if a.types, err = CompileTypes(a.cfg); err != nil {
		return err
	}
	if a.listener, err = net.Listen("tcp", a.cfg.HTTP.Listen); err != nil {
		return &ListenError{Address: a.cfg.HTTP.Listen, Err: err}
	}
	if err := a.openData(ctx); err != nil {
		return err
	}
	egress, err := deliver.NewEgress(a.cfg.Egress)
	if err != nil {
		return err
	}
	a.client = deliver.NewClient(egress, deliver.TransportOptions{MaxIdleConnsPerHost: idleConns(a.cfg), ResponseTimeout: longestTimeout(a.cfg)})
	endpoints, err := newEndpoints(a.cfg, egress, a.version)
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("read the host name: %w", err)
	}
	owner := fmt.Sprintf("%s/%d", host, os.Getpid())
	if a.claims, err = a.store.Claim(ctx, owner, allSlots(), leaseTTL); err != nil {
		return fmt.Errorf("claim the slots: %w", err)
	}
	if err := a.recordCrash(ctx); err != nil {
		return err
	}
	a.metrics = newMetrics(a, o.Observer)
	a.budget = deliver.NewBudget(queueBytes)
	for _, s := range a.cfg.Sources {
		src, err := a.openSource(ctx, s, endpoints)
		if err != nil {
			return err
		}
		a.sources = append(a.sources, src)
	}
	return nil
}

func (a *App) openData(ctx context.Context) error {
	var err error
	// The store first: its lock stands for the whole folder.
	if a.store, err = store.Open(ctx, filepath.Join(a.cfg.DataDir, "store"), a.log); err != nil {
		return err
	}
	if a.journal, err = store.OpenJournal(filepath.Join(a.cfg.DataDir, "store")); err != nil {
		return err
	}
	a.logs, err = eventlog.Open(ctx, eventlog.Options{
		Dir: filepath.Join(a.cfg.DataDir, "log"), Retention: a.cfg.Log.Retention, RingBytes: a.cfg.Log.RingBytes, Log: a.log,
	})
	return err
}

func allSlots() []int {
	all := make([]int, deliver.Slots)
	for i := range all {
		all[i] = i
	}
	return all
}

// idleConns keeps as many connections to one host as one endpoint may use at once.
func idleConns(cfg *config.Config) int {
	n := 0
	for _, e := range cfg.Endpoints {
		n = max(n, e.Concurrency)
	}
	return n
}

// longestTimeout is what the client allows; each attempt has its endpoint's own.
func longestTimeout(cfg *config.Config) time.Duration {
	var d time.Duration
	for _, e := range cfg.Endpoints {
		d = max(d, e.Timeout)
	}
	return d
}

// ListenError says that the process's own address is taken or not ours.
type ListenError struct {
	Address string
	Err     error
}

func (e *ListenError) Error() string { return "listen on " + e.Address + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ListenError) Unwrap() error { return e.Err }

// Addr returns the address that /metrics and /livez are served on.
func (a *App) Addr() string { return a.listener.Addr().String() }

// Run follows the sources and delivers until ctx ends, and returns nil then. It returns an error when a source cannot be followed
// any further, or when this process has lost its claims.
func (a *App) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.serveHTTP(ctx) })
	g.Go(func() error { return a.prune(ctx) })
	for _, s := range a.sources {
		g.Go(func() error { return s.capture.Run(ctx) })
		g.Go(func() error { return s.engine.Run(ctx) })
		g.Go(func() error { return s.keepCopy(ctx, a) })
	}
	return g.Wait()
}

// Close lets go of everything. It may be called after a failed New, and more than once.
func (a *App) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	var errs []error
	if a.listener != nil {
		if err := a.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if a.client != nil {
		a.client.CloseIdleConnections()
	}
	if a.store != nil && len(a.claims) > 0 {
		errs = append(errs, a.store.Release(ctx, a.claims))
	}
	if a.journal != nil {
		errs = append(errs, a.journal.Close())
	}
	if a.logs != nil {
		errs = append(errs, a.logs.Close(ctx))
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	*a = App{cfg: a.cfg, log: a.log, version: a.version}
	return errors.Join(errs...)
}

// pruneBatch is how many attempts are removed in one transaction: some milliseconds of the store.
const pruneBatch = 2000

// prune removes attempts that are older than their retention.
func (a *App) prune(ctx context.Context) error {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			for {
				n, err := a.store.Prune(ctx, now.Add(-a.cfg.Delivery.AttemptsRetention), pruneBatch)
				if err != nil && ctx.Err() == nil {
					a.log.Warn("old attempts not removed", "err", err)
				}
				if err != nil || n < pruneBatch {
					break
				}
			}
		}
	}
}
