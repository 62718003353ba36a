package deliver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/change/changetest"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/webhook"
)

// world is a log, a store and receivers that outlive the engines run over them.
type world struct {
	tb    testing.TB
	log   *memLog
	store *memStore
	types *event.Set
	subs  []Range
	cfgs  []EndpointConfig
	opts  Options
	// queueBytes is the bound of a process.
	queueBytes int64
	// bounds of the lanes, if set.
	bounds *bounds
	items  *change.Table
	orders *change.Table

	mu        sync.Mutex
	receivers map[string]*receiver
	events    []sent // all events of the log, in order
	ids       map[string]EventRef
}

type sent struct {
	ref    EventRef
	id     string
	keys   [2]uint64
	poison bool
}

// receiver is an endpoint's far side.
type receiver struct {
	name string
	// answer decides on a request; nil is 200. It is called without locks, and the request counts as accepted if it returns 2xx.
	answer func(req *http.Request, ref EventRef) (*http.Response, error)
	mu     sync.Mutex
	// accepted holds the events answered with 2xx, in order, repeats too.
	accepted []EventRef
	count    map[EventRef]int
	requests int
}

func newWorld(tb testing.TB, endpoints ...EndpointConfig) *world {
	w := &world{
		tb: tb, log: newMemLog(), store: newMemStore(), types: compileTypes(tb, testTypes), receivers: map[string]*receiver{}, ids: map[string]EventRef{},
		items: table("items"), orders: table("orders"), queueBytes: 1 << 20,
		opts: Options{
			Source: testSource, Generation: 1, LeaseTTL: 30 * time.Second, ProgressInterval: 100 * time.Millisecond,
			Schedule: []time.Duration{5 * time.Second, time.Minute, 10 * time.Minute}, Drain: time.Second, Log: slog.New(slog.DiscardHandler),
		},
	}
	for _, c := range endpoints {
		w.endpoint(c)
	}
	return w
}

// endpoint adds an endpoint that is subscribed to everything unless subscriptions follow.
func (w *world) endpoint(c EndpointConfig) *receiver {
	c.URL = "https://" + c.Name + ".example/hook"
	c.Secrets = []webhook.Secret{webhook.NewSecret()}
	if c.Concurrency == 0 {
		c.Concurrency = 4
	}
	if c.Timeout == 0 {
		c.Timeout = 20 * time.Second
	}
	if c.QueueBytes == 0 {
		c.QueueBytes = 1 << 20
	}
	w.cfgs = append(w.cfgs, c)
	r := &receiver{name: c.Name, count: map[EventRef]int{}}
	w.mu.Lock()
	w.receivers[c.Name] = r
	w.mu.Unlock()
	w.subs = append(w.subs, Range{Source: testSource, Subscription: "all", Version: 1, Endpoint: c.Name, Types: []string{"item.any", "item.big", "item.frail", "order.any"}})
	return r
}

// oneSet reads every block with the same types.
type oneSet struct{ set *event.Set }

func (o oneSet) Types(context.Context, uint64) (*event.Set, error) { return o.set, nil }

// lane returns an endpoint's own lane.
func (p *process) lane(endpoint string) *lane { return p.engine.senders.get(endpoint).main }

func ordered(name string) EndpointConfig { return EndpointConfig{Name: name, Ordered: true} }

func (w *world) insert(id, n int) changetest.Change {
	return changetest.Change{Op: change.Insert, Table: w.items, After: changetest.Row{id, n}}
}

// rekey is an update of the key itself.
func (w *world) rekey(from, to, n int) changetest.Change {
	return changetest.Change{Op: change.Update, Table: w.items, Before: changetest.Row{from, n}, After: changetest.Row{to, n}}
}

// commit appends a block with one transaction of the changes; without any, one that only moves the position.
func (w *world) commit(changes ...changetest.Change) change.Header {
	next := max(w.log.NextSeq(), 1)
	var txs []changetest.Tx
	if len(changes) > 0 {
		tx := change.Transaction{GTID: fmt.Sprintf("0-1-%d", next), CommitTime: 1_700_000_000_000_000 + int64(next)*1000, File: "bin.1", Offset: next}
		txs = append(txs, changetest.Tx{Transaction: tx, Changes: changes})
	}
	raw := changetest.Block(w.tb, testSource, next, txs...)
	w.learn(raw)
	return w.log.append(raw)
}

// learn notes which events a block has.
func (w *world) learn(raw []byte) {
	blk, err := change.Parse(raw)
	if err != nil {
		w.tb.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.types.NewMatcher()
	err = blk.Each(func(c *change.Change) error {
		return m.Each(testSource, 1, c, func(ev *event.Event) error {
			s := sent{ref: EventRef{ev.Seq, ev.Type}, id: ev.ID, keys: [2]uint64{ev.Key, ev.OtherKey}, poison: ev.Err != nil}
			w.events, w.ids[s.id] = append(w.events, s), s.ref
			return nil
		})
	})
	if err != nil {
		w.tb.Fatal(err)
	}
}

// wants returns the events that the endpoint is to get.
func (w *world) wants(endpoint string) []sent {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []sent
	for _, s := range w.events {
		if w.wantedBy(endpoint, s) {
			out = append(out, s)
		}
	}
	return out
}

func (w *world) wantedBy(endpoint string, s sent) bool {
	return slices.ContainsFunc(w.subs, func(r Range) bool {
		return r.Endpoint == endpoint && r.Covers(s.ref.Seq) && r.names(s.ref.Type)
	})
}

// process is one engine's life. Once it is killed, nothing of it reaches the world any more.
type process struct {
	w       *world
	engine  *Engine
	journal *memJournal
	killed  atomic.Bool
	cancel  context.CancelFunc
	done    chan error
}

var errKilled = fmt.Errorf("the process is dead: %w", ErrStale)

// start runs an engine over the world.
func (w *world) start() *process {
	p := &process{w: w, journal: &memJournal{}, done: make(chan error, 1)}
	egress, err := NewEgress(EgressPolicy{})
	if err != nil {
		w.tb.Fatal(err)
	}
	opts := w.opts
	w.store.declare(w.subs)
	opts.Types, opts.Ranges, opts.Claims = oneSet{w.types}, w.store.allRanges(), w.store.claim(opts.LeaseTTL)
	if opts.Budget == nil {
		opts.Budget = NewBudget(w.queueBytes)
	}
	for _, c := range w.cfgs {
		ep, err := NewEndpoint(c, egress)
		if err != nil {
			w.tb.Fatal(err)
		}
		opts.Endpoints = append(opts.Endpoints, ep)
	}
	p.engine = New(opts, Deps{Log: w.log, Store: p, Loader: w.store, Journal: p.journal, Leases: w.store, Client: p})
	if w.bounds != nil {
		p.engine.bounds = *w.bounds
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() { p.done <- p.engine.Run(ctx) }()
	return p
}

// stop ends the engine in good order.
func (p *process) stop() error {
	p.cancel()
	return <-p.done
}

// kill ends it as kill -9 does: what it had not written is gone.
func (p *process) kill() {
	p.killed.Store(true)
	p.cancel()
	<-p.done
}

func (p *process) Commit(ctx context.Context, b Batch) error {
	if p.killed.Load() {
		return errKilled
	}
	return p.w.store.Commit(ctx, b)
}

// Post is RoundTrip for what goes over the wire.
func (p *process) Post(ctx context.Context, to *Target, r *Request, deadline time.Time) (Answer, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(slices.Concat(r.Head, r.Body))))
	if err != nil {
		return Answer{}, err
	}
	req.URL.Scheme, req.URL.Host = to.scheme, to.host
	resp, err := p.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return Answer{}, err
	}
	_, cut := io.Copy(io.Discard, resp.Body)
	return Answer{Status: resp.StatusCode, RetryAfter: resp.Header.Get("Retry-After"), Cut: cut}, resp.Body.Close()
}

// RoundTrip brings a request to its receiver.
func (p *process) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	if err := req.Body.Close(); err != nil {
		return nil, err
	}
	name, _, _ := strings.Cut(req.URL.Host, ".")
	ref, err := p.w.check(req, body)
	if err != nil {
		p.w.tb.Error(err)
		return nil, err
	}
	p.w.mu.Lock()
	r := p.w.receivers[name]
	p.w.mu.Unlock()
	return r.serve(p, req, ref)
}

func (w *world) check(req *http.Request, body []byte) (EventRef, error) {
	id := req.Header.Get("Webhook-Id")
	w.mu.Lock()
	ref, ok := w.ids[id]
	w.mu.Unlock()
	if !ok {
		return ref, fmt.Errorf("an id that no event has: %s", id)
	}
	if seq := strconv.FormatUint(ref.Seq, 10); req.Header.Get("Rowhook-Seq") != seq {
		return ref, fmt.Errorf("event %s has seq %s, the request says %s", id, seq, req.Header.Get("Rowhook-Seq"))
	}
	if !bytes.Contains(body, []byte(id)) || !bytes.Contains(body, []byte(`"`+ref.Type+`"`)) {
		return ref, fmt.Errorf("the body of %v is another's: %s", ref, body)
	}
	return ref, nil
}

func (r *receiver) serve(p *process, req *http.Request, ref EventRef) (*http.Response, error) {
	r.mu.Lock()
	r.requests++
	answer := r.answer
	r.mu.Unlock()
	if p.killed.Load() {
		return nil, errKilled
	}
	resp := respond(200)
	if answer != nil {
		var err error
		if resp, err = answer(req, ref); err != nil {
			return nil, err
		}
	}
	if p.killed.Load() {
		return nil, errKilled
	}
	if resp.StatusCode/100 == 2 {
		r.mu.Lock()
		r.accepted = append(r.accepted, ref)
		r.count[ref]++
		r.mu.Unlock()
	}
	return resp, nil
}

func (r *receiver) set(answer func(*http.Request, EventRef) (*http.Response, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *receiver) got() []EventRef {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]EventRef(nil), r.accepted...)
}

func (r *receiver) times() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests
}

func (r *receiver) has(ref EventRef) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count[ref] > 0
}

func respond(status int, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader("fine"))}
}

func always(status int, header ...string) func(*http.Request, EventRef) (*http.Response, error) {
	return func(*http.Request, EventRef) (*http.Response, error) { return respond(status, header...), nil }
}

// hang never answers.
func hang(req *http.Request, _ EventRef) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

var errRefused = errors.New("connection refused")
