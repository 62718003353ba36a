package capture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	rowhookv1 "github.com/rowhook/rowhook/gen/rowhook/v1"
	"github.com/rowhook/rowhook/internal/change"
)

// versions returns the version of each block, and the seq of each change by version.
func versions(t interface {
	Helper()
	Fatal(...any)
}, log *memLog,
) (blocks []uint64, seqs map[uint64][]uint64) {
	t.Helper()
	seqs = map[uint64][]uint64{}
	log.mu.Lock()
	defer log.mu.Unlock()
	for _, raw := range log.blocks {
		blk, err := change.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, blk.TypesVersion)
		for seq := blk.FirstSeq; seq < blk.NextSeq(); seq++ {
			seqs[blk.TypesVersion] = append(seqs[blk.TypesVersion], seq)
		}
	}
	return blocks, seqs
}

// running is a Capture whose connection is fed by the test: it hands out its Writer.
type running struct {
	*Capture
	writers chan *Writer
	ended   chan error
	cancel  context.CancelFunc
}

func (r *running) Flavor(context.Context) (change.Flavor, error) { return change.MariaDB, nil }

func (r *running) Attach(context.Context, string) (change.Position, error) {
	return change.Position{File: "bin.1", Offset: 4}, nil
}

func (r *running) Follow(ctx context.Context, _ change.Position, w *Writer) error {
	r.writers <- w
	<-ctx.Done()
	return ctx.Err()
}

func start(t *testing.T, log Log, version uint64) *running {
	t.Helper()
	r := &running{writers: make(chan *Writer, 1), ended: make(chan error, 1)}
	r.Capture = New(Options{Source: "shop", Attach: "now", FirstSeq: 1, TypesVersion: version, Log: slog.New(slog.DiscardHandler)}, r, log)
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(t.Context())
	go func() { r.ended <- r.Run(ctx) }()
	return r
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

func TestTypesVersionOfAnIdleSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		r := start(t, log, 3)
		w := <-r.writers
		commitTx(t, w, 0, 2)
		synctest.Wait()
		began := time.Now()
		seq, err := r.SetTypesVersion(t.Context(), 4)
		if err != nil || seq != 2 || time.Since(began) > 0 {
			t.Fatalf("version 4 after seq %d, %v, in %v", seq, err, time.Since(began))
		}
		if again, err := r.SetTypesVersion(t.Context(), 4); err != nil || again != 2 {
			t.Errorf("once more: %d, %v", again, err)
		}
		if _, err := r.SetTypesVersion(t.Context(), 3); err == nil {
			t.Error("the version went back")
		}
		commitTx(t, w, 1, 1)
		synctest.Wait()
		blocks, seqs := versions(t, log)
		if !slices.Equal(blocks, []uint64{3, 3, 4, 4}) || !slices.Equal(seqs[4], []uint64{3}) {
			t.Errorf("blocks of versions %v, seqs %v", blocks, seqs)
		}
		if v := r.Status().TypesVersion; v != 4 {
			t.Errorf("status says %d", v)
		}
		r.stop(t)
	})
}

// A version comes into force inside a transaction; a restart finds the place, and the transaction's end is not forgotten.
func TestTypesVersionInsideATransaction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		r := start(t, log, 0)
		w, g, many := <-r.writers, gtid(0), 1<<30
		if err := w.Begin(change.Transaction{GTID: g.String()}, g); err != nil {
			t.Fatal(err)
		}
		if err := writeRows(w, rowsEvent{0, 5}, 0, &many); err != nil {
			t.Fatal(err)
		}
		if seq, err := r.SetTypesVersion(t.Context(), 1); err != nil || seq != 5 {
			t.Fatalf("in force after %d, %v", seq, err)
		}
		want := change.Partial{GTID: g.String(), Rows: []change.TableRows{{Schema: "app", Name: "t0", Rows: 5}}}
		h := log.header(log.len() - 1)
		if h.Changes != 0 || h.Position.Partial == nil || fmt.Sprint(*h.Position.Partial) != fmt.Sprint(want) {
			t.Errorf("the marker is at %+v", h.Position)
		}
		if seq, err := r.SetTypesVersion(t.Context(), 2); err != nil || seq != 5 {
			t.Fatalf("in force after %d, %v", seq, err)
		}
		if err := w.Commit("bin.1", 1); err != nil { // without another row
			t.Fatal(err)
		}
		synctest.Wait()
		blocks, _ := versions(t, log)
		if !slices.Equal(blocks, []uint64{0, 0, 1, 2, 2}) {
			t.Errorf("blocks of versions %v", blocks)
		}
		var m rowhookv1.Block
		if err := proto.Unmarshal(log.blocks[4], &m); err != nil || len(m.Segments) != 1 || !m.Segments[0].Commit || m.Segments[0].FirstOrdinal != 5 {
			t.Errorf("the end of the transaction: %v, %v", &m, err)
		}
		r.stop(t)
	})
}

// While the source is held up by appends that are behind, its lock is free; the blocks cut before keep their version.
func TestTypesVersionWhileAppendsAreBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, gate := newLog(), make(chan struct{})
		r := start(t, log, 1)
		w := <-r.writers
		w.wake.L.Lock()
		w.blockBytes = 1
		w.wake.L.Unlock()
		synctest.Wait()
		log.mu.Lock()
		log.fail = func() (error, bool) { <-gate; return nil, false }
		log.mu.Unlock()
		fed := make(chan error, 1)
		go func() {
			fed <- binlog{{{0, 20}, {1, 20}}}.replay(change.Position{}, w, func(int) bool { return true }, 1<<30)
		}()
		synctest.Wait()
		set := make(chan uint64, 1)
		go func() {
			seq, err := r.SetTypesVersion(t.Context(), 2)
			if err != nil {
				t.Error(err)
			}
			set <- seq
		}()
		synctest.Wait()
		if len(fed)+len(set) > 0 {
			t.Fatal("nothing waits for the appends")
		}
		close(gate)
		seq := <-set
		if err := <-fed; !errors.Is(err, errConnection) {
			t.Fatal(err)
		}
		synctest.Wait()
		blocks, seqs := versions(t, log)
		if !slices.IsSorted(blocks) || seq == 0 || uint64(len(seqs[1])) != seq || len(seqs[1])+len(seqs[2]) != 40 {
			t.Errorf("in force after %d: blocks %v, seqs %v", seq, blocks, seqs)
		}
		r.stop(t)
	})
}

func TestTypesVersionOfARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		for _, c := range []struct {
			version uint64
			blocks  []uint64
		}{
			{5, []uint64{5}},       // a new log begins with it
			{5, []uint64{5}},       // nothing is new
			{0, []uint64{5}},       // the log knows better
			{7, []uint64{5, 7}},    // a marker, at once
			{6, []uint64{5, 7}},    // the log knows better
			{9, []uint64{5, 7, 9}}, // and once more
		} {
			r := start(t, log, c.version)
			<-r.writers
			synctest.Wait()
			if blocks, _ := versions(t, log); !slices.Equal(blocks, c.blocks) {
				t.Errorf("begun with %d: blocks of versions %v, want %v", c.version, blocks, c.blocks)
			}
			r.stop(t)
		}
		if h := log.header(2); h.FirstSeq != 1 || h.Changes != 0 || h.Position.File != "bin.1" || h.Position.Offset != 4 {
			t.Errorf("the marker is %+v", h)
		}
	})
}

// A marker on connecting, with a part of a transaction in the log, keeps that part.
func TestTypesVersionBeforeTheRestOfATransaction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, b := newLog(), binlog{{{0, 3}, {1, 3}, {0, 3}}}
		w, stop := newWriter(t, log, first())
		w.blockBytes = 1
		if err := b.replay(change.Position{}, w, func(int) bool { return true }, 5); !errors.Is(err, errConnection) {
			t.Fatal(err)
		}
		synctest.Wait()
		_ = stop()
		r := start(t, log, 8)
		<-r.writers
		synctest.Wait()
		h := log.header(log.len() - 1)
		if h.TypesVersion != 8 || h.Position.Partial == nil || h.Position.Partial.Rows[0].Rows != 3 {
			t.Fatalf("the log ends with %+v, %+v", h, h.Position.Partial)
		}
		r.stop(t)
		last, _, _ := log.Last(t.Context())
		w, stop = newWriter(t, log, last)
		if err := b.replay(last.Position, w, func(int) bool { return true }, 1<<30); !errors.Is(err, errConnection) {
			t.Fatal(err)
		}
		synctest.Wait()
		_ = stop()
		if h := log.header(log.len() - 1); h.NextSeq() != 10 || h.TypesVersion != 8 || h.Position.Partial != nil {
			t.Errorf("the log ends with %+v", h)
		}
	})
}

func TestTypesVersionWithoutAConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		s := &scripted{script: []func(context.Context, change.Position, *Writer) error{lose, lose}}
		c := capturing(s, log)
		if _, err := c.SetTypesVersion(t.Context(), 1); !errors.Is(err, ErrNotFollowing) {
			t.Errorf("before Run: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		synctest.Wait() // the first connection is lost, the second one not yet tried
		if _, err := c.SetTypesVersion(t.Context(), 2); !errors.Is(err, ErrNotFollowing) {
			t.Errorf("between connections: %v", err)
		}
		time.Sleep(time.Minute)
		if v := c.Status().TypesVersion; v != 2 {
			t.Errorf("the log ends with version %d", v)
		}
		if seq, err := c.SetTypesVersion(t.Context(), 2); err != nil || seq != 0 {
			t.Errorf("in force after %d, %v", seq, err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := c.SetTypesVersion(t.Context(), 3); !errors.Is(err, ErrNotFollowing) {
			t.Errorf("after Run: %v", err)
		}
	})
}

func TestTypesVersionOfAFencedWriter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		r := start(t, log, 1)
		<-r.writers
		synctest.Wait()
		log.mu.Lock()
		log.fail = func() (error, bool) { return fenced{}, false }
		log.mu.Unlock()
		_, err := r.SetTypesVersion(t.Context(), 2)
		if _, ok := errors.AsType[fenced](err); !ok || !errors.Is(err, ErrNotFollowing) {
			t.Errorf("marker: %v", err)
		}
		if _, ok := errors.AsType[fenced](<-r.ended); !ok {
			t.Error("the capture goes on")
		}
		if blocks, _ := versions(t, log); !slices.Equal(blocks, []uint64{1}) {
			t.Errorf("blocks of versions %v", blocks)
		}
	})
}

// Whether the marker of a failed append is in the log is found by looking: there is one.
func TestTypesVersionOfAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	for _, applied := range []bool{false, true} {
		t.Run(fmt.Sprint(applied), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log, failed := newLog(), false
				r := start(t, log, 1)
				<-r.writers
				synctest.Wait()
				log.mu.Lock()
				log.fail = func() (error, bool) {
					if failed {
						return nil, false
					}
					failed = true
					return errors.New("timeout"), applied
				}
				log.mu.Unlock()
				if _, err := r.SetTypesVersion(t.Context(), 2); !errors.Is(err, ErrNotFollowing) {
					t.Errorf("marker: %v", err)
				}
				<-r.writers // the next connection
				synctest.Wait()
				if blocks, _ := versions(t, log); !slices.Equal(blocks, []uint64{1, 2}) {
					t.Errorf("blocks of versions %v", blocks)
				}
				r.stop(t)
			})
		})
	}
}

func TestTypesVersionEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, gate := newLog(), make(chan struct{})
		r := start(t, log, 1)
		<-r.writers
		synctest.Wait()
		log.mu.Lock()
		log.fail = func() (error, bool) { <-gate; return nil, false }
		log.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.SetTypesVersion(ctx, 2); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		close(gate)
		if seq, err := r.SetTypesVersion(t.Context(), 2); err != nil || seq != 0 { // the same marker
			t.Errorf("%d, %v", seq, err)
		}
		if blocks, _ := versions(t, log); !slices.Equal(blocks, []uint64{1, 2}) {
			t.Errorf("blocks of versions %v", blocks)
		}
		r.stop(t)
	})
}

// TestVersionsNeverMix sets versions at random places of random transactions, with stops in between. The changes up to the seq of a
// version have older ones, those after it have it or newer ones, and every row is there once.
func TestVersionsNeverMix(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		event := rapid.Custom(func(t *rapid.T) rowsEvent {
			return rowsEvent{rapid.IntRange(0, 2).Draw(t, "table"), rapid.IntRange(1, 4).Draw(t, "rows")}
		})
		b := binlog(rapid.SliceOfN(rapid.SliceOfN(event, 0, 5), 1, 5).Draw(t, "binlog"))
		log, last := newLog(), first()
		after := map[uint64]uint64{} // version to seq
		version := uint64(0)
		for runs := rapid.IntRange(0, 4).Draw(t, "runs"); runs >= 0; runs-- {
			stop := 1 << 30
			if runs > 0 {
				stop = rapid.IntRange(0, 30).Draw(t, "stop")
			}
			w, err := NewWriter(change.MariaDB, last, log)
			if err != nil {
				t.Fatal(err)
			}
			w.blockBytes = rapid.IntRange(1, 200).Draw(t, "block bytes")
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- w.Run(ctx) }()
			between := func(int) bool {
				if rapid.IntRange(0, 3).Draw(t, "set") > 0 {
					return true
				}
				version++
				w.wake.L.Lock()
				written := w.nextSeq + uint64(w.builder.Changes())
				w.wake.L.Unlock()
				m, err := w.setTypes(version)
				if err != nil {
					t.Fatal(err)
				}
				if m.seq+1 != written {
					t.Fatalf("version %d after seq %d, %d was next", version, m.seq, written)
				}
				after[version] = m.seq
				return true
			}
			if err := b.replay(last.Position, w, between, stop); !errors.Is(err, errConnection) {
				t.Fatal(err)
			}
			if runs == 0 {
				drain(w, log)
			}
			cancel()
			<-ended
			version = 0
			if h, ok, _ := log.Last(context.Background()); ok {
				last, version = h, h.TypesVersion
			}
			maps.DeleteFunc(after, func(v, _ uint64) bool { return v > version }) // the marker did not get there
		}
		checkLog(t, log, b, last)
		blocks, seqs := versions(t, log)
		if !slices.IsSorted(blocks) {
			t.Fatalf("blocks of versions %v", blocks)
		}
		for v, s := range seqs {
			if s[0] <= after[v] {
				t.Fatalf("version %d, in force after %d, has seqs %v", v, after[v], s)
			}
			for newer, seq := range after {
				if newer > v && s[len(s)-1] > seq {
					t.Fatalf("version %d has seqs %v, version %d is in force after %d", v, s, newer, seq)
				}
			}
		}
	})
}
