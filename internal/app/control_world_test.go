package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/change/changetest"
	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/eventlog"
	"github.com/rowhook/rowhook/internal/store"
	"github.com/rowhook/rowhook/webhook"
)

const testTypes = `types:
  order.changed:
    table: shop.orders
    subject: orders/{id}
    tenant: "{org}"
    data: [id, note]
  order.noted:
    table: shop.orders
    data: [note]
`

// world is a process without capture: the test writes the log. Everything else is what it is in production.
type world struct {
	t        *testing.T
	dir      string
	cfg      *config.Config
	app      *App
	control  *control
	receiver *receiver
	end      func()
	next     map[string]uint64
}

func newWorld(t *testing.T, sources ...string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), receiver: newReceiver(t), next: map[string]uint64{}}
	if len(sources) == 0 {
		sources = []string{"shop"}
	}
	w.cfg = &config.Config{
		Types:    []config.TypeFile{{Path: "t.yaml", Content: []byte(testTypes)}},
		Delivery: config.Delivery{Retry: []time.Duration{time.Hour}, ProgressInterval: time.Millisecond, AttemptsRetention: time.Hour},
		Egress:   deliver.EgressPolicy{AllowHTTP: true, AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	}
	for _, name := range sources {
		w.cfg.Sources = append(w.cfg.Sources, config.Source{Name: name, Generation: 1})
		w.next[name] = 1
	}
	t.Cleanup(func() { w.stop() })
	return w
}

// declare puts an endpoint with a subscription into the configuration.
func (w *world) declare(name, tenant string) {
	d := config.EndpointDefaults()
	d.Name, d.Tenant, d.URL, d.Secrets = name, tenant, w.receiver.url(name), []webhook.Secret{webhook.NewSecret()}
	w.cfg.Endpoints = append(w.cfg.Endpoints, d)
	w.cfg.Subscriptions = append(w.cfg.Subscriptions, config.Subscription{Name: "all", Endpoint: name, Types: []string{"order.changed"}, From: config.FromNow})
}

func (w *world) start() {
	w.t.Helper()
	if err := w.open(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	run := func(f func(context.Context) error) {
		running.Go(func() {
			if err := f(ctx); err != nil {
				w.t.Error(err)
			}
		})
	}
	for _, s := range w.app.sources {
		run(s.engine.Run)
	}
	for _, s := range w.app.sources { // an engine that is ended while it begins says so
		if _, _, err := s.engine.EndSubscription(ctx, "none", "none"); !errors.Is(err, deliver.ErrNoEndpoint) {
			w.t.Fatal(err)
		}
	}
	w.app.control.Lock()
	_, err := w.app.declare(ctx, w.cfg)
	w.app.control.Unlock()
	if err != nil {
		w.t.Fatal(err)
	}
	run(w.control.Run)
	w.end = func() {
		cancel()
		running.Wait()
		if err := w.app.Close(); err != nil {
			w.t.Error(err)
		}
	}
}

func (w *world) stop() {
	if w.end != nil {
		w.end()
		w.end = nil
	}
}

func (w *world) open(ctx context.Context) error {
	log := slog.New(slog.DiscardHandler)
	a := &App{cfg: w.cfg, log: log, version: "test", started: time.Now()}
	w.app = a
	dir := filepath.Join(w.dir, "store")
	var err error
	if a.store, err = store.Open(ctx, dir, log); err != nil {
		return err
	}
	key, err := store.NewKey([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		return err
	}
	sealer, err := store.NewSealer(key)
	if err != nil {
		return err
	}
	a.store.SetSealer(sealer)
	if a.journal, err = store.OpenJournal(dir); err != nil {
		return err
	}
	if a.logs, err = eventlog.Open(ctx, eventlog.Options{Dir: filepath.Join(w.dir, "log"), Retention: time.Hour, Log: log}); err != nil {
		return err
	}
	set, err := CompileTypes(w.cfg)
	if err != nil {
		return err
	}
	if a.types, err = openTypes(ctx, a.store, typeFiles(w.cfg), set); err != nil {
		return err
	}
	endpoints, err := a.openDelivery(ctx)
	if err != nil {
		return err
	}
	w.control = a.backend
	if err := a.recordCrash(ctx); err != nil {
		return err
	}
	for _, c := range w.cfg.Sources {
		if err := w.openSource(ctx, c, endpoints); err != nil {
			return err
		}
	}
	return nil
}

// openSource is App.openSource without a server to follow.
func (w *world) openSource(ctx context.Context, c config.Source, endpoints []*deliver.Endpoint) error {
	a := w.app
	l, err := a.pairLog(ctx, c)
	if err != nil {
		return err
	}
	if _, _, _, err := l.Last(ctx); err != nil { // takes the writer's place
		return err
	}
	ranges, err := a.rangesOf(ctx, c.Name, endpoints)
	if err != nil {
		return err
	}
	s := &source{name: c.Name, cfg: c, logger: a.log, log: l, state: sourceRunning}
	s.engine = deliver.New(deliver.Options{
		Source: c.Name, Generation: 1, Types: a.types, Endpoints: endpoints, Ranges: ranges, Claims: a.claims, LeaseTTL: leaseTTL,
		Schedule: w.cfg.Delivery.Retry, ProgressInterval: w.cfg.Delivery.ProgressInterval, Budget: a.budget, Drain: drain, Log: a.log,
	}, deliver.Deps{Log: deliverLog{l}, Store: a.store, Loader: loader{a.store}, Journal: a.journal, Leases: a.store, Client: a.client})
	a.sources = append(a.sources, s)
	return nil
}

// orders is the table of the tests.
func orders() *change.Table {
	return changetest.Table("shop", "orders", []string{"id"},
		changetest.Column("id", change.Int, "int"), changetest.Column("org", change.Text, "varchar(20)"), changetest.Column("note", change.Text, "varchar(20)"))
}

// insert appends a block with one inserted order and returns its seq.
func (w *world) insert(source string, id int, org, note string) uint64 {
	w.t.Helper()
	return w.commit(source, changetest.Change{Op: change.Insert, Table: orders(), After: changetest.Row{id, org, note}})
}

func (w *world) commit(source string, changes ...changetest.Change) uint64 {
	w.t.Helper()
	seq := w.next[source]
	block := changetest.Block(w.t, source, seq, changetest.Tx{
		Transaction: change.Transaction{GTID: "0-1-" + time.Now().Format("150405.000000000"), CommitTime: time.Now().UnixMicro()}, Changes: changes,
	})
	h, err := change.ParseHeader(block)
	if err != nil {
		w.t.Fatal(err)
	}
	src, err := w.app.source(source)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := src.log.Append(w.t.Context(), block, h); err != nil {
		w.t.Fatal(err)
	}
	w.next[source] += uint64(len(changes))
	return seq
}

// operator sees all tenants.
func operator() api.Caller { return api.Caller{KeyID: "socket", Scope: api.ScopeAdmin} }

func tenant(name string) api.Caller {
	return api.Caller{KeyID: "key" + name, Scope: api.ScopeManage, Tenant: name}
}

// endpoint makes one that the receiver knows by its path.
func (w *world) endpoint(who api.Caller, path string) (api.Endpoint, string) {
	w.t.Helper()
	e, secret, err := w.control.CreateEndpoint(w.t.Context(), who, api.NewEndpoint{URL: w.receiver.url(path)})
	if err != nil {
		w.t.Fatal(err)
	}
	return e, secret
}

func (w *world) subscribe(who api.Caller, endpoint string, from api.From, types ...string) api.Subscription {
	w.t.Helper()
	s, err := w.control.CreateSubscription(w.t.Context(), who, api.NewSubscription{Endpoint: endpoint, Types: types, From: from})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// receiver takes requests and keeps them by path.
type receiver struct {
	server *httptest.Server
	mu     sync.Mutex
	got    map[string][]received
	// status answers by path; 200 otherwise.
	status map[string]int
	// held requests are answered when the channel of their path is closed.
	held map[string]chan struct{}
	wake chan struct{}
}

type received struct {
	header http.Header
	body   []byte
}

func (r received) seq() string { return r.header.Get("Rowhook-Seq") }

func newReceiver(t *testing.T) *receiver {
	r := &receiver{got: map[string][]received{}, status: map[string]int{}, held: map[string]chan struct{}{}, wake: make(chan struct{})}
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	return r
}

func (r *receiver) url(path string) string { return r.server.URL + "/" + path }

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	path := req.URL.Path[1:]
	r.mu.Lock()
	r.got[path] = append(r.got[path], received{req.Header, body})
	close(r.wake)
	r.wake = make(chan struct{})
	status, held := r.status[path], r.held[path]
	r.mu.Unlock()
	if held != nil {
		<-held
	}
	if status != 0 {
		w.WriteHeader(status)
	}
}

// answer sets what a path answers from now on; 0 is 200.
func (r *receiver) answer(path string, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status[path] = status
}

// hold lets requests of a path wait for their answer until release is called.
func (r *receiver) hold(path string) (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := make(chan struct{})
	r.held[path] = c
	return sync.OnceFunc(func() { close(c) })
}

// wait waits for n requests at a path and returns them.
func (r *receiver) wait(t *testing.T, path string, n int) []received {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		r.mu.Lock()
		got, wake := slices.Clone(r.got[path]), r.wake
		r.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-wake:
		case <-ctx.Done():
			t.Fatalf("%d of %d requests at %s", len(got), n, path)
		}
	}
}

func (r *receiver) count(path string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got[path])
}

// eventually waits until f says yes. What it waits for is written within milliseconds, by somebody who does not tell.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline, tick := time.After(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-deadline:
			t.Fatalf("still not: %s", what)
		case <-tick.C:
		}
	}
}

// problem returns the code of a Problem; the error itself if it is none.
func problem(err error) string {
	if p, ok := errors.AsType[*api.Problem](err); ok {
		return p.Code
	}
	if err == nil {
		return ""
	}
	return err.Error()
}
