package eventlog

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Errors to branch on with errors.Is.
var (
	// ErrFenced says that another writer has taken the place of this one, for good.
	ErrFenced = errors.New("another writer has taken over this log")
	// ErrDiskFull says that the block is not in the log for want of space; the same block may be appended again.
	ErrDiskFull = errors.New("no space left for the log")
	// ErrCorrupt is the kind of every CorruptError.
	ErrCorrupt = errors.New("the log is damaged")
	// ErrExpired is the kind of every ExpiredError.
	ErrExpired = errors.New("no longer in the log")
	// ErrWrongLog says that the log is not the one that was expected.
	ErrWrongLog = errors.New("the log is not the one the store belongs to")
	// ErrLocked is the kind of every LockedError.
	ErrLocked = errors.New("the folder is in use")
	// ErrClosed is returned after Server.Close.
	ErrClosed = errors.New("the log is closed")
)

// CorruptError says where a log is damaged.
type CorruptError struct {
	Source string
	// StreamSeq is the sequence of the message in the log; 0 if it is not known.
	StreamSeq uint64
	Reason    string
}

func (e *CorruptError) Error() string {
	where := ""
	if e.StreamSeq > 0 {
		where = fmt.Sprintf(" at stream sequence %d", e.StreamSeq)
	}
	return fmt.Sprintf("log of source %s is damaged%s: %s; move the log's folder away and capture again from "+
		"the last good position, the binlog still has the changes and their ids stay the same", e.Source, where, e.Reason)
}

// Is reports whether target is ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// ExpiredError says that changes are older than the retention of the log.
type ExpiredError struct {
	Source string
	// Wanted is the seq that was asked for; First is the first one that can still be read.
	Wanted, First uint64
}

func (e *ExpiredError) Error() string {
	return fmt.Sprintf("log of source %s: seq %d has expired, the first one still there is %d", e.Source, e.Wanted, e.First)
}

// Is reports whether target is ErrExpired.
func (e *ExpiredError) Is(target error) bool { return target == ErrExpired }

// LockedError says which process has the folder open.
type LockedError struct {
	Dir string
	// PID of the other process, 0 if it did not say.
	PID int
}

func (e *LockedError) Error() string {
	who := "another process"
	if e.PID > 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("log folder %s is in use by %s; stop it, or give this one a folder of its own", e.Dir, who)
}

// Is reports whether target is ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// withErrno gives an error that came as text through the server's API the number that it had.
func withErrno(err error) error {
	for _, no := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if strings.Contains(err.Error(), no.Error()) {
			return fmt.Errorf("%w (%w)", err, no)
		}
	}
	return err
}

// diskError turns what the server met while writing into what a caller can act on.
func diskError(dir string, cause error) error {
	var no syscall.Errno
	if errors.As(cause, &no) && (no == syscall.ENOSPC || no == syscall.EDQUOT || no == syscall.EFBIG) {
		return fmt.Errorf("%w: free some space on the disk of %s, nothing is lost meanwhile: %w", ErrDiskFull, dir, cause)
	}
	return fmt.Errorf("log folder %s: %w", dir, cause)
}
