package capture

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/change/changetest"
)

// memLog keeps blocks, and fails when it is told to.
type memLog struct {
	mu     sync.Mutex
	blocks [][]byte
	grew   chan struct{} // closed by the next append
	fail   func() (err error, applied bool)
	lastFn func() error
}

func (l *memLog) Append(ctx context.Context, block []byte, _ change.Header) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.grow()
	if l.fail != nil {
		if err, applied := l.fail(); err != nil {
			if applied {
				l.blocks = append(l.blocks, block)
			}
			return err
		}
	}
	l.blocks = append(l.blocks, block)
	return nil
}

func (l *memLog) grow() {
	close(l.grew)
	l.grew = make(chan struct{})
}

func newLog() *memLog { return &memLog{grew: make(chan struct{})} }

func (l *memLog) Last(context.Context) (change.Header, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lastFn != nil {
		if err := l.lastFn(); err != nil {
			return change.Header{}, false, err
		}
	}
	if len(l.blocks) == 0 {
		return change.Header{}, false, nil
	}
	h, err := change.ParseHeader(l.blocks[len(l.blocks)-1])
	return h, true, err
}

func (l *memLog) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.blocks)
}

func (l *memLog) header(i int) change.Header {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, err := change.ParseHeader(l.blocks[i])
	if err != nil {
		panic(err)
	}
	return h
}

var tables = []*change.Table{testTable("t0"), testTable("t1"), testTable("t2")}

func testTable(name string) *change.Table {
	return changetest.Table("app", name, []string{"id"}, changetest.Column("id", change.Int, "int"))
}

// binlog is what a server has: transactions of events, each event some rows of one table.
type binlog [][]rowsEvent

type rowsEvent struct{ table, rows int }

func gtid(i int) change.GTID { return change.GTID{Flavor: change.MariaDB, Server: 1, N: uint64(i + 1)} }

var errConnection = errors.New("connection reset")

// replay feeds the binlog from the position on, as a server would: an unfinished transaction from its start. It stops after the
// given number of rows. Tables that are not wanted are passed over.
func (b binlog) replay(from change.Position, w *Writer, wanted func(table int) bool, stop int) error {
	set, err := change.ParseGTIDSet(change.MariaDB, from.GTIDSet)
	if err != nil {
		return err
	}
	for i, tx := range b {
		if set.Contains(gtid(i)) {
			continue
		}
		g := gtid(i)
		if err := w.Begin(change.Transaction{GTID: g.String(), CommitTime: int64(i + 1), File: "bin.1", Offset: uint64(i)}, g); err != nil {
			return err
		}
		var ordinals [3]int
		for _, ev := range tx {
			if wanted(ev.table) {
				if err := writeRows(w, ev, ordinals[ev.table], &stop); err != nil {
					return err
				}
			}
			ordinals[ev.table] += ev.rows
		}
		if err := w.Commit("bin.1", uint64(i+1)); err != nil {
			return err
		}
	}
	return errConnection
}

// writeRows does what the decoder does. A row's id is its ordinal among its table's rows in the transaction.
func writeRows(w *Writer, ev rowsEvent, ordinal int, stop *int) (err error) {
	b, skip, err := w.BeginRows(change.Insert, tables[ev.table])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.EndRows()) }()
	for i := range ev.rows {
		if *stop--; *stop < 0 {
			return errConnection
		}
		if skip > 0 {
			skip--
			err = w.Dropped()
		} else {
			b.BeginChange(change.Insert, tables[ev.table])
			b.EndRow(change.AppendInt(b.BeginRow(false), 1, int64(ordinal+i)), false, nil)
			b.EndChange()
			err = w.Wrote()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// TestEveryRowOnce stops capture at random places, resumes it, and reads the log.
func TestEveryRowOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		event := rapid.Custom(func(t *rapid.T) rowsEvent {
			return rowsEvent{rapid.IntRange(0, 2).Draw(t, "table"), rapid.IntRange(1, 6).Draw(t, "rows")}
		})
		b := binlog(rapid.SliceOfN(rapid.SliceOfN(event, 0, 6), 1, 6).Draw(t, "binlog"))
		log := newLog()
		last := change.Header{Source: "shop", FirstSeq: 1}
		for runs := rapid.IntRange(0, 6).Draw(t, "runs"); runs >= 0; runs-- {
			// The last run has its way; table 2 comes and goes in those before it.
			final := runs == 0
			with2 := final || rapid.Bool().Draw(t, "with t2")
			stop, failAt, applied := 1<<30, -1, false
			if !final {
				stop = rapid.IntRange(0, 40).Draw(t, "stop")
				failAt, applied = rapid.IntRange(-1, 5).Draw(t, "failing append"), rapid.Bool().Draw(t, "applied")
			}
			log.fail = func() (error, bool) {
				failAt--
				if failAt == -1 {
					return errors.New("disk full"), applied
				}
				return nil, false
			}
			run(t, log, b, last, rapid.IntRange(1, 300).Draw(t, "block bytes"), func(table int) bool { return table < 2 || with2 }, stop)
			if h, ok, err := log.Last(context.Background()); err != nil {
				t.Fatal(err)
			} else if ok {
				last = h
			}
		}
		checkLog(t, log, b, last)
	})
}

func run(t *rapid.T, log *memLog, b binlog, last change.Header, blockBytes int, wanted func(int) bool, stop int) {
	w, err := NewWriter(change.MariaDB, last, log)
	if err != nil {
		t.Fatal(err)
	}
	w.blockBytes = blockBytes
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	err = b.replay(last.Position, w, wanted, stop)
	if stop == 1<<30 {
		if !errors.Is(err, errConnection) {
			t.Fatalf("replay: %v", err)
		}
		drain(w, log)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Fatal("Run ended without a reason")
	}
}

// drain waits until everything that is committed is appended.
func drain(w *Writer, log *memLog) {
	w.wake.L.Lock()
	w.due = true
	end := w.set.String()
	w.wake.Broadcast()
	w.wake.L.Unlock()
	for {
		log.mu.Lock()
		grew := log.grew
		log.mu.Unlock()
		if h, ok, err := log.Last(context.Background()); err != nil || ok && h.Position.GTIDSet == end && h.Position.Partial == nil {
			return
		}
		<-grew
	}
}

func checkLog(t *rapid.T, log *memLog, b binlog, last change.Header) {
	next := uint64(1)
	counts := map[string]int{}
	for _, raw := range log.blocks {
		blk, err := change.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if blk.FirstSeq != next {
			t.Fatalf("a block begins at %d, not %d", blk.FirstSeq, next)
		}
		next = blk.NextSeq()
		err = blk.Each(func(c *change.Change) error {
			key := c.Tx.GTID + " " + c.Table.Name
			values, err := c.After.Values(nil)
			if err != nil {
				return err
			}
			if want := counts[key]; c.TableOrdinal != uint64(want) || values[0].Int() != int64(want) {
				return fmt.Errorf("%s: row %d has ordinal %d, expected is %d", key, values[0].Int(), c.TableOrdinal, want)
			}
			counts[key]++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	set, err := change.ParseGTIDSet(change.MariaDB, last.Position.GTIDSet)
	if err != nil {
		t.Fatal(err)
	}
	for i, tx := range b {
		if !set.Contains(gtid(i)) && len(tx) > 0 {
			t.Fatalf("the position %q ends before transaction %d", last.Position.GTIDSet, i)
		}
		var rows [3]int
		for _, ev := range tx {
			rows[ev.table] += ev.rows
		}
		for table := range 2 {
			if got := counts[gtid(i).String()+" "+tables[table].Name]; got != rows[table] {
				t.Fatalf("transaction %d: %d of %d rows of %s", i, got, rows[table], tables[table].Name)
			}
		}
	}
}

func newWriter(t *testing.T, log *memLog, last change.Header) (*Writer, func() error) {
	t.Helper()
	w, err := NewWriter(change.MariaDB, last, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	return w, func() error { cancel(); return <-ended }
}

func first() change.Header { return change.Header{Source: "shop", FirstSeq: 1} }

func commitTx(t *testing.T, w *Writer, i, rows int) {
	t.Helper()
	g := gtid(i)
	if err := w.Begin(change.Transaction{GTID: g.String(), CommitTime: 1}, g); err != nil {
		t.Fatal(err)
	}
	if rows > 0 {
		stop := rows
		if err := writeRows(w, rowsEvent{0, rows}, 0, &stop); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit("bin.1", uint64(i)); err != nil {
		t.Fatal(err)
	}
}

func TestIdleCommitIsAppendedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		w, stop := newWriter(t, log, first())
		began := time.Now()
		commitTx(t, w, 0, 1)
		synctest.Wait()
		if log.len() != 1 || time.Since(began) > 0 {
			t.Errorf("%d blocks after %v", log.len(), time.Since(began))
		}
		_ = stop()
	})
}

func TestPositionBlocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		w, stop := newWriter(t, log, first())
		commitTx(t, w, 0, 0)
		commitTx(t, w, 1, 0)
		time.Sleep(positionInterval - time.Second)
		if log.len() != 0 {
			t.Errorf("%d blocks before the interval is over", log.len())
		}
		time.Sleep(2 * time.Second)
		if log.len() != 1 || log.header(0).Position.GTIDSet != "0-1-2" || log.header(0).Changes != 0 {
			t.Fatalf("%d blocks, %+v", log.len(), log.header(0))
		}
		time.Sleep(idleInterval - time.Minute)
		if log.len() != 1 {
			t.Errorf("%d blocks of an idle source", log.len())
		}
		time.Sleep(2 * time.Minute)
		if log.len() != 2 {
			t.Errorf("%d blocks after an hour", log.len())
		}
		_ = stop()
	})
}

func TestAppendFailureStopsBothSides(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("disk full")
		log := newLog()
		log.fail = func() (error, bool) { return full, false }
		w, stop := newWriter(t, log, first())
		w.blockBytes = 1
		err := binlog{{{0, 6}}, {{1, 6}}}.replay(change.Position{}, w, func(int) bool { return true }, 1<<30)
		if !errors.Is(err, full) {
			t.Errorf("the source goes on: %v", err)
		}
		if err := stop(); !errors.Is(err, full) {
			t.Errorf("Run: %v", err)
		}
	})
}

// stuckLog never finishes an append.
type stuckLog struct{}

func (stuckLog) Append(ctx context.Context, _ []byte, _ change.Header) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestBlockedSourceEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, err := NewWriter(change.MariaDB, first(), stuckLog{})
		if err != nil {
			t.Fatal(err)
		}
		w.blockBytes = 1
		ctx, cancel := context.WithCancel(t.Context())
		ended, fed := make(chan error, 1), make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		go func() {
			fed <- binlog{{{0, 6}, {1, 6}}}.replay(change.Position{}, w, func(int) bool { return true }, 1<<30)
		}()
		synctest.Wait()
		if len(fed) > 0 {
			t.Fatal("the source was not held up")
		}
		cancel()
		if err := <-fed; !errors.Is(err, context.Canceled) {
			t.Errorf("source: %v", err)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
}

// The rest of an unfinished transaction was forgotten once another one was committed, and then written a second time.
func TestAnotherTransactionBeforeTheRestStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		last := first()
		last.Position.Partial = &change.Partial{GTID: gtid(5).String(), Rows: []change.TableRows{{Schema: "app", Name: "t0", Rows: 2}}}
		w, stop := newWriter(t, newLog(), last)
		commitTx(t, w, 0, 0) // without rows it does not matter
		if w.position().Partial == nil {
			t.Error("the unfinished transaction is forgotten")
		}
		if err := w.Begin(change.Transaction{GTID: gtid(1).String()}, gtid(1)); err != nil {
			t.Fatal(err)
		}
		_, _, err := w.BeginRows(change.Insert, tables[0])
		if _, ok := errors.AsType[*StopError](err); !ok {
			t.Errorf("rows of another transaction: %v", err)
		}
		_ = stop()
	})
}
