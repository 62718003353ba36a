package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rowhook/rowhook/e2e/receiver"
	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
	"github.com/rowhook/rowhook/webhook"
)

// secretFile writes a secret where a command can read it.
func (s *site) secretFile(secret webhook.Secret) string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret.Reveal()+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// create makes an endpoint at a path of the receiver while everything runs.
func (s *site) create(path string, more ...string) string {
	s.t.Helper()
	args := append([]string{"endpoint", "create", "--url", s.receiver.URL(path), "--secret-file", s.secretFile(s.secret)}, more...)
	return askFor[api.Endpoint](s, args...).ID
}

// What is made, paused, changed and deleted while Rowhook runs is in effect at once, and a stop in between forgets none of it.
func TestControl(t *testing.T) {
	t.Parallel()
	s := newSite(t, dbservertest.Get(t, dbserver.MariaDB))
	s.attach()
	id := s.create("made")
	sub := askFor[api.Subscription](s, "subscription", "create", "--endpoint", id, "--types", probeKind)
	if len(sub.Starts) != 1 || sub.Starts[0].Source != "shop" || sub.Starts[0].Seq == 0 {
		t.Errorf("the subscription starts at %+v", sub.Starts)
	}
	s.arrives("/made", 1)

	if e := askFor[api.Endpoint](s, "endpoint", "pause", id, "--reason", "a test"); e.State != api.EndpointPaused || e.StateReason != "a test" {
		t.Errorf("after pausing the endpoint is %s: %s", e.State, e.StateReason)
	}
	before := s.receiver.Counts("/made").Distinct
	s.heard()
	s.kill()
	s.start()
	s.heard()
	if got := s.receiver.Counts("/made").Distinct; got != before {
		t.Errorf("a paused endpoint got %d events", got-before)
	}
	if e := askFor[api.Endpoint](s, "endpoint", "show", id); e.State != api.EndpointPaused {
		t.Errorf("after a restart the endpoint is %s", e.State)
	}
	s.ask("endpoint", "resume", id)
	s.caughtUp("/made")

	res := askFor[api.TestResult](s, "endpoint", "test", id)
	if res.Outcome != "ok" || res.Status/100 != 2 {
		t.Errorf("the test event came to %+v", res)
	}
	s.rotates(id)
	s.ask("subscription", "delete", sub.ID)
	before = s.receiver.Counts("/made").Distinct
	s.heard()
	if got := s.receiver.Counts("/made").Distinct; got != before {
		t.Errorf("%d events came after the subscription ended", got-before)
	}
	s.ask("endpoint", "delete", id)
	if res := s.tryAsk("endpoint", "show", id); res.code != exitRefused || !strings.Contains(res.stderr, "not_found") {
		t.Errorf("a deleted endpoint: code %d\n%s", res.code, res.stderr)
	}
	if code := s.daemon.stop(); code != 0 {
		t.Errorf("ended with code %d", code)
	}
	if res := s.tryAsk("status"); res.code != exitAway || !strings.Contains(res.stderr, "not_running") {
		t.Errorf("status of a stopped process: code %d\n%s", res.code, res.stderr)
	}
	for _, err := range s.receiver.Refusals() {
		t.Errorf("refused: %v", err)
	}
}

// arrives commits until so many more events have come to a path.
func (s *site) arrives(path string, n int) {
	s.t.Helper()
	goal := s.receiver.Counts(path).Distinct + n
	eventually(s.t, 20*time.Second, fmt.Sprintf("%d more events at %s", n, path), func() bool {
		s.daemon.mustRun()
		if _, err := s.db.ExecContext(s.t.Context(), "INSERT INTO probe () VALUES ()"); err != nil {
			s.t.Fatal(err)
		}
		return s.receiver.Counts(path).Distinct >= goal
	})
}

// caughtUp waits until a path has everything that was committed since its first event.
func (s *site) caughtUp(path string) {
	s.t.Helper()
	deliveries, _ := s.receiver.Snapshot()
	first := ""
	for _, d := range deliveries {
		if d.Path == path && first == "" {
			first = d.ID
		}
	}
	at := slices.IndexFunc(deliveries, func(d receiver.Delivery) bool { return d.Path == "/"+probe && d.ID == first })
	if at < 0 {
		s.t.Fatalf("event %s never came to /%s", first, probe)
	}
	eventually(s.t, 20*time.Second, "all events at "+path, func() bool {
		have, _ := s.receiver.Snapshot()
		got := map[string]bool{}
		for _, d := range have {
			if d.Path == path {
				got[d.ID] = true
			}
		}
		for _, d := range have {
			if d.Path == "/"+probe && d.Seq >= deliveries[at].Seq && !got[d.ID] {
				return false
			}
		}
		return true
	})
}

// rotates gives the endpoint another secret, and holds that it signs.
func (s *site) rotates(id string) {
	s.t.Helper()
	e := askFor[api.Endpoint](s, "endpoint", "rotate-secret", id, "--secret-file", s.secretFile(s.others[0]), "--overlap", "1h")
	if len(e.Secrets) != 2 || e.Secrets[1].ExpiresAt == nil {
		s.t.Errorf("after the rotation it signs with %+v", e.Secrets)
	}
	s.arrives("/made", 1)
}

// A mistake in a file leaves everything as it was and says why; without it new types are in force from a seq on, and events of both
// are right.
func TestReload(t *testing.T) {
	t.Parallel()
	s := newSite(t, dbservertest.Get(t, dbserver.MySQL), endpoint{name: "later", kinds: []string{"probe.*"}})
	s.attach()
	s.arrives("/later", 1)
	types := filepath.Join(s.dir, "types.yaml")
	good, err := os.ReadFile(types)
	if err != nil {
		t.Fatal(err)
	}
	edit("types.yaml", "on: [insert]\n    data: [id]", "on: [insert]\n    dta: [id]")(s)
	if res := s.tryAsk("reload"); res.code != exitUsage || !strings.Contains(res.stderr, "dta") || !strings.Contains(res.stderr, "types.yaml:") {
		t.Errorf("a mistake: code %d\n%s", res.code, res.stderr)
	}
	if st := askFor[api.Status](s, "status"); st.Reload == nil || st.Reload.Error == nil || st.Reload.Error.Code != "types" || st.TypesVersion != 1 {
		t.Errorf("the status does not tell of the mistake: %+v", st.Reload)
	}
	s.arrives("/later", 1)

	more := bytes.Replace(good, []byte("  probe.written:"), []byte("  probe.again:\n    table: "+s.database+".probe\n    on: [insert]\n    data: [id]\n  probe.written:"), 1)
	if err := os.WriteFile(types, more, 0o600); err != nil {
		t.Fatal(err)
	}
	res := askFor[api.Reload](s, "reload")
	if res.TypesVersion != 2 || len(res.Starts) != 1 {
		t.Errorf("the reload came to %+v", res)
	}
	s.arrives("/later", 4)
	s.ordered("/later", "probe.again", res.Starts[0].Seq)

	edit("rowhook.yaml", "attach: now", "attach: earliest")(s)
	if res := s.tryAsk("reload"); res.code != exitUsage || !strings.Contains(res.stderr, "needs_restart") || !strings.Contains(res.stderr, "sources") {
		t.Errorf("a source that changed: code %d\n%s", res.code, res.stderr)
	}
	if code := s.daemon.stop(); code != 0 {
		t.Errorf("ended with code %d", code)
	}
}

// ordered holds that events of a type came to a path, and all from behind a seq.
func (s *site) ordered(path, kind string, after uint64) {
	s.t.Helper()
	deliveries, _ := s.receiver.Snapshot()
	n := 0
	for _, d := range deliveries {
		if d.Path == path && d.Type == kind {
			n++
			if d.Seq <= after {
				s.t.Errorf("%s of seq %d, which is not behind %d", kind, d.Seq, after)
			}
		}
	}
	if n == 0 {
		s.t.Errorf("no %s came", kind)
	}
}

// Kills that hit in the middle of reloads, rotations, pauses, resumes and catching up: nothing is lost, nothing comes out of order,
// and nothing twice but by a kill.
func TestKillNineDuringControl(t *testing.T) {
	t.Parallel()
	kills := number(t, "ROWHOOK_KILLS", 8)
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		s := newSite(t, srv, usualEndpoints()...)
		s.load.rate = 600
		s.attach()
		id := s.create("made")
		s.ask("subscription", "create", "--endpoint", id, "--types", "item.*,order.*")
		s.load.start(t)
		random := rand.New(rand.NewPCG(s.load.seed, 7))
		for range kills {
			done, first := make(chan struct{}), random.IntN(5)
			go func() {
				defer close(done)
				for i := range 3 {
					s.disturb(id, first+i)
				}
			}()
			select {
			case <-done:
			case <-time.After(time.Duration(random.Int64N(int64(1200 * time.Millisecond)))):
			}
			s.daemon.mustRun()
			s.kill()
			s.start()
			<-done
			s.heard()
		}
		s.ask("endpoint", "resume", id)
		s.ask("endpoint", "resume", "orders")
		s.finish()
		s.endpoints = append(s.endpoints, endpoint{name: "made", kinds: []string{kindItem, kindOrder, kindEven}})
		s.drained(drainTime)
		s.judge()
	})
}

// disturb does one of the things that may be hit by a kill. It may fail: nobody may be there.
func (s *site) disturb(id string, what int) {
	switch what % 5 {
	case 0:
		s.tryAsk("endpoint", "pause", id)
		s.tryAsk("endpoint", "resume", id)
	case 1:
		s.tryAsk("endpoint", "pause", "orders")
	case 2:
		s.tryAsk("endpoint", "resume", "orders")
	case 3:
		s.tryAsk("endpoint", "rotate-secret", id, "--secret-file", s.secretFile(s.others[what%len(s.others)]), "--overlap", "0s")
	case 4:
		s.rewrite()
		s.tryAsk("reload")
	}
}

// rewrite adds a type that nobody has asked for to the file of types, and edits a subscription without changing what it means.
func (s *site) rewrite() {
	s.t.Helper()
	for name, change := range map[string]func(string) string{
		"types.yaml": func(text string) string {
			n := strings.Count(text, "spare.")
			return text + fmt.Sprintf("  spare.n%d:\n    table: %s.probe\n    on: [delete]\n    data: [id]\n", n, s.database)
		},
		"rowhook.yaml": func(text string) string {
			plain, edited := "{name: all, endpoint: all, types: ", "{name: all, endpoint: all, subject: \"*\", types: "
			if strings.Contains(text, edited) {
				return strings.Replace(text, edited, plain, 1)
			}
			return strings.Replace(text, plain, edited, 1)
		},
	} {
		path := filepath.Join(s.dir, name)
		text, err := os.ReadFile(path)
		if err == nil {
			// Never half a file: the process may be starting.
			if err = os.WriteFile(path+".new", []byte(change(string(text))), 0o600); err == nil {
				err = os.Rename(path+".new", path)
			}
		}
		if err != nil {
			s.t.Error(err)
		}
	}
}
