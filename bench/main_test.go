package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rowhook-bench-test-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	buildDir = dir
	code := dbservertest.Run(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// buildDir is where the binary is built; set once before the tests.
var buildDir string

// build builds rowhook once for all tests.
var build = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(buildDir, "rowhook")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/rowhook/rowhook/cmd/rowhook").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building rowhook: %w\n%s", err, out)
	}
	return binary, nil
})
