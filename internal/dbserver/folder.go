package dbserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// folderPrefix begins the name of every server's folder, so that orphans can be told from other files.
const folderPrefix = "rowhook-db-"

// lockFile is the file in a server's folder that its owner keeps locked. The kernel frees the lock when
// the owner dies, however it dies, so a folder whose lock is free belongs to nobody.
const lockFile = "owner.lock"

// folder is one server's own folder.
type folder struct {
	path string
	lock *os.File
}

// newFolder makes a locked folder inside parent (empty: the system's temporary folder), after removing
// the orphans it finds there.
func newFolder(ctx context.Context, parent string, kind Kind) (*folder, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	parent, err := filepath.Abs(parent)
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", parent, err)
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, fmt.Errorf("making the folder for servers: %w", err)
	}
	// Between making a folder and locking it, it would look like an orphan.
	dir, err := os.Open(parent)
	if err != nil {
		return nil, fmt.Errorf("opening the folder for servers: %w", err)
	}
	guard, err := lock(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer guard.Close()
	removeOrphans(parent)
	path, err := os.MkdirTemp(parent, folderPrefix+string(kind)+"-")
	if err != nil {
		return nil, fmt.Errorf("making the server's folder: %w", err)
	}
	own, err := lockPath(ctx, filepath.Join(path, lockFile))
	if err != nil {
		return nil, err
	}
	return &folder{path: path, lock: own}, nil
}

// remove deletes the folder and frees its lock. Doing it twice is fine.
func (f *folder) remove() error {
	defer f.lock.Close()
	if err := os.RemoveAll(f.path); err != nil {
		return fmt.Errorf("removing the server's folder: %w", err)
	}
	return nil
}

// removeOrphans deletes the servers' folders in parent whose owners have died. Their servers died with
// them. What cannot be deleted (it may be another user's) is left.
func removeOrphans(parent string) {
	found, _ := filepath.Glob(filepath.Join(parent, folderPrefix+"*"))
	for _, path := range found {
		f, err := os.OpenFile(filepath.Join(path, lockFile), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.RemoveAll(path)
		}
		f.Close()
	}
}

// lockPath locks the file at path, making it if needed.
func lockPath(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening a lock: %w", err)
	}
	return lock(ctx, f)
}

// lock locks f against other processes and other callers in this one. Closing f frees the lock; it is
// closed here when it cannot be had.
func lock(ctx context.Context, f *os.File) (*os.File, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("waiting for the lock %s: %w", f.Name(), ctx.Err())
		case <-tick.C:
		}
	}
}

// copyTree copies a folder, sharing blocks where the file system can and leaving runs of zeros out.
func copyTree(ctx context.Context, from, to string) error {
	cp := exec.CommandContext(ctx, "cp", "-a", "--reflink=auto", "--sparse=always", "--", from, to)
	if out, err := cp.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
