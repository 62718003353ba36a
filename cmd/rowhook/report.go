package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/app"
	"github.com/rowhook/rowhook/internal/capture"
	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/eventlog"
	"github.com/rowhook/rowhook/internal/store"
)

// Exit codes. They are part of the command's contract.
const (
	exitOK       = 0
	exitFailure  = 1
	exitUsage    = 2
	exitFindings = 3
	exitSource   = 4
	exitInUse    = 5
	exitData     = 6
	exitListen   = 7
	exitRefused  = 8
	exitAway     = 9
)

const exitCodesHelp = `Exit codes:
  0  done, or stopped by a signal
  1  something unexpected
  2  a mistake on the command line, in the configuration or in an event type
  3  rowhook check has found errors
  4  a source cannot be followed any further
  5  another process has the data folder
  6  the data folder, the log or the store cannot be used
  7  the HTTP address or the socket cannot be listened on
  8  the running process refused what it was asked
  9  no process answers, here or at --server`

// failure is an error as people get it.
type failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	exit    int
}

// report prints the error and returns the exit code.
func report(w io.Writer, err error, asJSON bool) int {
	f := explain(err)
	if asJSON {
		if printJSON(w, map[string]failure{"error": f}) != nil {
			return exitFailure
		}
		return f.exit
	}
	fmt.Fprintf(w, "rowhook: %s: %s\n", f.Code, f.Message)
	if f.Hint != "" {
		fmt.Fprintf(w, "  hint: %s\n", f.Hint)
	}
	return f.exit
}

// explain finds the words for an error. Errors that carry a hint of their own keep it.
func explain(err error) failure {
	if f, ok := explainInput(err); ok {
		return f
	}
	if s, ok := errors.AsType[*capture.StopError](err); ok {
		return failure{s.Code, s.Text(), s.Hint, exitSource}
	}
	if l, ok := errors.AsType[*app.ListenError](err); ok {
		return failure{"listen", l.Error(), "free the address, or set another one at http.listen or http.socket", exitListen}
	}
	if f, ok := explainData(err); ok {
		return f
	}
	if f, ok := explainRemote(err); ok {
		return f
	}
	return failure{"failed", err.Error(), "", exitFailure}
}

func explainInput(err error) (failure, bool) {
	if u, ok := errors.AsType[*usageError](err); ok {
		return failure{"usage", u.Error(), "see " + u.command + " --help", exitUsage}, true
	}
	if c, ok := errors.AsType[config.Errors](err); ok {
		return failure{"config", c.Error(), "correct the file and try again: rowhook check", exitUsage}, true
	}
	if t, ok := errors.AsType[*app.TypesError](err); ok {
		return failure{"types", t.Error(), "correct the file and try again: rowhook check", exitUsage}, true
	}
	if f, ok := errors.AsType[*findingsError](err); ok {
		hint := "put right what is named above, then: rowhook check"
		if f.sql {
			hint = "run the SQL above, then: rowhook check"
		}
		return failure{"findings", f.Error(), hint, exitFindings}, true
	}
	if x, ok := errors.AsType[*existsError](err); ok {
		return failure{"exists", x.Error(), "move it away, or name another place", exitUsage}, true
	}
	if r, ok := errors.AsType[*reasonError](err); ok {
		return failure{r.reason.Code, r.reason.Message, r.reason.Hint, exitUsage}, true
	}
	return failure{}, false
}

// explainRemote is for what the running process said, or that there is none.
func explainRemote(err error) (failure, bool) {
	if p, ok := errors.AsType[*api.Problem](err); ok {
		text := p.Detail
		for _, f := range p.Fields {
			text += "\n  " + f.Location + ": " + f.Message
		}
		return failure{p.Code, text, p.Hint, exitRefused}, true
	}
	if errors.Is(err, api.ErrNotRunning) {
		return failure{"not_running", err.Error(), "start it with rowhook serve, or name its socket with --socket", exitAway}, true
	}
	if u, ok := errors.AsType[*api.UnreachableError](err); ok {
		return failure{"unreachable", u.Error(), "check --server, and that the process runs there", exitAway}, true
	}
	return failure{}, false
}

func explainData(err error) (failure, bool) {
	if s, ok := errors.AsType[*store.Error](err); ok {
		return failure{"store", s.Error(), s.Hint, exitData}, true
	}
	if b, ok := errors.AsType[*app.BackupError](err); ok {
		return failure{"backup", b.Error(), b.Hint, exitData}, true
	}
	if k, ok := errors.AsType[*app.KeyError](err); ok {
		return failure{"encryption_key", k.Error(), "put the key file back from where it is kept, or set encryption.keys", exitData}, true
	}
	switch {
	case errors.Is(err, store.ErrUnknownKey):
		return failure{"encryption_key", err.Error(), "add the key that it was encrypted with to encryption.keys, behind the new one", exitData}, true
	case errors.Is(err, eventlog.ErrLocked), errors.Is(err, store.ErrLocked):
		return failure{"in_use", err.Error(), "stop the other process, or set another data_dir", exitInUse}, true
	case isMismatch(err):
		return failure{"mismatch", err.Error(), "put back the folder that belongs here; or, to begin anew at the source's present position and forget what was pending, move the whole data_dir away", exitData}, true
	case errors.Is(err, eventlog.ErrFenced), errors.Is(err, deliver.ErrStale):
		return failure{"fenced", err.Error(), "another process has taken over; this one must stay stopped", exitInUse}, true
	case errors.Is(err, eventlog.ErrCorrupt):
		return failure{"log_damaged", err.Error(), "keep a copy of data_dir, then follow the recovery chapter of docs/operations.md", exitData}, true
	case errors.Is(err, eventlog.ErrDiskFull), errors.Is(err, syscall.ENOSPC):
		return failure{"disk_full", err.Error(), "free space on the disk of data_dir and start again; nothing is lost meanwhile", exitData}, true
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EROFS):
		return failure{"data_dir", err.Error(), "make data_dir a folder that this user may write to, or set another one", exitData}, true
	}
	return failure{}, false
}

func isMismatch(err error) bool {
	_, ok := errors.AsType[*app.MismatchError](err)
	return ok
}
