package capture

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rowhook/rowhook/internal/change"
)

const (
	// BlockBytes is where a block is cut while appends keep up: small enough that a row does not wait for many others.
	BlockBytes = 256 << 10
	// bulkFactor times BlockBytes is where it is cut while they do not, and inside a large transaction: a block of 1 MiB costs
	// less than four of 256 KiB, because each append has its own fsync (docs/decisions/0010).
	bulkFactor = 4
	// positionInterval is how often a block without changes records that the source went on; age must not expire the checkpoint.
	positionInterval = 10 * time.Second
	// idleInterval is the same for a source that did not go on at all.
	idleInterval = time.Hour
	// queueBlocks is how many finished blocks may wait for the append in flight. Two keep the decoder busy during an fsync.
	queueBlocks = 2
	// queueBytes is how large they may be together before the source waits for them. Blocks of rows of 16 MiB must not pile up.
	queueBytes = 8 << 20
)

// errSourceEnded stands for the reason that a source did not give when it stopped being followed.
var errSourceEnded = errors.New("the source ended without a reason")

// Appender makes blocks durable.
type Appender interface {
	// Append returns when the block is on disk. It is called by one goroutine at a time.
	Append(ctx context.Context, block []byte, h change.Header) error
}

// Writer cuts what a source reads into blocks and appends them. One goroutine, the source's, calls Begin, BeginRows, Wrote,
// EndRows, Commit and Heard; another runs Run. The rest may be called by anyone.
type Writer struct {
	source     string
	log        Appender
	blockBytes int        // where a block is cut
	wake       *sync.Cond // its L guards everything below

	epoch   uint64
	builder *change.Builder
	nextSeq uint64
	set     *change.GTIDSet
	pos     change.Position // GTIDSet is filled in at a cut
	tx      openTransaction
	skip    *change.Partial // what the log holds already of the first transaction
	queue   []cutBlock
	moved   bool // the position went on since the last block
	due     bool // a position block is due even though nothing moved
	last    time.Time
	err     error
	failed  chan struct{} // closed when err is set

	types  uint64  // version of the event types that blocks begun now carry
	marker *marker // of that version

	stats *Stats
}

type openTransaction struct {
	change.Transaction
	gtid    change.GTID
	open    bool
	segment bool // a segment of it is open in the builder
	resumed bool
	cut     bool   // a block was cut inside it
	written uint64 // changes of it in the log or in a block
	rows    []change.TableRows
	current int // index into rows of the event being written
	table   *change.Table
}

type cutBlock struct {
	bytes  []byte
	header change.Header
	marker *marker // nil for any other block
}

// Stats counts what a Writer has done; all fields may be read at any time.
type Stats struct {
	Changes, Blocks, Bytes atomic.Uint64
	// LastHeard is when the source last sent anything, CommitTime the commit time of the last appended transaction, in microseconds of the Unix epoch.
	LastHeard, CommitTime atomic.Int64
	// TypesVersion is that of the last appended block.
	TypesVersion atomic.Uint64
}

// NewWriter returns a Writer that goes on after the last block, with an epoch of its own.
func NewWriter(flavor change.Flavor, last change.Header, log Appender) (*Writer, error) {
	from := last.Position
	set, err := change.ParseGTIDSet(flavor, from.GTIDSet)
	if err != nil {
		return nil, fmt.Errorf("position of source %s: %w", last.Source, err)
	}
	w := &Writer{
		source: last.Source, log: log, blockBytes: BlockBytes, stats: &Stats{}, wake: sync.NewCond(&sync.Mutex{}), epoch: last.Epoch + 1,
		builder: change.NewBuilder(last.Source, last.Epoch+1), nextSeq: last.NextSeq(),
		set: set, pos: from, skip: from.Partial, last: time.Now(), failed: make(chan struct{}),
		types: last.TypesVersion, marker: inForce(last),
	}
	w.builder.SetTypesVersion(last.TypesVersion)
	w.pos.Partial = nil
	return w, nil
}

// Stats returns the counters.
func (w *Writer) Stats() *Stats { return w.stats }

// Begin opens a transaction.
func (w *Writer) Begin(tx change.Transaction, g change.GTID) error {
	w.wake.L.Lock()
	defer w.wake.L.Unlock()
	if w.tx.open {
		return fmt.Errorf("transaction %s begins inside %s", tx.GTID, w.tx.GTID)
	}
	w.tx = openTransaction{Transaction: tx, gtid: g, open: true, rows: w.tx.rows[:0]}
	if w.skip != nil && w.skip.GTID == tx.GTID {
		w.resume()
	}
	return w.err
}

// resume takes over the counts of the part that is in the log; rows are counted up again as they are skipped.
func (w *Writer) resume() {
	w.tx.resumed = true
	for _, r := range w.skip.Rows {
		w.tx.written += r.Rows
	}
}

// BeginRows announces changes of t in the open transaction and holds the writer's lock until EndRows. It returns the builder to
// write them to, and how many rows of t from here on are in the log already and must be dropped.
func (w *Writer) BeginRows(op change.Op, t *change.Table) (*change.Builder, uint64, error) {
	w.wake.L.Lock()
	if w.err != nil || !w.tx.open {
		err := w.err
		w.wake.L.Unlock()
		if err == nil {
			err = fmt.Errorf("rows of %s outside a transaction", t.FullName())
		}
		return nil, 0, err
	}
	if w.skip != nil && !w.tx.resumed {
		w.wake.L.Unlock()
		return nil, 0, &StopError{
			Code: "partial_transaction", Message: fmt.Sprintf("the log of source %s ends inside transaction %s, and the server goes on with rows of %s",
				w.source, w.skip.GTID, w.tx.GTID),
			Hint: "Follow a server that has the rest of the unfinished transaction first, such as the one that was followed before.",
		}
	}
	w.selectTable(t)
	skip := w.toSkip()
	if skip == 0 {
		w.openSegment()
	}
	return w.builder, skip, nil
}

func (w *Writer) selectTable(t *change.Table) {
	if w.tx.table == t {
		return
	}
	w.tx.table = t
	for i := range w.tx.rows {
		if w.tx.rows[i].Schema == t.Schema && w.tx.rows[i].Name == t.Name {
			w.tx.current = i
			return
		}
	}
	w.tx.rows = append(w.tx.rows, change.TableRows{Schema: t.Schema, Name: t.Name})
	w.tx.current = len(w.tx.rows) - 1
}

func (w *Writer) toSkip() uint64 {
	if !w.tx.resumed {
		return 0
	}
	cur := w.tx.rows[w.tx.current]
	for _, r := range w.skip.Rows {
		if r.Schema == cur.Schema && r.Name == cur.Name && r.Rows > cur.Rows {
			return r.Rows - cur.Rows
		}
	}
	return 0
}

func (w *Writer) openSegment() {
	if w.tx.segment {
		return
	}
	w.builder.BeginSegment(&w.tx.Transaction, w.tx.written, w.rowsBefore(), w.tx.written == 0)
	w.tx.segment = true
}

// rowsBefore says how many rows of each table the log holds of the open transaction. While a resumed transaction is skipped the
// counts lag behind the log, which knows better.
func (w *Writer) rowsBefore() []change.TableRows {
	var out []change.TableRows
	for _, r := range w.logged() {
		if r.Rows > 0 {
			out = append(out, r)
		}
	}
	return out
}

func (w *Writer) logged() []change.TableRows {
	if !w.tx.resumed {
		return w.tx.rows
	}
	out := append([]change.TableRows(nil), w.tx.rows...)
next:
	for _, s := range w.skip.Rows {
		for i := range out {
			if out[i].Schema == s.Schema && out[i].Name == s.Name {
				out[i].Rows = max(out[i].Rows, s.Rows)
				continue next
			}
		}
		out = append(out, s)
	}
	return out
}

// Dropped is called for each row that was in the log already.
func (w *Writer) Dropped() error {
	w.tx.rows[w.tx.current].Rows++
	if w.toSkip() == 0 {
		w.openSegment()
	}
	return nil
}

// Wrote is called after each written change. It may cut the block, and then waits while the appends are behind.
func (w *Writer) Wrote() error {
	w.tx.rows[w.tx.current].Rows++
	w.tx.written++
	if w.builder.Size() < w.cutAt() {
		return nil
	}
	if err := w.cut(); err != nil {
		return err
	}
	for w.full() && w.err == nil {
		w.wake.Wait()
	}
	w.openSegment()
	return w.err
}

// full reports whether the source must wait for the appends.
func (w *Writer) full() bool {
	waiting := 0
	for i := range w.queue {
		waiting += len(w.queue[i].bytes)
	}
	return len(w.queue) >= queueBlocks || waiting > queueBytes
}

// cutAt is the size to cut at: larger while appends are behind, and in a transaction that has filled a block already.
func (w *Writer) cutAt() int {
	if w.tx.cut || len(w.queue) >= queueBlocks {
		return bulkFactor * w.blockBytes
	}
	return w.blockBytes
}

// EndRows releases the writer's lock.
func (w *Writer) EndRows() error {
	err := w.err
	w.wake.L.Unlock()
	return err
}

// Commit closes the transaction; file and end are the binlog coordinates after it.
func (w *Writer) Commit(file string, end uint64) error {
	w.wake.L.Lock()
	defer w.wake.L.Unlock()
	if !w.tx.open {
		return errors.New("commit outside a transaction")
	}
	if w.tx.written > 0 && !w.tx.segment {
		w.openSegment() // the log has its rows but not its end
	}
	if w.tx.segment {
		w.builder.EndSegment(true)
	}
	if w.tx.resumed {
		w.skip = nil
	}
	w.tx.open, w.tx.segment, w.tx.table = false, false, nil
	if w.tx.gtid.Flavor != "" {
		w.set.Add(w.tx.gtid)
	}
	w.pos.File, w.pos.Offset, w.pos.CommitTime = file, end, w.tx.CommitTime
	w.moved = true
	if w.builder.Size() > 0 {
		w.wake.Signal()
	}
	return w.err
}

// Heard notes that the source sent something.
func (w *Writer) Heard(at time.Time) { w.stats.LastHeard.Store(at.UnixMicro()) }

// Server notes which server the following positions belong to.
func (w *Writer) Server(id string) {
	w.wake.L.Lock()
	defer w.wake.L.Unlock()
	w.pos.Server = id
}

// cut finishes the block that is being filled and queues it. The caller holds the lock.
func (w *Writer) cut() error {
	if w.tx.segment {
		w.builder.EndSegment(false)
		w.tx.segment, w.tx.cut = false, true
	}
	h := change.Header{Source: w.source, Epoch: w.epoch, FirstSeq: w.nextSeq, Changes: w.builder.Changes(), Position: w.position(),
		TypesVersion: w.types}
	b, err := w.builder.Finish(h.FirstSeq, h.Position)
	if err != nil {
		return w.fail(err)
	}
	w.nextSeq = h.NextSeq()
	w.queue = append(w.queue, cutBlock{bytes: b, header: h})
	w.moved, w.due, w.last = false, false, time.Now()
	w.wake.Broadcast()
	return nil
}

func (w *Writer) position() change.Position {
	p := w.pos
	p.GTIDSet = w.set.String()
	if w.tx.open && w.tx.written > 0 {
		p.Partial = &change.Partial{GTID: w.tx.GTID, Rows: w.rowsBefore()}
	} else if w.skip != nil {
		p.Partial = w.skip // still waiting for the rest of the transaction that the log ends in
	}
	return p
}

func (w *Writer) fail(err error) error {
	if w.err == nil {
		w.err = err
		close(w.failed)
	}
	w.wake.Broadcast()
	return w.err
}

// Run appends blocks until ctx ends or an append fails, and returns the reason. After that the source's calls fail too.
func (w *Writer) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		w.wake.L.Lock()
		defer w.wake.L.Unlock()
		_ = w.fail(context.Cause(ctx)) // Run and the source's calls return it
	})
	defer stop()
	ticker := w.startTicker(ctx)
	defer ticker()
	for {
		blk, err := w.next()
		if err != nil {
			return err
		}
		if err := w.log.Append(ctx, blk.bytes, blk.header); err != nil {
			w.wake.L.Lock()
			defer w.wake.L.Unlock()
			return w.fail(fmt.Errorf("append block at seq %d: %w", blk.header.FirstSeq, err))
		}
		w.count(blk)
	}
}

// next waits for a block to append: a queued one, or else everything that is committed, or else the position if it is due.
func (w *Writer) next() (cutBlock, error) {
	w.wake.L.Lock()
	defer w.wake.L.Unlock()
	for w.err == nil && len(w.queue) == 0 {
		idle := !w.tx.open && w.builder.Size() > 0
		if !idle && !w.due {
			w.wake.Wait()
			continue
		}
		if err := w.cut(); err != nil {
			return cutBlock{}, err
		}
	}
	if w.err != nil {
		return cutBlock{}, w.err
	}
	blk := w.queue[0]
	w.queue = append(w.queue[:0], w.queue[1:]...)
	w.wake.Broadcast()
	return blk, nil
}

func (w *Writer) count(blk cutBlock) {
	w.stats.Changes.Add(uint64(blk.header.Changes))
	w.stats.Blocks.Add(1)
	w.stats.Bytes.Add(uint64(len(blk.bytes)))
	w.stats.CommitTime.Store(blk.header.Position.CommitTime)
	w.stats.TypesVersion.Store(blk.header.TypesVersion)
	if blk.marker != nil {
		close(blk.marker.durable)
	}
}

// startTicker marks a position block as due; the returned function stops it and waits.
func (w *Writer) startTicker(ctx context.Context) func() {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(positionInterval)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-t.C:
				w.tick(now)
			}
		}
	}()
	return func() { cancel(); <-done }
}

func (w *Writer) tick(now time.Time) {
	w.wake.L.Lock()
	defer w.wake.L.Unlock()
	// Inside a transaction blocks are cut by size, and a block without its segment would say less than the last one.
	if w.tx.open {
		return
	}
	if w.moved || now.Sub(w.last) >= idleInterval {
		w.due = true
		w.wake.Broadcast()
	}
}
