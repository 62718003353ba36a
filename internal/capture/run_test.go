package capture

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rowhook/rowhook/internal/change"
)

// scripted is a source whose connections do what the script says, one after the other; after that they stay silent.
type scripted struct {
	script []func(ctx context.Context, from change.Position, w *Writer) error
	runs   atomic.Int64
	began  []time.Time
}

func (s *scripted) Flavor(context.Context) (change.Flavor, error) { return change.MariaDB, nil }

func (s *scripted) Attach(context.Context, string) (change.Position, error) {
	return change.Position{File: "bin.1", Offset: 4}, nil
}

func (s *scripted) Follow(ctx context.Context, from change.Position, w *Writer) error {
	s.began = append(s.began, time.Now())
	n := int(s.runs.Add(1))
	if n > len(s.script) {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.script[n-1](ctx, from, w)
}

func lose(context.Context, change.Position, *Writer) error { return errConnection }

func capturing(source Source, log Log) *Capture {
	return New(Options{Source: "shop", Attach: "now", FirstSeq: 1, Log: slog.New(slog.DiscardHandler)}, source, log)
}

func TestLostConnectionsAreTriedAgainWithBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, log := &scripted{}, newLog()
		for range 20 {
			s.script = append(s.script, lose)
		}
		s.script = append(s.script, func(_ context.Context, from change.Position, w *Writer) error {
			return binlog{{{0, 3}}}.replay(from, w, func(int) bool { return true }, 1<<30)
		})
		c := capturing(s, log)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		time.Sleep(time.Hour)
		if n := s.runs.Load(); n < 22 {
			t.Errorf("%d connections in an hour", n)
		}
		if d := s.began[1].Sub(s.began[0]); d > 2*firstRetry {
			t.Errorf("the first retry came after %v", d)
		}
		for i := 1; i < len(s.began); i++ {
			if d := s.began[i].Sub(s.began[i-1]); d <= 0 || d > 2*lastRetry {
				t.Errorf("retry %d came after %v", i, d)
			}
		}
		if st := c.Status(); st.Retries < 21 || st.LastError == "" {
			t.Errorf("status %+v", st)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestStopErrorEndsRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		want := &StopError{Code: "incident", Message: "rows are missing"}
		s := &scripted{script: []func(context.Context, change.Position, *Writer) error{
			func(context.Context, change.Position, *Writer) error { return want },
		}}
		err := capturing(s, newLog()).Run(t.Context())
		if got, ok := errors.AsType[*StopError](err); !ok || got != want {
			t.Errorf("ended with %v", err)
		}
	})
}

type fenced struct{}

func (fenced) Error() string   { return "another writer" }
func (fenced) Permanent() bool { return true }

func TestFencedWriterEndsRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLog()
		s := &scripted{script: []func(context.Context, change.Position, *Writer) error{
			func(ctx context.Context, from change.Position, w *Writer) error {
				log.mu.Lock()
				log.fail = func() (error, bool) { return fenced{}, false }
				log.mu.Unlock()
				if err := (binlog{{{0, 3}}}).replay(from, w, func(int) bool { return true }, 1<<30); !errors.Is(err, errConnection) {
					return err
				}
				<-ctx.Done()
				return ctx.Err()
			},
		}}
		err := capturing(s, log).Run(t.Context())
		if _, ok := errors.AsType[fenced](err); !ok {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestFullDiskIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, began := newLog(), time.Now()
		log.fail = func() (error, bool) {
			if time.Since(began) < time.Minute {
				return errors.New("disk full"), false
			}
			return nil, false
		}
		c := capturing(&scripted{}, log)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		time.Sleep(2 * time.Minute)
		if log.len() == 0 {
			t.Error("nothing was appended once there was room again")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestSourceThatEndsWithoutAReasonIsFollowedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{script: []func(context.Context, change.Position, *Writer) error{
			func(context.Context, change.Position, *Writer) error { return nil },
		}}
		c := capturing(s, newLog())
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		time.Sleep(time.Minute)
		if s.runs.Load() != 2 {
			t.Errorf("%d connections", s.runs.Load())
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
}
