package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
	"github.com/rowhook/rowhook/webhook"
)

// officialGo verifies with the official Go library: one of the secrets must do.
func officialGo(t *testing.T, secrets ...webhook.Secret) func(http.Header, []byte) error {
	t.Helper()
	var all []*standardwebhooks.Webhook
	for _, s := range secrets {
		official, err := standardwebhooks.NewWebhook(s.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, official)
	}
	return func(header http.Header, body []byte) (err error) {
		for _, official := range all {
			if err = official.Verify(body, header); err == nil {
				return nil
			}
		}
		return fmt.Errorf("the official Go library: %w", err)
	}
}

// The official libraries accept real deliveries: the Go one sees each delivery of every test (see newSite), the one for Node is a
// receiver of its own here.
func TestOfficialVerifiers(t *testing.T) {
	t.Parallel()
	s := newSite(t, dbservertest.Get(t, dbserver.MySQL), endpoint{name: "go", kinds: []string{kindItem}})
	node := startNode(t, s.secret)
	s.endpoints = append(s.endpoints, endpoint{name: "node", kinds: []string{kindItem, kindOrder}, url: node.url})
	s.attach()
	s.load.rate = 500
	s.load.start(t)
	s.changes(300)
	s.finish()
	s.drained(drainTime, "go")
	wanted := len(s.load.book.wanted(kindItem, kindOrder))
	eventually(t, 30*time.Second, fmt.Sprintf("%d deliveries to Node", wanted), func() bool { return node.counts(t).Verified >= wanted })
	s.judge("go")
	if c := node.counts(t); c.Verified != wanted || c.Refused != 0 || wanted < 100 {
		t.Errorf("Node verified %d of %d deliveries and refused %d: %s", c.Verified, wanted, c.Refused, c.Reason)
	}
	if n := s.official.Load(); n < 100 {
		t.Errorf("the official Go library verified %d deliveries only", n)
	}
}

// nodeReceiver is a receiver in another process and another language.
type nodeReceiver struct{ url string }

type nodeCounts struct {
	Verified, Refused int
	Reason            string
}

// startNode runs the receiver of testdata/node; it ends with the test.
func startNode(t *testing.T, secret webhook.Secret) nodeReceiver {
	t.Helper()
	cmd := exec.Command("node", filepath.Join("testdata", "node", "receiver.mjs"), nodeModules(t))
	cmd.Env = append(os.Environ(), "SECRET="+secret.Reveal())
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting the receiver on Node: %v", err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the receiver on Node: %v", err)
		}
	})
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("reading the port of the receiver on Node: %v", err)
	}
	return nodeReceiver{url: "http://127.0.0.1:" + strings.TrimSpace(port) + "/node"}
}

// counts asks the receiver what it has seen.
func (n nodeReceiver) counts(t *testing.T) nodeCounts {
	t.Helper()
	resp, err := http.Get(n.url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var c nodeCounts
	if err := json.NewDecoder(resp.Body).Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

// nodeModules is a folder in the cache with the official library, installed as the lock file says if it is not there yet.
func nodeModules(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is missing, which runs the official verifier: apt-get install nodejs npm", program)
		}
	}
	cache := os.Getenv("ROWHOOK_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(user, "rowhook")
	}
	dir := filepath.Join(cache, "node-standardwebhooks-1.1.1")
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.MkdirTemp(cache, "node-*") //nolint:usetesting // it becomes the cache by a rename
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", "node", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(fresh, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--prefix", fresh, "--ignore-scripts", "--no-audit", "--no-fund")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("installing the official verifier for Node: %v\n%s", err, out)
	}
	// Another process may have been faster.
	if err := os.Rename(fresh, dir); err != nil && !isDir(dir) {
		t.Fatal(err)
	}
	return dir
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
