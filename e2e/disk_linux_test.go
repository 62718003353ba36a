package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// The disk of the data folder fills up under load: Rowhook says so, goes on when there is room again, and nothing is lost, made up or
// repeated.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	s := newSite(t, dbservertest.Get(t, dbserver.MariaDB), usualEndpoints()...)
	mountSmall(t, s.data, "96m")
	s.attach()
	s.load.rate = 1000
	s.load.start(t)
	s.changes(500)

	filler := filepath.Join(s.data, "filler")
	fill(t, filler, 0)
	s.changes(3000) // more than fits in what blocks the server had reserved
	eventually(t, 30*time.Second, "a complaint about the full disk", func() bool {
		said := strings.ToLower(s.daemon.stderr.String())
		return strings.Contains(said, "no space left")
	})
	ended := !s.daemon.running()
	if ended && s.daemon.exit(0) != exitData {
		t.Errorf("rowhook ended with code %d, want %d, or that it waits", s.daemon.exit(0), exitData)
	}
	s.changes(500)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if ended {
		s.start()
	}
	s.changes(500)
	s.finish()
	s.drained(drainTime)
	s.judge()
}

// A start on a full disk is refused, and works again when there is room; so does a crash while the disk is full.
func TestCrashOnFullDisk(t *testing.T) {
	t.Parallel()
	s := newSite(t, dbservertest.Get(t, dbserver.MySQL), usualEndpoints()...)
	mountSmall(t, s.data, "96m")
	s.attach()
	s.load.rate = 500
	s.load.start(t)
	s.changes(300)
	filler := filepath.Join(s.data, "filler")
	fill(t, filler, 0)
	// From here on no result can be recorded: what was accepted since the last checkpoint comes again, however much later the
	// process is killed.
	s.crashes = append(s.crashes, time.Now())
	s.changes(500)
	if s.daemon.running() {
		s.kill()
	}
	s.changes(100)
	s.refused("serve", exitData, s.data)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.finish()
	s.drained(drainTime)
	s.judge()
}

// mountSmall mounts a small disk at a new folder.
func mountSmall(t *testing.T, dir, size string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("rowhook-e2e", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mounting a disk that can be filled: %v; this test must run as root", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// fill writes a file until its disk has no more than spare bytes left.
func fill(t *testing.T, path string, spare int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var disk syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &disk); err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 4096)
	for free := int64(disk.Bavail) * disk.Bsize; free > spare; free -= int64(len(block)) {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
