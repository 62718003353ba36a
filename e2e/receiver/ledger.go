package receiver

import (
	"context"
	"fmt"
	"hash/maphash"
	"time"
)

// Counts say what has come to a path so far.
type Counts struct {
	// Requests are the verified ones, whatever was answered.
	Requests int
	// Accepted are those answered 2xx.
	Accepted int
	// Distinct are the ids that were accepted at least once.
	Distinct int
	// Refused are the requests that were not a delivery: a wrong signature, a malformed body, or what Options.Check found.
	Refused int
	// Cut are the requests whose sender went away before the end of the body.
	Cut int
}

// maxRefusals bounds the refusals whose reasons are remembered.
const maxRefusals = 20

// chunkLen is how many records are dropped at once when there are too many.
const chunkLen = 1024

// record is a Delivery without what repeats: paths, types and operations stand in ledger.names.
type record struct {
	id, subject, key string
	version          int64
	at               time.Time
	seq, order, done uint64
	digest           [16]byte
	status           int16
	path, kind, op   uint16
	attempt, nth     int32
}

// seen is what is known of one id at one path.
type seen struct {
	requests int32
	accepted bool
}

// ledger is everything that is remembered. The receiver's lock guards it.
type ledger struct {
	keep     int
	clock    uint64
	chunks   [][]*record
	records  int
	dropped  int
	names    []string
	index    map[string]uint16
	hashSeed maphash.Seed
	ids      map[uint64]seen
	counts   map[string]*Counts
	refusals []error
}

func newLedger(keep int) ledger {
	return ledger{keep: keep, index: map[string]uint16{}, hashSeed: maphash.MakeSeed(), ids: map[uint64]seen{}, counts: map[string]*Counts{}}
}

// name is the short form of a text that repeats.
func (l *ledger) name(text string) uint16 {
	if i, ok := l.index[text]; ok {
		return i
	}
	i := uint16(len(l.names))
	l.names = append(l.names, text)
	l.index[text] = i
	return i
}

// count is the entry of one path.
func (l *ledger) count(path string) *Counts {
	if l.counts[path] == nil {
		l.counts[path] = &Counts{}
	}
	return l.counts[path]
}

// idHash stands for an id at a path; of 64 bits, so that two ids share one about never.
func (l *ledger) idHash(path, id string) uint64 {
	var hash maphash.Hash
	hash.SetSeed(l.hashSeed)
	_, _ = hash.WriteString(path)
	_ = hash.WriteByte(0)
	_, _ = hash.WriteString(id)
	return hash.Sum64()
}

// add keeps a record, and forgets the oldest when there are too many.
func (l *ledger) add(rec *record) {
	if l.keep < 0 {
		l.dropped++
		return
	}
	last := len(l.chunks) - 1
	if last < 0 || len(l.chunks[last]) == chunkLen {
		l.chunks = append(l.chunks, make([]*record, 0, chunkLen))
		last++
	}
	l.chunks[last] = append(l.chunks[last], rec)
	l.records++
	if l.records > l.keep && len(l.chunks) > 1 {
		l.forget(l.chunks[0])
		l.chunks = l.chunks[1:]
	}
}

// forget drops records, and what is known of their ids with them.
func (l *ledger) forget(records []*record) {
	for _, rec := range records {
		delete(l.ids, l.idHash(l.names[rec.path], rec.id))
	}
	l.records -= len(records)
	l.dropped += len(records)
}

// arrive records a verified delivery, and returns the rule for it.
func (r *Receiver) arrive(d *Delivery) (Rule, *record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := &r.ledger
	hash := l.idHash(d.Path, d.ID)
	known := l.ids[hash]
	known.requests++
	if l.keep >= 0 {
		l.ids[hash] = known
	}
	l.clock++
	d.Order, d.Nth = l.clock, int(known.requests)
	rec := &record{
		id: d.ID, subject: d.Subject, key: d.Key, version: d.Version, at: d.At, seq: d.Seq, order: d.Order, digest: d.Digest,
		path: l.name(d.Path), kind: l.name(d.Type), op: l.name(d.Op), attempt: int32(d.Attempt), nth: int32(d.Nth),
	}
	l.add(rec)
	l.count(d.Path).Requests++
	r.notify()
	if rule := r.rules[d.Path]; rule != nil {
		return rule, rec
	}
	return Always(Behaviour{}), rec
}

// decide records what will be answered.
func (r *Receiver) decide(rec *record, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec.status = int16(status)
}

// answering records that the answer is given now.
func (r *Receiver) answering(rec *record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := &r.ledger
	l.clock++
	rec.done = l.clock
	if rec.status/100 != 2 {
		return
	}
	path := l.names[rec.path]
	counts, hash := l.count(path), l.idHash(path, rec.id)
	counts.Accepted++
	if known := l.ids[hash]; !known.accepted {
		counts.Distinct++
		known.accepted = true
		if l.keep >= 0 {
			l.ids[hash] = known
		}
	}
	r.notify()
}

// refused records a request that is not a delivery.
func (r *Receiver) refused(path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ledger.count(path).Refused++
	if len(r.ledger.refusals) < maxRefusals {
		r.ledger.refusals = append(r.ledger.refusals, fmt.Errorf("%s: %w", path, err))
	}
	r.notify()
}

// cut records a request whose sender went away.
func (r *Receiver) cut(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ledger.count(path).Cut++
}

// Counts say what has come to a path; for the empty path, to all of them.
func (r *Receiver) Counts(path string) Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	if path != "" {
		return *r.ledger.count(path)
	}
	var all Counts
	for _, c := range r.ledger.counts {
		all.Requests += c.Requests
		all.Accepted += c.Accepted
		all.Distinct += c.Distinct
		all.Refused += c.Refused
		all.Cut += c.Cut
	}
	return all
}

// Refusals are the reasons of the first requests that were refused.
func (r *Receiver) Refusals() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]error(nil), r.ledger.refusals...)
}

// Snapshot is everything that is remembered, in the order of arrival, and how many older deliveries were forgotten.
func (r *Receiver) Snapshot() (deliveries []Delivery, forgotten int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := &r.ledger
	deliveries = make([]Delivery, 0, l.records)
	for _, chunk := range l.chunks {
		for _, rec := range chunk {
			deliveries = append(deliveries, Delivery{
				Path: l.names[rec.path], ID: rec.id, Type: l.names[rec.kind], Op: l.names[rec.op], Subject: rec.subject, Seq: rec.seq,
				Key: rec.key, Version: rec.version, Attempt: int(rec.attempt), Nth: int(rec.nth), At: rec.at, Order: rec.order,
				Done: rec.done, Status: int(rec.status), Digest: rec.digest,
			})
		}
	}
	return deliveries, l.dropped
}

// WaitFor returns when done reports true, or with the reason of ctx. It asks at once, and again whenever something came; done may
// call every method of the receiver.
func (r *Receiver) WaitFor(ctx context.Context, done func() bool) error {
	news := make(chan struct{}, 1)
	r.mu.Lock()
	r.waiters[news] = struct{}{}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.waiters, news)
	}()
	for !done() {
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("waiting for deliveries: %w", context.Cause(ctx))
		}
	}
	return nil
}

// notify wakes those who wait; news that was not looked at yet stands for all later news.
func (r *Receiver) notify() {
	for news := range r.waiters {
		select {
		case news <- struct{}{}:
		default:
		}
	}
}
