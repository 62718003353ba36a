package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run gives the binary a folder and runs the tests.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rowhook-e2e-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	buildDir = dir
	return dbservertest.Run(m)
}

// buildDir is where the binary is built; set once before the tests.
var buildDir string

// build builds rowhook once for all tests.
var build = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(buildDir, "rowhook")
	args := []string{"build", "-o", binary}
	if os.Getenv("ROWHOOK_RACE") != "" {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "github.com/rowhook/rowhook/cmd/rowhook")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("building rowhook: %w\n%s", err, out)
	}
	return binary, nil
})

// binary is the path of the built rowhook.
func binary(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// seed is where a test's randomness comes from; it is printed when the test fails.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := rand.Uint64()
	if text := os.Getenv("ROWHOOK_SEED"); text != "" {
		var err error
		if s, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("ROWHOOK_SEED: %v", err)
		}
	}
	t.Logf("ROWHOOK_SEED=%d", s)
	return s
}

// number reads a number from the environment.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
