package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rowhook/rowhook/internal/capture"
	"github.com/rowhook/rowhook/internal/capture/mysql"
	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/eventlog"
)

// benchSource is the name of the source in every scenario.
const benchSource = "bench"

func (b *backlog) replica() (*mysql.Replica, error) {
	return mysql.New(mysql.Config{
		Source: benchSource, DSN: sourceDSN(b.cfg), TLS: mysql.TLS{Mode: mysql.TLSDisabled}, Tables: []string{b.tableName()},
	})
}

// readRowhook captures the backlog into a new log below dir, with the parts that `rowhook serve` captures with.
func readRowhook(ctx context.Context, b *backlog, dir string) (_ reading, err error) {
	folder, err := os.MkdirTemp(dir, "log-*")
	if err != nil {
		return reading{}, fmt.Errorf("make the folder of the log: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	srv, err := eventlog.Open(ctx, eventlog.Options{Dir: folder, Retention: 24 * time.Hour, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return reading{}, fmt.Errorf("open the log: %w", err)
	}
	defer func() { err = errors.Join(err, srv.Close(context.WithoutCancel(ctx))) }()
	log, err := srv.Stream(ctx, benchSource, "")
	if err != nil {
		return reading{}, fmt.Errorf("open the log: %w", err)
	}
	last, err := b.attach(ctx, log)
	if err != nil {
		return reading{}, err
	}
	return b.follow(ctx, log, last)
}

// attach writes the position to begin at, as the first block of a log.
func (b *backlog) attach(ctx context.Context, log *eventlog.Log) (change.Header, error) {
	h := change.Header{Source: benchSource, FirstSeq: 1, Position: b.from}
	block, err := change.NewBuilder(benchSource, 0).Finish(h.FirstSeq, h.Position)
	if err != nil {
		return h, fmt.Errorf("make the first block: %w", err)
	}
	return h, log.Append(ctx, block, h)
}

// follow is what is timed.
func (b *backlog) follow(ctx context.Context, log capture.Appender, last change.Header) (reading, error) {
	replica, err := b.replica()
	if err != nil {
		return reading{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &appendCounter{Appender: log, want: b.rows, began: time.Now(), done: func() { cancel(errAllRead) }}
	w, err := capture.NewWriter(b.flavor, last, c)
	if err != nil {
		return reading{}, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.Run(ctx) })
	g.Go(func() error { return replica.Follow(ctx, last.Position, w) })
	if err := g.Wait(); !errors.Is(context.Cause(ctx), errAllRead) {
		return reading{}, err
	}
	return c.got, nil
}

// errAllRead ends a reading that has all it came for.
var errAllRead = errors.New("all is read")

// appendCounter counts what is on the disk.
type appendCounter struct {
	capture.Appender
	want  int
	began time.Time
	got   reading
	done  func()
}

// Append implements capture.Appender.
func (c *appendCounter) Append(ctx context.Context, block []byte, h change.Header) error {
	if err := c.Appender.Append(ctx, block, h); err != nil {
		return err
	}
	c.got.rows += int(h.Changes)
	c.got.bytes += int64(len(block))
	if c.got.rows >= c.want && c.got.took == 0 {
		c.got.took = time.Since(c.began)
		c.done()
	}
	return nil
}
