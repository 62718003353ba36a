package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
	"github.com/rowhook/rowhook/webhook"
)

// follow runs a command that goes on until it is interrupted, and returns its lines.
func (s *site) follow(args ...string) <-chan string {
	s.t.Helper()
	cmd := exec.Command(binary(s.t), append(args, "--config", filepath.Join(s.dir, "rowhook.yaml"))...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	var stderr tail
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			lines <- sc.Text()
		}
	}()
	s.t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			s.t.Errorf("rowhook %v ended by itself: %v\n%s", args, err, stderr.String())
		}
		for range lines { // until its end
		}
		if err := cmd.Wait(); err != nil {
			s.t.Errorf("rowhook %v: %v\n%s", args, err, stderr.String())
		}
	})
	return lines
}

// line commits until the command prints something.
func (s *site) line(lines <-chan string) string {
	s.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case text, ok := <-lines:
			if !ok {
				s.t.Fatal("the command has ended")
			}
			return text
		case <-tick.C:
			if _, err := s.db.ExecContext(s.t.Context(), "INSERT INTO probe () VALUES ()"); err != nil {
				s.t.Fatal(err)
			}
		case <-deadline:
			s.t.Fatal("the command printed nothing")
		}
	}
}

// What a developer looks at: tail, listen, trigger, an event by its id; and a process that is restarted under them.
func TestTailListenTrigger(t *testing.T) {
	t.Parallel()
	s := newSite(t, dbservertest.Get(t, dbserver.MariaDB))
	s.attach()
	events := s.follow("tail", "--format", "json", "--type", "probe.*")
	var first struct {
		ID, Type string
		Seq      uint64
	}
	if err := json.Unmarshal([]byte(s.line(events)), &first); err != nil || first.Type != probeKind {
		t.Fatalf("tail printed %+v, %v", first, err)
	}
	if text := s.line(s.follow("tail")); !strings.Contains(text, probeKind) || !strings.Contains(text, "insert") {
		t.Errorf("tail printed %q", text)
	}

	secret := webhook.NewSecret()
	got := make(chan error, 1000)
	local := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = webhook.Verify([]webhook.Secret{secret}, r.Header, body)
		}
		got <- err
		w.WriteHeader(http.StatusTeapot)
	}))
	t.Cleanup(local.Close)
	if text := s.line(s.follow("listen", "--forward-to", local.URL, "--secret-file", s.secretFile(secret))); !strings.Contains(text, "418") {
		t.Errorf("listen printed %q", text)
	}
	if err := <-got; err != nil {
		t.Errorf("what listen forwards: %v", err)
	}

	var done struct {
		Type, Answer string
	}
	if text := s.line(s.follow("listen", "--json", "--forward-to", local.URL)); json.Unmarshal([]byte(text), &done) != nil || done.Type != probeKind || !strings.HasPrefix(done.Answer, "418") {
		t.Errorf("listen --json printed %q", text)
	}

	if e := askFor[api.Event](s, "event", "show", first.ID); e.Seq != first.Seq || len(e.Attempts) == 0 || len(e.Payload) == 0 {
		t.Errorf("event show: %+v", e)
	}
	if res := askFor[[]api.TriggerResult](s, "trigger", probeKind); len(res) != 1 || res[0].Endpoint != probe || res[0].Outcome != "ok" {
		t.Errorf("trigger came to %+v", res)
	}
	if res := s.tryAsk("trigger", "no.such"); res.code != exitRefused || !strings.Contains(res.stderr, "not_found") {
		t.Errorf("trigger of an unknown type: code %d\n%s", res.code, res.stderr)
	}

	// A tail outlives the process: every seq comes once, none is missing.
	s.kill()
	s.start()
	s.heard()
	last := first.Seq
	for range 3 {
		var next struct{ Seq uint64 }
		if err := json.Unmarshal([]byte(s.line(events)), &next); err != nil {
			t.Fatal(err)
		}
		if next.Seq != last+1 {
			t.Errorf("seq %d came after %d", next.Seq, last)
		}
		last = next.Seq
	}
}

// Another machine's commands need a key, and a tenant's key sees nothing of others.
func TestServerAndKey(t *testing.T) {
	t.Parallel()
	s := newSite(t, dbservertest.Get(t, dbserver.MariaDB))
	s.attach()
	at := "http://" + s.daemon.address()
	key := func(args ...string) string {
		return askFor[struct {
			Key string `json:"key"`
		}](s, append([]string{"key", "create", "--name", "a test"}, args...)...).Key
	}
	run := func(key string, args ...string) result {
		return runWith(t, []string{"ROWHOOK_API_KEY=" + key, "ROWHOOK_SERVER=" + at}, append(args, "--json")...)
	}
	admin, reader, tenant := key("--scope", "admin"), key(), key("--scope", "manage", "--tenant", "acme")
	for name, c := range map[string]struct {
		result
		code int
		says string
	}{
		"admin":             {run(admin, "status"), 0, `"sources"`},
		"reader":            {run(reader, "endpoint", "list"), 0, probe},
		"reader changes":    {run(reader, "endpoint", "pause", probe), exitRefused, "manage"},
		"tenant lists":      {run(tenant, "endpoint", "list"), 0, "[]"},
		"tenant looks":      {run(tenant, "endpoint", "show", probe), exitRefused, "not_found"},
		"unknown key":       {run("rhk_0000000000_"+strings.Repeat("0", 32), "status"), exitRefused, "unauthorized"},
		"no key":            {run("", "status"), exitUsage, "needs a key"},
		"in clear":          {runWith(t, []string{"ROWHOOK_API_KEY=" + admin}, "status", "--server", "http://192.0.2.1:8500"), exitUsage, "without TLS"},
		"nobody":            {runWith(t, []string{"ROWHOOK_API_KEY=" + admin}, "status", "--server", "http://127.0.0.1:1"), exitAway, "unreachable"},
		"socket before env": {runWith(t, []string{"ROWHOOK_SERVER=http://127.0.0.1:1", "ROWHOOK_API_KEY=" + admin}, "status", "--socket", filepath.Join(s.data, "rowhook.sock")), 0, "rowhook"},
	} {
		if c.result.code != c.code || !strings.Contains(c.stdout+c.stderr, c.says) || strings.Contains(c.stdout+c.stderr, admin) {
			t.Errorf("%s: code %d, want %d and %q in\n%s%s", name, c.result.code, c.code, c.says, c.stdout, c.stderr)
		}
	}
}

// A restored process goes on where the backup was made: nothing is missing, and what comes again has its first id.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	s := newSite(t, dbservertest.Get(t, dbserver.MySQL), usualEndpoints()...)
	s.attach()
	s.load.start(t)
	s.changes(500)
	archive := filepath.Join(t.TempDir(), "rowhook.tar")
	s.ask("backup", archive)
	s.changes(500)
	if res := s.tryAsk("backup", archive); res.code != exitUsage || !strings.Contains(res.stderr, "is there already") {
		t.Errorf("a backup over another: code %d\n%s", res.code, res.stderr)
	}
	s.kill()
	config := filepath.Join(s.dir, "rowhook.yaml")
	if res := runToEnd(t, "restore", archive, "--config", config); res.code != exitData || !strings.Contains(res.stderr, "not empty") {
		t.Errorf("a restore over a folder: code %d\n%s", res.code, res.stderr)
	}
	key, err := os.ReadFile(filepath.Join(s.data, "rowhook.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.data, s.data+".old"); err != nil {
		t.Fatal(err)
	}
	s.cutShort(archive, config)
	if res := runToEnd(t, "restore", archive, "--config", config); res.code != 0 {
		t.Fatalf("restore: code %d\n%s", res.code, res.stderr)
	}
	if err := os.WriteFile(filepath.Join(s.data, "rowhook.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.heard()
	s.finish()
	s.drained(drainTime)
	if code := s.daemon.stop(); code != 0 {
		t.Errorf("ended with code %d", code)
	}
	s.complete()
}

// cutShort holds that an archive of which the end is missing is refused, and leaves nothing.
func (s *site) cutShort(archive, config string) {
	s.t.Helper()
	whole, err := os.ReadFile(archive)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, size := range []int{0, 1000, len(whole) / 2, len(whole) - 4096} {
		path := filepath.Join(s.t.TempDir(), "cut.tar")
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			s.t.Fatal(err)
		}
		if res := runToEnd(s.t, "restore", path, "--config", config); res.code != exitData || !strings.Contains(res.stderr, "backup:") {
			s.t.Errorf("an archive cut at %d of %d: code %d\n%s", size, len(whole), res.code, res.stderr)
		}
		if _, err := os.Stat(s.data); !os.IsNotExist(err) {
			s.t.Errorf("a restore that failed left a folder: %v", err)
		}
	}
}

// complete holds that every endpoint got every event, and each with one id however often it came.
func (s *site) complete() {
	s.t.Helper()
	deliveries, _ := s.receiver.Snapshot()
	for _, e := range s.endpoints {
		ids := map[event]string{}
		for _, d := range deliveries {
			if d.Path != "/"+e.name {
				continue
			}
			if id, ok := ids[eventOf(d)]; ok && id != d.ID {
				s.t.Errorf("%v came as %s and as %s", eventOf(d), id, d.ID)
			}
			ids[eventOf(d)] = d.ID
		}
		wanted := s.load.book.wanted(e.kinds...)
		if len(ids) != len(wanted) {
			s.t.Errorf("endpoint %s has %d events of %d", e.name, len(ids), len(wanted))
		}
	}
}

// Two servers in one process: each has its log, one stops alone, and the other goes on.
func TestSeveralSources(t *testing.T) {
	t.Parallel()
	s := newSite(t, dbservertest.Get(t, dbserver.MariaDB))
	// Its binlog is thrown away later: it is this test's own.
	other := newSite(t, dbservertest.Start(t, dbserver.Options{Kind: dbserver.MySQL}))
	s.write()
	text := strings.Replace(s.yaml(), "types: [types.yaml]\n", "  - name: depot\n    dsn: "+other.dsn()+"\n    tables: ["+other.database+".probe]\ntypes: [types.yaml, depot.yaml]\n", 1)
	text = strings.Replace(text, "types: [probe.written]", "types: [probe.written, depot.written]", 1)
	for name, content := range map[string]string{
		"rowhook.yaml": text,
		"depot.yaml":   "types:\n  depot.written:\n    table: " + other.database + ".probe\n    on: [insert]\n    data: [id]\n",
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	s.heard()
	depot := func() (n int) {
		deliveries, _ := s.receiver.Snapshot()
		for _, d := range deliveries {
			if d.Type == "depot.written" {
				n++
			}
		}
		return n
	}
	insert := func() {
		if _, err := other.db.ExecContext(t.Context(), "INSERT INTO probe () VALUES ()"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 20*time.Second, "events of the second source", func() bool { insert(); return depot() > 0 })

	if st := askFor[api.Source](s, "source", "stop", "depot"); st.State != "stopped" {
		t.Errorf("the source is %s", st.State)
	}
	s.heard() // the first goes on
	insert()
	before := depot()
	s.heard()
	if got := depot(); got != before {
		t.Errorf("%d events of a stopped source", got-before)
	}
	s.ask("source", "start", "depot")
	eventually(t, 20*time.Second, "what committed while the source was stopped", func() bool { return depot() > before })

	// A source that cannot be followed any more stops alone, and says why.
	s.ask("source", "stop", "depot")
	if _, err := other.db.ExecContext(t.Context(), "RESET BINARY LOGS AND GTIDS"); err != nil {
		t.Fatal(err)
	}
	s.ask("source", "start", "depot")
	eventually(t, 20*time.Second, "the source to stop", func() bool { return askFor[api.Source](s, "source", "show", "depot").State == "stopped" })
	if st := askFor[api.Source](s, "source", "show", "depot"); st.Error == nil || st.Error.Hint == "" {
		t.Errorf("a stopped source says %+v", st.Error)
	}
	s.heard()
	if code := s.daemon.stop(); code != 0 {
		t.Errorf("ended with code %d", code)
	}
}
