package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/eventlog"
	"github.com/rowhook/rowhook/internal/store"
)

const (
	// leaseTTL is how long a claim of the slots lasts. Three renewals fit into it, so that one slow write does not stop the sends.
	leaseTTL = 15 * time.Second
	// drain is how long requests in flight may take once the process was told to stop. Most answer within a second; what does not
	// is sent again after the next start.
	drain = 10 * time.Second
	// queueBytes bounds all queues of all lanes together; with the rings and the blocks in flight it stays well under the 256 MiB
	// that a process may grow by.
	queueBytes = 96 << 20
	// storeTimeout bounds a small read of the store that nobody gave a context for.
	storeTimeout = 10 * time.Second
)

// App is one process. New makes it; Run may be called once.
type App struct {
	cfg     *config.Config
	load    func() (*config.Config, error)
	log     *slog.Logger
	version string
	started time.Time

	types    *typeSets
	store    *store.Store
	journal  *store.Journal
	logs     *eventlog.Server
	listener net.Listener
	socket   net.Listener
	api      *api.Server
	egress   *deliver.Egress
	client   *deliver.Client
	budget   *deliver.Budget
	claims   []deliver.Claim
	sources  []*source
	metrics  *metrics
	backend  *control

	// control is held by whoever changes endpoints, subscriptions or types: such changes take turns.
	control    sync.Mutex
	lastReload atomic.Pointer[api.Reload]
}

// Options of New.
type Options struct {
	Config *config.Config
	// Load reads the configuration again, for a reload.
	Load    func() (*config.Config, error)
	Log     *slog.Logger
	Version string
	// Observer hears of every attempt; nil if nobody asks. It must not block.
	Observer deliver.Observer
}

// New opens the data folder and everything in it. After an error nothing is left open.
func New(ctx context.Context, o Options) (*App, error) {
	a := &App{cfg: o.Config, load: o.Load, log: o.Log, version: o.Version, started: time.Now()}
	if err := a.open(ctx, o); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// open is one straight line: each step needs the ones before it.
func (a *App) open(ctx context.Context, o Options) error {
	set, err := CompileTypes(a.cfg)
	if err != nil {
		return err
	}
	if err := a.listen(); err != nil {
		return err
	}
	if err := a.openData(ctx); err != nil {
		return err
	}
	if a.types, err = openTypes(ctx, a.store, typeFiles(a.cfg), set); err != nil {
		return err
	}
	if a.socket, err = api.ListenUnix(ctx, a.cfg.HTTP.Socket); err != nil {
		return &ListenError{Address: a.cfg.HTTP.Socket, Err: err}
	}
	endpoints, err := a.openDelivery(ctx)
	if err != nil {
		return err
	}
	if err := a.recordCrash(ctx); err != nil {
		return err
	}
	a.metrics = newMetrics(a, o.Observer)
	for _, s := range a.cfg.Sources {
		src, err := a.openSource(ctx, s, endpoints)
		if err != nil {
			return err
		}
		a.sources = append(a.sources, src)
	}
	a.api = api.New(api.Options{Backend: a.backend, Log: a.log, Version: a.version})
	return nil
}

func (a *App) openData(ctx context.Context) error {
	dir := filepath.Join(a.cfg.DataDir, "store")
	var err error
	// The store first: its lock stands for the whole folder.
	if a.store, err = store.Open(ctx, dir, a.log); err != nil {
		return err
	}
	if err := a.useKeys(ctx); err != nil {
		return err
	}
	if a.journal, err = store.OpenJournal(dir); err != nil {
		return err
	}
	a.logs, err = eventlog.Open(ctx, eventlog.Options{
		Dir: filepath.Join(a.cfg.DataDir, "log"), Retention: a.cfg.Log.Retention, RingBytes: a.cfg.Log.RingBytes, Log: a.log,
	})
	return err
}

// openDelivery makes what all sources share, and returns all endpoints: those declared and those that the API made.
func (a *App) openDelivery(ctx context.Context) ([]*deliver.Endpoint, error) {
	var err error
	if a.egress, err = deliver.NewEgress(a.cfg.Egress); err != nil {
		return nil, err
	}
	a.client = deliver.NewClient(a.egress, deliver.ClientOptions{MaxIdlePerTarget: config.MaxConcurrency})
	a.budget = deliver.NewBudget(queueBytes)
	endpoints, err := newEndpoints(a.cfg, a.egress, a.version)
	if err != nil {
		return nil, err
	}
	a.backend = newControl(a)
	made, err := a.backend.loadRegistry(ctx)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("read the host name: %w", err)
	}
	owner := fmt.Sprintf("%s/%d", host, os.Getpid())
	if a.claims, err = a.store.Claim(ctx, owner, allSlots(), leaseTTL); err != nil {
		return nil, fmt.Errorf("claim the slots: %w", err)
	}
	return append(endpoints, made...), nil
}

func allSlots() []int {
	all := make([]int, deliver.Slots)
	for i := range all {
		all[i] = i
	}
	return all
}

// ListenError says that an address of the process's own is taken or not ours.
type ListenError struct {
	Address string
	Err     error
}

func (e *ListenError) Error() string { return "listen on " + e.Address + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ListenError) Unwrap() error { return e.Err }

// Addr returns the address that the API, /metrics and /livez are served on.
func (a *App) Addr() string { return a.listener.Addr().String() }

// Run follows the sources and delivers until ctx ends, and returns nil then. It returns an error when no source is left that could
// be followed, or when this process has lost its claims.
func (a *App) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.serveHTTP(ctx) })
	g.Go(func() error { return a.prune(ctx) })
	g.Go(func() error { return a.backend.Run(ctx) })
	for _, s := range a.sources {
		g.Go(func() error { return s.engine.Run(ctx) })
		g.Go(func() error { return s.keepCopy(ctx, a) })
		g.Go(func() error { return s.watchPurge(ctx, s.replica) })
	}
	g.Go(func() error { return a.follow(ctx) })
	return g.Wait()
}

// follow runs the sources, once delivery stands where the configuration wants it: a subscription that begins now gets every change
// that is captured from here on.
func (a *App) follow(ctx context.Context) error {
	a.control.Lock()
	changed, err := a.declare(ctx, a.cfg)
	a.control.Unlock()
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the end was asked for
	}
	if err != nil {
		return fmt.Errorf("set up the subscriptions: %w", err)
	}
	for _, c := range changed {
		a.log.Info("subscriptions have changed since the last run", "change", c)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range a.sources {
		g.Go(func() error { return s.run(ctx, a.allFailed) })
	}
	return g.Wait()
}

// Close lets go of everything. It may be called after a failed New, and more than once.
func (a *App) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	var errs []error
	for _, l := range []net.Listener{a.listener, a.socket} {
		if l == nil {
			continue
		}
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
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
	a.listener, a.socket, a.client, a.store, a.journal, a.logs, a.claims = nil, nil, nil, nil, nil, nil, nil
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
