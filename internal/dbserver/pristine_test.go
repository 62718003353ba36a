package dbserver

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"
)

// Many callers at once build a cached folder once, and all see it finished.
func TestCachedBuildsOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache", "thing")
	var built atomic.Int32
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			got, err := cached(t.Context(), path, func(temp string, _ *os.File) error {
				built.Add(1)
				return errors.Join(os.Mkdir(temp, 0o755), os.WriteFile(filepath.Join(temp, "f"), nil, 0o644))
			})
			if err != nil {
				return err
			}
			_, err = os.Stat(filepath.Join(got, "f"))
			return err
		})
	}
	if err := g.Wait(); err != nil || built.Load() != 1 {
		t.Errorf("built %d times, %v; want once", built.Load(), err)
	}
}

// A build that fails leaves nothing, and the next one begins anew.
func TestCachedForgetsAFailedBuild(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "thing")
	broken := errors.New("broken")
	_, err := cached(t.Context(), path, func(temp string, _ *os.File) error {
		return errors.Join(os.Mkdir(temp, 0o755), broken)
	})
	if !errors.Is(err, broken) {
		t.Errorf("error = %v; want %v", err, broken)
	}
	if _, err := cached(t.Context(), path, func(temp string, _ *os.File) error { return os.Mkdir(temp, 0o755) }); err != nil {
		t.Error(err)
	}
}
