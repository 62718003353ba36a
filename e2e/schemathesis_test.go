package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// A program that knows nothing but the OpenAPI document tries the binary: what the document says, and what it does not. After
// what it has paused and stopped was resumed, events flow as before.
func TestSchemathesis(t *testing.T) {
	t.Parallel()
	program := os.Getenv("ROWHOOK_SCHEMATHESIS")
	if program == "" {
		t.Fatal("ROWHOOK_SCHEMATHESIS does not name the program; make test installs it")
	}
	s := newSite(t, dbservertest.Get(t, dbserver.MariaDB), endpoint{name: "orders", kinds: []string{"probe.*"}})
	s.attach()
	key := askFor[api.KeyWithSecret](s, "key", "create", "--name", "schemathesis", "--scope", "admin").Secret
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, "run", "http://"+s.daemon.address()+"/openapi.json", "--header", "Authorization: Bearer "+key,
		// It would delete its own key, and wait for the end of a stream that has none.
		"--exclude-operation-id", "delete-key", "--exclude-operation-id", "tail-events",
		"--checks", "all", "--exclude-checks", "positive_data_acceptance", "--phases", "examples,coverage,fuzzing", "--max-examples", "4",
		"--workers", "1", "--seed", "20261122", "--generation-database", "none", "--request-timeout", "30", "--suppress-health-check", "all",
		"--no-color", "--max-failures", "10")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+filepath.Join(dir, "cache"))
	out, err := cmd.CombinedOutput()
	if err != nil || !regexp.MustCompile(`[0-9]{3,} generated, [0-9]{3,} passed`).Match(out) || strings.Contains(string(out), "Rate limited") {
		t.Errorf("%v\n%s", err, out)
	}
	if strings.Contains(s.daemon.stderr.String(), "a request panicked") {
		t.Error("a request panicked; the log says which")
	}
	s.resume(key)
	s.heard()
	if code := s.daemon.stop(); code != 0 {
		t.Errorf("ended with code %d", code)
	}
}

// resume undoes whatever holds back events.
func (s *site) resume(key string) {
	s.t.Helper()
	c, err := api.NewClient(api.ClientOptions{Server: "http://" + s.daemon.address(), Key: key})
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	ctx := s.t.Context()
	must := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	source, err := c.Source(ctx, "shop")
	must(err)
	if source.State == "stopped" {
		_, err = c.StartSource(ctx, "shop")
		must(err)
	}
	for _, e := range s.endpoints {
		_, err := c.ResumeEndpoint(ctx, e.name)
		must(err)
	}
	_, err = c.ResumeEndpoint(ctx, probe)
	must(err)
	for l := (api.List{Limit: 200}); ; {
		subs, err := c.ListSubscriptions(ctx, "", l)
		must(err)
		for _, sub := range subs.Items {
			if sub.Paused {
				_, err := c.ResumeSubscription(ctx, sub.ID)
				must(err)
			}
		}
		if l.Cursor = subs.NextCursor; l.Cursor == "" {
			return
		}
	}
}
