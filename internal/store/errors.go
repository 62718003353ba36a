package store

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// The kinds of error that a caller may tell apart with errors.Is.
var (
	// ErrLocked: another process holds the store's folder; the error is a *LockedError.
	ErrLocked = errors.New("store is in use")
	// ErrMismatch: the store and the log do not belong together.
	ErrMismatch = errors.New("store and log do not belong together")
	// ErrFull: the disk is full. Nothing of the write was kept; it may be tried again.
	ErrFull = errors.New("no space left for the store")
	// ErrNotWritable: the folder or the database cannot be written.
	ErrNotWritable = errors.New("store is not writable")
	// ErrBusy: another program held the database's own lock for too long. The write may be tried again.
	ErrBusy = errors.New("store's database is locked by another program")
	// ErrCorrupt: the database is damaged, or is none.
	ErrCorrupt = errors.New("store's database is damaged")
	// ErrNewer: a newer release has written the store.
	ErrNewer = errors.New("store was written by a newer release")
)

// Error is an error of the store that an operator can do something about.
type Error struct {
	// Kind is one of the sentinels of this package.
	Kind error
	// Path of the file or folder.
	Path string
	// Hint is what to do next.
	Hint string
	// Err is the cause; it may be nil.
	Err error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s: %v: %s", e.Path, e.Kind, e.Hint)
	}
	return fmt.Sprintf("%s: %v (%v): %s", e.Path, e.Kind, e.Err, e.Hint)
}

// Unwrap gives the kind and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error { return []error{e.Kind, e.Err} }

// LockedError says which process holds the store's folder.
type LockedError struct {
	Dir string
	// PID of the holder, or 0 if it is not known.
	PID int
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s: %v: another process holds it; stop that one first, or give this one another folder", e.Dir, ErrLocked)
	}
	return fmt.Sprintf("%s: %v: process %d holds it; stop that one first (kill %d), or give this one another folder", e.Dir, ErrLocked, e.PID, e.PID)
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// classify turns a file system or SQLite error into an *Error if an operator can do something about it.
func classify(path string, err error) error {
	var known *Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	var hint string
	kind := kindOf(err)
	switch kind {
	case nil:
		return err
	case ErrFull:
		hint = "free space on that disk, or shorten the retention of attempts; what was not written is tried again"
	case ErrNotWritable:
		hint = "let the user that Rowhook runs as write there (chown, chmod, a disk mounted read-write), or name another folder"
	case ErrBusy:
		hint = "close the program that has the file open; ask Rowhook itself instead of its files"
	case ErrCorrupt:
		hint = "stop Rowhook and put back a copy of the whole folder, or move it away to begin with an empty store"
	}
	return &Error{Kind: kind, Path: path, Hint: hint, Err: err}
}

func kindOf(err error) error {
	var found *damage
	if errors.As(err, &found) {
		return ErrCorrupt
	}
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_FULL:
			return ErrFull
		case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
			return ErrNotWritable
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			return ErrBusy
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return ErrCorrupt
		}
		return nil
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return ErrFull
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return ErrNotWritable
	}
	return nil
}

// damage is what the check at the start found.
type damage struct {
	table, verdict string
}

func (d *damage) Error() string { return fmt.Sprintf("table %s: %s", d.table, d.verdict) }
