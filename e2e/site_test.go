package e2e

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rowhook/rowhook/e2e/receiver"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
	"github.com/rowhook/rowhook/webhook"
)

// endpoint is one endpoint of a site: what it gets and what else its configuration says.
type endpoint struct {
	name  string
	kinds []string
	extra string // more keys, such as "timeout: 2s"
	url   string // empty means a path of the site's receiver
}

// The endpoints most tests use: one that gets everything, and one that gets a part.
func usualEndpoints() []endpoint {
	return []endpoint{
		{name: "all", kinds: []string{kindItem, kindOrder, kindEven}},
		{name: "orders", kinds: []string{kindOrder}},
	}
}

// probe is the endpoint and type by which a site finds out that its source is attached.
const (
	probe     = "probe"
	probeKind = "probe.written"
)

// How long it may take until everything was delivered, on a machine that has other things to do: drainTime in all, goodTime at
// endpoints beside which others fail, of which each failure takes longer than that.
const (
	drainTime = 3 * time.Minute
	goodTime  = 45 * time.Second
)

// site is one test's world: a database, a workload, a receiver, and a Rowhook between them.
type site struct {
	t         *testing.T
	srv       *dbserver.Server
	database  string
	db        *sql.DB
	load      *workload
	secret    webhook.Secret
	others    []webhook.Secret // that the receiver takes too
	receiver  *receiver.Receiver
	endpoints []endpoint
	dir       string   // of the configuration
	data      string   // data_dir
	types     string   // more event types
	tables    []string // more tables
	config    string   // more configuration
	crashes   []time.Time
	official  atomic.Int64 // deliveries that the official Go library verified
	serverID  uint32       // tests share servers, which know their replicas by it
	daemon    *daemon
}

// newSite makes all of it but does not start Rowhook.
func newSite(t *testing.T, srv *dbserver.Server, endpoints ...endpoint) *site {
	t.Helper()
	s := &site{t: t, srv: srv, secret: webhook.NewSecret(), dir: t.TempDir(), endpoints: endpoints, serverID: 1<<31 + rand.Uint32N(1<<31)}
	s.data = filepath.Join(s.dir, "data")
	s.database, s.db = dbservertest.Database(t, srv)
	s.load = newWorkload(t, srv, s.database, seed(t))
	if _, err := s.db.ExecContext(t.Context(), "CREATE TABLE probe (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.others = append(s.others, webhook.NewSecret())
	}
	known := append([]webhook.Secret{s.secret}, s.others...)
	official := officialGo(t, known...)
	var err error
	s.receiver, err = receiver.New(receiver.Options{
		Secrets: known, Key: []string{"region", "id"}, Version: "version",
		Check: func(header http.Header, d receiver.Delivery) error {
			if err := official(header, d.Body); err != nil {
				return err
			}
			s.official.Add(1)
			return checkDelivery(header, d)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.receiver.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// checkDelivery is checkContent for the workload's types.
func checkDelivery(header http.Header, d receiver.Delivery) error {
	if slices.Contains([]string{kindItem, kindOrder, kindEven}, d.Type) {
		return checkContent(header, d)
	}
	return nil
}

// write makes the files of the configuration.
func (s *site) write() {
	s.t.Helper()
	types := typesFile(s.database) + s.types + strings.ReplaceAll(`
  probe.written:
    table: DB.probe
    on: [insert]
    data: [id]
`, "DB", s.database)
	for name, text := range map[string]string{"rowhook.yaml": s.yaml(), "types.yaml": types} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// yaml is the configuration.
func (s *site) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "data_dir: %s\nsources:\n  - name: shop\n    dsn: %s\n    attach: now\n    server_id: %d\n", s.data, s.dsn(), s.serverID)
	b.WriteString("    tables: [")
	for _, table := range append([]string{"items", "orders"}, s.tables...) {
		fmt.Fprintf(&b, "%s.%s, ", s.database, table)
	}
	fmt.Fprintf(&b, "%s.probe]\ntypes: [types.yaml]\nendpoints:\n", s.database)
	all := append(slices.Clone(s.endpoints), endpoint{name: probe, kinds: []string{probeKind}})
	for _, e := range all {
		fmt.Fprintf(&b, "  - name: %s\n    url: %s\n    secrets: [%s]\n", e.name, cmp.Or(e.url, s.receiver.URL(e.name)), s.secret.Reveal())
		if e.extra != "" {
			fmt.Fprintf(&b, "    %s\n", e.extra)
		}
	}
	b.WriteString("subscriptions:\n")
	for _, e := range all {
		fmt.Fprintf(&b, "  - {name: %[1]s, endpoint: %[1]s, types: [%[2]s]}\n", e.name, strings.Join(e.kinds, ", "))
	}
	b.WriteString("egress: {allow_http: true, allow: [127.0.0.0/8]}\nhttp: {listen: \"127.0.0.1:0\"}\n" + s.config)
	if !strings.Contains(s.config, "delivery:") {
		b.WriteString("delivery: {retry: [" + repeated("200ms", 30) + "]}\n")
	}
	return b.String()
}

// dsn is the server's address in the form of the configuration.
func (s *site) dsn() string {
	cfg := s.srv.Config()
	u := url.URL{Scheme: "mysql", User: url.User(cfg.User), Host: cfg.Addr, Path: "/"}
	if cfg.Passwd != "" {
		u.User = url.UserPassword(cfg.User, cfg.Passwd)
	}
	return u.String()
}

// start runs Rowhook with the site's configuration.
func (s *site) start() *daemon {
	s.t.Helper()
	s.daemon = startDaemon(s.t, "serve", "--config", filepath.Join(s.dir, "rowhook.yaml"))
	return s.daemon
}

// attach starts Rowhook for the first time and returns when what is committed from now on must be delivered.
func (s *site) attach() {
	s.t.Helper()
	s.write()
	s.start()
	s.heard()
}

// heard returns when something committed after its call was delivered.
func (s *site) heard() {
	s.t.Helper()
	s.heardWithin(time.Minute)
}

func (s *site) heardWithin(timeout time.Duration) {
	s.t.Helper()
	before := s.receiver.Counts("/" + probe).Distinct
	next := time.Now()
	eventually(s.t, timeout, "a delivery", func() bool {
		s.daemon.mustRun()
		if time.Now().After(next) {
			next = next.Add(100 * time.Millisecond)
			if _, err := s.db.ExecContext(s.t.Context(), "INSERT INTO probe () VALUES ()"); err != nil {
				s.t.Fatal(err)
			}
		}
		return s.receiver.Counts("/"+probe).Distinct > before
	})
}

// ask runs a command that asks the process; it must succeed.
func (s *site) ask(args ...string) string {
	s.t.Helper()
	res := s.tryAsk(args...)
	if res.code != 0 {
		s.t.Fatalf("rowhook %v: code %d\n%s", args, res.code, res.stderr)
	}
	return res.stdout
}

func (s *site) tryAsk(args ...string) result {
	s.t.Helper()
	return runToEnd(s.t, append(args, "--config", filepath.Join(s.dir, "rowhook.yaml"))...)
}

// askFor is ask with --json.
func askFor[T any](s *site, args ...string) (out T) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.ask(append(args, "--json")...)), &out); err != nil {
		s.t.Fatal(err)
	}
	return out
}

// kill ends Rowhook as a crash would.
func (s *site) kill() {
	s.t.Helper()
	s.crashes = append(s.crashes, s.daemon.kill())
}

// changes waits until so many more changes were committed.
func (s *site) changes(n int) {
	s.t.Helper()
	goal := s.load.book.len() + n
	eventually(s.t, 2*time.Minute, fmt.Sprintf("%d more changes (%v)", n, s.load.err), func() bool { return s.load.book.len() >= goal })
}

// finish stops the load and checks the book against the tables.
func (s *site) finish() {
	s.t.Helper()
	if err := s.load.finish(); err != nil {
		s.t.Fatal(err)
	}
	if err := s.load.book.verify(s.t.Context(), s.db); err != nil {
		s.t.Fatalf("the test's own book does not agree with the tables: %v", err)
	}
}

// drained waits until the named endpoints have got as many events as they should.
func (s *site) drained(timeout time.Duration, names ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), timeout)
	defer cancel()
	go func() { // so that a Rowhook that ended is noticed at once
		select {
		case <-s.daemon.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	for _, e := range s.endpoints {
		if len(names) > 0 && !slices.Contains(names, e.name) {
			continue
		}
		wanted := len(s.load.book.wanted(e.kinds...))
		if err := s.receiver.WaitFor(ctx, func() bool { return s.receiver.Counts("/"+e.name).Distinct >= wanted }); err != nil {
			s.t.Errorf("endpoint %s has %+v, and should have %d events: %v (rowhook runs: %v)", e.name, s.receiver.Counts("/"+e.name), wanted, err, s.daemon.running())
		}
	}
}

// judge stops Rowhook in good order and holds the promises for the named endpoints, or for all.
func (s *site) judge(names ...string) {
	s.t.Helper()
	if code := s.daemon.stop(); code != 0 {
		s.t.Errorf("rowhook ended with code %d after SIGTERM, want 0", code)
	}
	for _, err := range s.receiver.Refusals() {
		s.t.Errorf("refused: %v", err)
	}
	deliveries, forgotten := s.receiver.Snapshot()
	if forgotten > 0 {
		s.t.Fatalf("the receiver forgot %d deliveries", forgotten)
	}
	for _, e := range s.endpoints {
		if len(names) > 0 && !slices.Contains(names, e.name) {
			continue
		}
		var got []receiver.Delivery
		for _, d := range deliveries {
			if d.Path == "/"+e.name {
				got = append(got, d)
			}
		}
		wanted := s.load.book.wanted(e.kinds...)
		if f := judge(wanted, got, s.crashes).String(); f != "" {
			s.t.Errorf("ROWHOOK_SEED=%d endpoint %s:\n%s", s.load.seed, e.name, f)
		}
		s.t.Logf("endpoint %s: %d events, %d requests, %d crashes", e.name, len(wanted), len(got), len(s.crashes))
	}
}
