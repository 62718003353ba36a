package eventlog

import (
	"context"
	"fmt"
	"time"
)

const (
	// startPatience is how long the server may go without having recovered one more segment, beside the time that the slowest disk
	// needs to read all files; patienceBytes are read in a second there.
	startPatience = 5 * time.Minute
	patienceBytes = 32 << 20
	// progressEvery is the time between two lines in the log while it is recovered.
	progressEvery = 5 * time.Second
)

// RecoveryError says that the server does not come to the end of reading the log.
type RecoveryError struct {
	Dir string
	// After is how long it made no progress, of Took in all.
	After, Took time.Duration
}

func (e *RecoveryError) Error() string {
	return fmt.Sprintf("the log in %s is damaged: its recovery has taken %v, the last %v without progress; end this process, which still "+
		"reads it, move the log's folder away and capture again from the last good position, the binlog still has the changes and "+
		"their ids stay the same", e.Dir, e.Took.Round(time.Second), e.After.Round(time.Second))
}

// Is reports whether target is ErrCorrupt.
func (e *RecoveryError) Is(target error) bool { return target == ErrCorrupt }

// boot starts the server, which recovers the log before Start returns. Some damage makes it search for ever, and there is no way
// to stop it: when ctx is done first, or patience runs out, boot returns the reason and leaves the server at it; started is closed
// if it ever comes to an end.
func (e *engine) boot(ctx context.Context, o Options) error {
	e.started = make(chan struct{})
	go func() {
		defer close(e.started)
		e.srv.Start()
	}()
	begun := time.Now()
	patience := o.startPatience + time.Duration(logBytes(o.Dir)/patienceBytes)*time.Second
	tick := time.NewTicker(min(progressEvery, o.startPatience))
	defer tick.Stop()
	for seen, since := e.log.recovered.Load(), begun; ; {
		select {
		case <-e.started:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("recover the log in %s: given up after %v: %w", o.Dir, time.Since(begun).Round(time.Millisecond), ctx.Err())
		case <-tick.C:
		}
		if n := e.log.recovered.Load(); n != seen {
			seen, since = n, time.Now()
		}
		o.Log.Info("recovering the log", "folder", o.Dir, "segments", seen, "after", time.Since(begun).Round(time.Second))
		if idle := time.Since(since); idle > patience {
			return &RecoveryError{Dir: o.Dir, After: idle, Took: time.Since(begun)}
		}
	}
}

// bury waits for an abandoned server's end, if there is one, and gives back what it holds: until then no other may use its folder.
func (e *engine) bury(release func()) {
	<-e.started
	e.stop(context.Background())
	release()
}
