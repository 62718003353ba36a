package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/event"
)

// Log is the log of one source.
type Log interface {
	// NextSeq returns the seq of the next change to be appended; 0 before the first block.
	NextSeq() uint64
	// Reader returns a reader of the blocks from the one that holds seq on.
	Reader(seq uint64) BlockReader
}

// BlockReader reads blocks in order. It belongs to one goroutine.
type BlockReader interface {
	// Next waits for the next block. Its bytes may be kept, not modified. ExpiredError says that retention was faster.
	Next(ctx context.Context) ([]byte, error)
}

// ExpiredError says that the log begins behind the seq that was asked for.
type ExpiredError struct {
	// First seq that is still there.
	First uint64
}

func (e *ExpiredError) Error() string { return fmt.Sprintf("the log begins at seq %d", e.First) }

func isExpired(err error) bool {
	_, ok := errors.AsType[*ExpiredError](err)
	return ok
}

// Committer makes a batch durable, all of it or, of slots whose epoch is stale, nothing.
type Committer interface {
	Commit(ctx context.Context, b Batch) error
}

// Loader reads what a Committer wrote.
type Loader interface {
	LoadSlots(ctx context.Context, source string) ([]SlotProgress, error)
	LoadProgress(ctx context.Context, source string) ([]EndpointProgress, error)
	LoadExceptions(ctx context.Context, source string, f func(Exception) error) error
	EndpointStates(ctx context.Context) ([]EndpointState, error)
	// Exception returns one with its payload; false if there is none.
	Exception(ctx context.Context, k ExceptionKey) (Exception, bool, error)
}

// Journal notes a send before it leaves.
type Journal interface {
	// Append returns a mark for Settle. After an error nothing may be sent.
	Append(sends ...Send) (mark uint64, err error)
	// Settle says that n sends of a mark have their results in the store, or did not leave.
	Settle(mark uint64, n int) error
}

// Leases renews the ownership of slots.
type Leases interface {
	// Renew extends the claims and returns the slots that somebody else owns now.
	Renew(ctx context.Context, claims []Claim, ttl time.Duration) (lost []int, err error)
}

// Observer hears of every attempt. It is called by many goroutines and must not block.
type Observer interface {
	Attempted(a Attempt, commit, answered time.Time)
}

// Deps are what the engine stands on.
type Deps struct {
	Log     Log
	Store   Committer
	Loader  Loader
	Journal Journal
	Leases  Leases
	Client  Poster
	// Observer may be nil.
	Observer Observer
}

// Options of an Engine.
type Options struct {
	Source     string
	Generation uint64
	Types      TypeSets
	Endpoints  []*Endpoint
	// Ranges of all versions of the endpoints' subscriptions, in the order in which they were made: of two backfills that could
	// have an event, the older has it.
	Ranges []Range
	// Claims of all slots that this process owns.
	Claims []Claim
	// LeaseTTL is how long a claim lasts without being renewed.
	LeaseTTL time.Duration
	// Schedule of the retries; an event is parked after the last.
	Schedule []time.Duration
	// ProgressInterval is how often progress is written at most: the window that a crash may repeat.
	ProgressInterval time.Duration
	// Budget bounds all queues together, also those of other engines that it was given to.
	Budget *Budget
	// Drain is how long requests in flight may take after the end was asked for.
	Drain time.Duration
	Log   *slog.Logger
}

// fairBytes is what every lane may queue although the common bound is reached.
const fairBytes = 64 << 10

// Stats are gauges and counters that may be read at any time.
type Stats struct {
	Lagging, Parked, Delivered, Failed atomic.Int64
	// LiveSeq is how far the live reader has come.
	LiveSeq atomic.Uint64
}

// Engine delivers one source's events to the endpoints. Use New, then Run once.
type Engine struct {
	opts     Options
	deps     Deps
	senders  senders
	laggards laggards
	routes   *routes
	epochs   [Slots]atomic.Uint64

	// offering is held while a block is offered to the live lanes, catching while one is offered to lanes that lag. A lane becomes
	// live under offering, and ranges change under both: in between blocks. Before a sender's mutex, offering before catching.
	offering, catching sync.Mutex
	liveSeq            atomic.Uint64
	catchup            chan struct{}

	ready, ended chan struct{} // closed once the lanes are built, and when Run returns

	queued    atomic.Int64
	gate      *gate // closed while progress cannot be written
	leaseGate *gate // closed while the leases have run out
	lease     atomic.Pointer[time.Time]
	stopping  atomic.Bool
	workers   sync.WaitGroup
	sendCtx   context.Context

	dirtyMu sync.Mutex
	dirty   []*lane
	flushed chan struct{} // closed by the next checkpoint
	// collected and saved count the checkpoints that were begun, and those of them that are written.
	collected, saved uint64
	hurry            chan struct{} // asks for a checkpoint now
	// unwritten counts attempts and exceptions since then.
	unwritten atomic.Int64
	wrote     [Slots]time.Time // the last write of each slot

	// unsaved is a batch that was collected and not written yet; it belongs to whoever writes checkpoints.
	unsaved *unsaved

	bounds bounds
	stats  Stats
}

// bounds of a lane beside its queue's bytes.
type bounds struct {
	outstanding, waiting      int
	exceptionBytes, fairBytes int64
}

// New returns an Engine.
func New(opts Options, deps Deps) *Engine {
	return &Engine{
		opts: opts, deps: deps, senders: senders{byName: map[string]*sender{}}, laggards: laggards{lanes: map[*lane]struct{}{}},
		routes: newRoutes(), catchup: make(chan struct{}, 1), ready: make(chan struct{}), ended: make(chan struct{}),
		gate: newGate(), leaseGate: newGate(), flushed: make(chan struct{}), hurry: make(chan struct{}, 1),
		bounds: bounds{maxOutstanding, maxWaiting, maxExceptionBytes, fairBytes},
	}
}

// Stats returns the gauges and counters.
func (e *Engine) Stats() *Stats { return &e.stats }

// Run delivers until ctx ends; then requests in flight may finish within Options.Drain, and progress is written once more.
func (e *Engine) Run(ctx context.Context) error {
	sendCtx, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	e.sendCtx = sendCtx
	e.opts.Budget.join(e)
	defer e.opts.Budget.leave(e)
	defer close(e.ended)
	if err := e.recover(ctx); err != nil && ctx.Err() != nil {
		return nil //nolint:nilerr // the end was asked for before there was anything to end
	} else if err != nil {
		return fmt.Errorf("deliver %s: %w", e.opts.Source, err)
	}
	close(e.ready)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.runLive(gctx) })
	g.Go(func() error { return e.runCatchup(gctx) })
	g.Go(func() error { return e.runCheckpoints(gctx) })
	g.Go(func() error { return e.runLeases(gctx) })
	g.Go(func() error {
		<-gctx.Done()
		e.drain(stopSending)
		return nil
	})
	err := g.Wait()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil
	}
	// What the last requests brought is worth one more write, also when something else failed.
	if cerr := e.lastCheckpoint(ctx); err == nil {
		err = cerr
	}
	return err
}

func (e *Engine) lastCheckpoint(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	// A checkpoint that was under way at the end comes first: what this one says builds on it.
	if err := e.write(ctx); err != nil {
		return err
	}
	return e.checkpoint(ctx, true)
}

// drain stops new sends, gives those in flight their time, and waits for all of them.
func (e *Engine) drain(stopSending func()) {
	e.stopping.Store(true)
	for _, s := range e.senders.all() {
		s.close()
	}
	t := time.AfterFunc(e.opts.Drain, stopSending)
	defer t.Stop()
	e.workers.Wait()
}

// delay returns when to try again after n failures: full jitter over the schedule's step.
func (e *Engine) delay(n uint32) time.Duration {
	i := min(max(int(n), 1), len(e.opts.Schedule)) - 1
	if i < 0 {
		return 0
	}
	return e.jitter(e.opts.Schedule[i])
}

func (e *Engine) jitter(d time.Duration) time.Duration {
	return time.Duration(rand.Int64N(int64(d) + 1))
}

func (e *Engine) epoch(slot int) uint64 { return e.epochs[slot].Load() }

func (e *Engine) observe(l *lane, it *item, res result, answered time.Time) {
	if res.verdict == delivered {
		e.stats.Delivered.Add(1)
	} else {
		e.stats.Failed.Add(1)
	}
	if e.deps.Observer != nil && res.attempt != nil {
		e.deps.Observer.Attempted(*res.attempt, time.UnixMilli(it.commitMS), answered)
	}
}

// eventsAt calls f with the events of one change in the log.
func (e *Engine) eventsAt(ctx context.Context, seq uint64, f func(*event.Event) error) error {
	blk, err := e.blockOf(ctx, seq)
	if err != nil {
		return fmt.Errorf("read seq %d: %w", seq, err)
	}
	m, err := newMatchers(e.opts.Types).of(ctx, blk)
	if err != nil {
		return err
	}
	return blk.Each(func(c *change.Change) error {
		if c.Seq != seq {
			return nil
		}
		return m.Each(e.opts.Source, e.opts.Generation, c, f)
	})
}

// blockOf returns the block that holds a change. Blocks that only move the position may stand before it.
func (e *Engine) blockOf(ctx context.Context, seq uint64) (*change.Block, error) {
	r := e.deps.Log.Reader(seq)
	for {
		raw, err := r.Next(ctx)
		if err != nil {
			return nil, err
		}
		blk, err := change.Parse(raw)
		if err != nil || blk.NextSeq() > seq {
			return blk, err
		}
	}
}

// gate holds sends back while progress cannot be written: what is sent then could not be kept from being sent again.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // closed while the gate is open
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

// set opens or closes the gate and reports whether that changed it.
func (g *gate) set(open bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isOpen() == open {
		return false
	}
	if open {
		close(g.open)
	} else {
		g.open = make(chan struct{})
	}
	return true
}

func (g *gate) isOpen() bool {
	select {
	case <-g.open:
		return true
	default:
		return false
	}
}

func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	c := g.open
	g.mu.Unlock()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
