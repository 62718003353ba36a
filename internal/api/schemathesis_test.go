package api

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
)

// TestSchemathesis lets a program that knows nothing but the OpenAPI document try what it says, and what it does not.
func TestSchemathesis(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend.once = true
	w.backend.master = "rhk_master"
	key := "Authorization: Bearer " + w.backend.master
	var mu sync.Mutex
	seen := map[int]int{} // of requests with the key
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		a := &answer{ResponseWriter: rw, control: http.NewResponseController(rw)}
		w.server.Handler(false).ServeHTTP(a, r)
		if "Authorization: "+r.Header.Get("Authorization") == key {
			mu.Lock()
			defer mu.Unlock()
			seen[a.status]++
		}
	}))
	t.Cleanup(srv.Close)
	schemathesis(t, srv.URL, key)
	mu.Lock()
	defer mu.Unlock()
	if seen[http.StatusOK] < 100 || seen[http.StatusTooManyRequests]+seen[http.StatusUnauthorized] > 0 {
		t.Errorf("the key does not get in: %v", seen)
	}
}

// schemathesis runs it with a header that authenticates.
func schemathesis(t *testing.T, url, header string) {
	t.Helper()
	program := os.Getenv("ROWHOOK_SCHEMATHESIS")
	if program == "" {
		t.Fatal("ROWHOOK_SCHEMATHESIS does not name the program; make test installs it")
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, "run", url+"/openapi.json", "--header", header,
		"--checks", "all", "--exclude-checks", "positive_data_acceptance", "--phases", "examples,coverage,fuzzing", "--max-examples", "8", "--workers", "1",
		"--seed", "20261122", "--generation-database", "none", "--request-timeout", "20", "--suppress-health-check", "all", "--no-color", "--max-failures", "10")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+filepath.Join(dir, "cache"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !regexp.MustCompile(`[0-9]{3,} generated, [0-9]{3,} passed`).Match(out) {
		t.Errorf("it tested nothing:\n%s", out)
	}
}
