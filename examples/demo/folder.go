package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// folderPrefix begins the name of the demo's folders, so that those of a demo that was killed can be found.
const folderPrefix = "rowhook-demo-"

// folder is the temporary folder that everything is in. The kernel frees its lock when the process ends, however it ends.
type folder struct {
	path string
	lock *os.File
}

// newFolder makes a folder in parent, and removes those that killed demos left there.
func newFolder(parent string) (*folder, error) {
	parent, err := filepath.Abs(parent)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", parent, err)
	}
	removeOrphans(parent)
	path, err := os.MkdirTemp(parent, folderPrefix)
	if err != nil {
		return nil, fmt.Errorf("make the demo's folder: %w", err)
	}
	lock, err := os.Create(path + "/lock")
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the demo's folder: %w", err), os.RemoveAll(path))
	}
	return &folder{path: path, lock: lock}, nil
}

// removeOrphans passes over what another user's demo left, and over a folder that is being made: its lock is not there yet.
func removeOrphans(parent string) {
	locks, _ := filepath.Glob(filepath.Join(parent, folderPrefix+"*", "lock"))
	for _, name := range locks {
		lock, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.RemoveAll(filepath.Dir(name))
		}
		lock.Close()
	}
}

// join is a path in the folder.
func (f *folder) join(name string) string { return filepath.Join(f.path, name) }

// remove deletes the folder with all that is in it.
func (f *folder) remove() error {
	defer f.lock.Close()
	if err := os.RemoveAll(f.path); err != nil {
		return fmt.Errorf("remove the demo's folder: %w", err)
	}
	return nil
}
