package deliver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/change/changetest"
	"github.com/rowhook/rowhook/internal/event"
)

const testSource = "shop"

// memLog is a log in memory. Its readers are as awkward as a Log may be: they return blocks that only move the position.
type memLog struct {
	mu     sync.Mutex
	blocks []memBlock
	wake   chan struct{}
	reads  int
}

type memBlock struct {
	raw    []byte
	header change.Header
}

func newMemLog() *memLog { return &memLog{wake: make(chan struct{})} }

func (l *memLog) append(raw []byte) change.Header {
	h, err := change.ParseHeader(raw)
	if err != nil {
		panic(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blocks = append(l.blocks, memBlock{raw, h})
	close(l.wake)
	l.wake = make(chan struct{})
	return h
}

// expire removes the first n blocks, as retention does.
func (l *memLog) expire(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blocks = l.blocks[n:]
}

func (l *memLog) NextSeq() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.blocks) == 0 {
		return 0
	}
	return l.blocks[len(l.blocks)-1].header.NextSeq()
}

func (l *memLog) Reader(seq uint64) BlockReader { return &memReader{log: l, from: seq} }

type memReader struct {
	log  *memLog
	from uint64
	// moved is set once the position blocks at from were returned.
	moved bool
}

func (r *memReader) Next(ctx context.Context) ([]byte, error) {
	for {
		raw, wake, err := r.next()
		if raw != nil || err != nil {
			return raw, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-wake:
		}
	}
}

func (r *memReader) next() ([]byte, chan struct{}, error) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.log.reads++
	if bs := r.log.blocks; len(bs) > 0 && bs[0].header.FirstSeq > r.from {
		return nil, nil, &ExpiredError{First: bs[0].header.FirstSeq}
	}
	for _, b := range r.log.blocks {
		if b.header.Changes == 0 {
			if b.header.FirstSeq == r.from && !r.moved {
				r.moved = true
				return b.raw, nil, nil
			}
			continue
		}
		if b.header.NextSeq() > r.from {
			r.from, r.moved = b.header.NextSeq(), false
			return b.raw, nil, nil
		}
	}
	return nil, r.log.wake, nil
}

// memStore keeps what batches say in maps, under the rules of the store: epochs fence, ranges are ascending and disjoint, records
// are of the slot they stand in, a slot's place only moves forward.
type memStore struct {
	mu         sync.Mutex
	epochs     map[int]uint64
	slots      map[int]uint64
	progress   map[string][]byte
	exceptions map[ExceptionKey]Exception
	attempts   []Attempt
	expired    []ExpiredRange
	states     map[string]EndpointState
	ranges     []Range // in the order in which they were made
	commits    int
	// fail, if set, is asked before a commit; applied tells whether the batch is written although the commit fails.
	fail func() (err error, applied bool)
	// hook, if set, is called after each commit, under the lock.
	hook func()
	// blind, if set, is why exceptions cannot be read.
	blind error
	lost  []int
}

func newMemStore() *memStore {
	s := &memStore{
		epochs: map[int]uint64{}, slots: map[int]uint64{}, progress: map[string][]byte{}, exceptions: map[ExceptionKey]Exception{},
		states: map[string]EndpointState{},
	}
	for i := range Slots {
		s.epochs[i] = 1
	}
	return s
}

// claim takes all slots, as a new process does.
func (s *memStore) claim(ttl time.Duration) []Claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Claim
	for i := range Slots {
		s.epochs[i]++
		out = append(out, Claim{Slot: i, Owner: "test", Epoch: s.epochs[i], Until: time.Now().Add(ttl)})
	}
	return out
}

func (s *memStore) Commit(ctx context.Context, b Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	fail := s.fail
	s.mu.Unlock()
	var err error
	applied := true
	if fail != nil {
		err, applied = fail()
		applied = applied || err == nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if applied {
		err = errors.Join(err, s.apply(b))
	}
	return err
}

func (s *memStore) apply(b Batch) error {
	var stale []int
	for i := range b.Slots {
		w := &b.Slots[i]
		if err := checkWrite(b.Source, w); err != nil {
			panic(err)
		}
		if w.Epoch != s.epochs[w.Slot] {
			stale = append(stale, w.Slot)
			continue
		}
		s.slots[w.Slot] = max(s.slots[w.Slot], w.ReadSeq)
		s.applySlot(w)
	}
	s.commits++
	if s.hook != nil {
		s.hook()
	}
	if len(stale) > 0 {
		return &StaleError{stale}
	}
	return nil
}

func checkWrite(source string, w *SlotWrite) error {
	var of []string
	check := func(src, endpoint string) {
		if src != source || SlotOf(endpoint) != w.Slot {
			of = append(of, fmt.Sprintf("a record of %s/%s in slot %d", src, endpoint, w.Slot))
		}
	}
	for _, p := range w.Progress {
		check(p.Source, LaneEndpoint(p.Endpoint))
	}
	for _, x := range w.Put {
		check(x.Source, x.Endpoint)
	}
	for _, k := range w.Delete {
		check(k.Source, k.Endpoint)
	}
	for _, a := range w.Attempts {
		check(a.Source, a.Endpoint)
	}
	for _, x := range w.Expired {
		check(x.Source, x.Endpoint)
	}
	for _, r := range w.Ranges {
		check(r.Source, r.Endpoint)
	}
	for _, st := range w.States {
		check(source, st.Endpoint)
	}
	for _, endpoint := range w.Forget {
		check(source, endpoint)
	}
	if of != nil {
		return errors.New(fmt.Sprint(of))
	}
	return nil
}

func (s *memStore) applySlot(w *SlotWrite) {
	for _, endpoint := range w.Forget {
		s.forget(endpoint)
	}
	for _, r := range w.Ranges {
		s.putRange(r)
	}
	for _, p := range w.Progress {
		if p.Clear {
			delete(s.progress, p.Endpoint)
			continue
		}
		raw, err := MarshalProgress(p.Progress)
		if err != nil {
			panic(err)
		}
		s.progress[p.Endpoint] = raw
	}
	for _, k := range w.Delete {
		delete(s.exceptions, k)
	}
	for _, x := range w.Put {
		if _, err := MarshalException(&x); err != nil {
			panic(err)
		}
		s.exceptions[x.ExceptionKey()] = x
	}
	s.attempts = append(s.attempts, w.Attempts...)
	s.expired = append(s.expired, w.Expired...)
	for _, st := range w.States {
		s.states[st.Endpoint] = st
	}
}

func (s *memStore) forget(endpoint string) {
	maps.DeleteFunc(s.progress, func(lane string, _ []byte) bool { return LaneEndpoint(lane) == endpoint })
	maps.DeleteFunc(s.exceptions, func(k ExceptionKey, _ Exception) bool { return k.Endpoint == endpoint })
	s.ranges = slices.DeleteFunc(s.ranges, func(r Range) bool { return r.Endpoint == endpoint })
	delete(s.states, endpoint)
}

// putRange keeps an end and that a backfill is done, as the store does.
func (s *memStore) putRange(r Range) {
	for i := range s.ranges {
		if old := &s.ranges[i]; old.same(&r) {
			if r.To == 0 {
				r.To = old.To
			}
			r.Backfilled = r.Backfilled || old.Backfilled
			*old = r
			return
		}
	}
	s.ranges = append(s.ranges, r)
}

// declare stores ranges that it does not know.
func (s *memStore) declare(rs []Range) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rs {
		if !slices.ContainsFunc(s.ranges, func(o Range) bool { return o.same(&r) }) {
			s.ranges = append(s.ranges, r)
		}
	}
}

func (s *memStore) allRanges() []Range {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ranges)
}

func (s *memStore) Exception(_ context.Context, k ExceptionKey) (Exception, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.exceptions[k]
	return x, ok, s.blind
}

func (s *memStore) LoadSlots(context.Context, string) ([]SlotProgress, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []SlotProgress
	for slot, seq := range s.slots {
		out = append(out, SlotProgress{testSource, slot, seq})
	}
	return out, nil
}

func (s *memStore) LoadProgress(context.Context, string) ([]EndpointProgress, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []EndpointProgress
	for ep, raw := range s.progress {
		p, err := UnmarshalProgress(raw)
		if err != nil {
			return nil, err
		}
		out = append(out, EndpointProgress{Source: testSource, Endpoint: ep, Progress: p})
	}
	return out, nil
}

func (s *memStore) LoadExceptions(_ context.Context, _ string, f func(Exception) error) error {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.exceptions))
	s.mu.Unlock()
	for _, x := range all {
		if x.State == Parked {
			continue
		}
		if err := f(x); err != nil {
			return err
		}
	}
	return nil
}

func (s *memStore) EndpointStates(context.Context) ([]EndpointState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.states)), nil
}

func (s *memStore) Renew(context.Context, []Claim, time.Duration) ([]int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost, nil
}

// server returns the name of the lane that would serve an event after a restart; false if no lane is left to do so.
func (s *memStore) server(endpoint string, ref EventRef) (string, bool) {
	for _, r := range s.ranges {
		switch {
		case r.Endpoint != endpoint || !r.Covers(ref.Seq) || !r.names(ref.Type):
		case ref.Seq > r.LiveFrom:
			return endpoint, true
		default:
			return r.LaneName(), !r.Backfilled
		}
	}
	return endpoint, true
}

// begins is where a backfill would begin after a restart.
func (s *memStore) begins(lane string) Progress {
	if _, ok := s.progress[lane]; ok || LaneEndpoint(lane) == lane {
		return s.place(lane)
	}
	for _, r := range s.ranges {
		if r.LaneName() == lane {
			return Progress{Floor: r.From}
		}
	}
	return Progress{}
}

// place is where a lane would begin after a restart: its own record, or else its slot's place.
func (s *memStore) place(endpoint string) Progress {
	if raw, ok := s.progress[endpoint]; ok {
		p, err := UnmarshalProgress(raw)
		if err != nil {
			panic(err)
		}
		return p
	}
	return Progress{Floor: s.slots[SlotOf(endpoint)]}
}

func (s *memStore) exception(endpoint string, ref EventRef) (Exception, bool) {
	x, ok := s.exceptions[ExceptionKey{testSource, endpoint, ref.Seq, ref.Type}]
	return x, ok
}

// memJournal counts.
type memJournal struct {
	mu      sync.Mutex
	pending int
	fail    error
}

func (j *memJournal) Append(sends ...Send) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fail != nil {
		return 0, j.fail
	}
	j.pending += len(sends)
	return 1, nil
}

func (j *memJournal) Settle(_ uint64, n int) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pending -= n
	if j.pending < 0 {
		panic("more sends settled than were written")
	}
	return nil
}

// testTypes make up to three events of a change of an item, and one poison among them: where n is 0 the division fails.
const testTypes = `
types:
  item.any:
    table: app.items
    subject: items/{id}
    data: [id, n]
  item.big:
    table: app.items
    on: [insert, update]
    when: after.n > 50
    data: [id, n]
  item.frail:
    table: app.items
    on: [insert, update]
    when: 100 / after.n >= 0
    data: [id]
  order.any:
    table: app.orders
    data: [id, n]
`

func compileTypes(tb testing.TB, yaml string) *event.Set {
	tb.Helper()
	defs, err := event.Parse("types.yaml", []byte(yaml))
	if err != nil {
		tb.Fatal(err)
	}
	set, err := event.Compile(defs)
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

func table(name string) *change.Table {
	return changetest.Table("app", name, []string{"id"},
		changetest.Column("id", change.Int, "int"), changetest.Column("n", change.Int, "int"))
}

var _ Committer = (*memStore)(nil)
var _ Loader = (*memStore)(nil)
var _ Leases = (*memStore)(nil)
var _ Journal = (*memJournal)(nil)
