package capture

import (
	"context"
	"errors"
	"fmt"

	"github.com/rowhook/rowhook/internal/change"
)

// ErrNotFollowing says that there is no connection to the source at the moment. What was asked for is kept, and done when the next
// one begins.
var ErrNotFollowing = errors.New("the source is not being followed at the moment")

// SetTypesVersion makes v the version of the event types that changes are to be read with from here on: the block being built is
// cut, also inside a transaction, and every block after it carries v. It returns the seq after which v is in force, once a block
// that says so is durable in the log. The version only grows; one that is in force already gives a seq after which it is.
//
// It fails with ErrNotFollowing while there is no connection to the source, or when the connection is lost before the block is
// known to be durable; the next connection then begins with that block. So it is if ctx ends first. It may be called by many
// goroutines at once.
func (c *Capture) SetTypesVersion(ctx context.Context, v uint64) (seq uint64, err error) {
	w, m, err := c.want(v)
	if err != nil {
		return 0, fmt.Errorf("set version %d of the event types of source %s: %w", v, c.opts.Source, err)
	}
	select {
	case <-m.durable:
		return m.seq, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for version %d of the event types in the log of source %s: %w", v, c.opts.Source, ctx.Err())
	case <-w.failed:
	}
	select {
	case <-m.durable: // before the failure
		return m.seq, nil
	default:
		return 0, fmt.Errorf("set version %d of the event types of source %s: %w: %w", v, c.opts.Source, ErrNotFollowing, w.failure())
	}
}

// want keeps the version for connections to come, and sets it in the one there is.
func (c *Capture) want(v uint64) (*Writer, *marker, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v < c.wanted {
		return nil, nil, fmt.Errorf("version %d was set before; versions only grow", c.wanted)
	}
	c.wanted = v
	if c.writer == nil {
		return nil, nil, ErrNotFollowing
	}
	m, err := c.writer.setTypes(v)
	return c.writer, m, err
}

// following makes w the writer of the connection that begins, and lets it begin with a marker if its log does not say the version
// that is wanted. The version of the log is never gone behind.
func (c *Capture) following(w *Writer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = max(c.wanted, w.types)
	if _, err := w.setTypes(c.wanted); err != nil {
		return err
	}
	c.writer = w
	return nil
}

func (c *Capture) typesVersion() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wanted
}

func (c *Capture) notFollowing() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writer = nil
}

// marker is a block without changes that begins a version of the event types.
type marker struct {
	// seq of the last change before it.
	seq uint64
	// durable is closed when it is in the log.
	durable chan struct{}
}

// setTypes cuts what was built so far, and queues a marker of version v. If v is in force already, it returns its marker, or one
// that is durable.
//
// Unlike a position block, a marker may stand inside a transaction: its position counts the rows of every table that are in the
// log, those of a part that is still being skipped too, and the next block goes on with a segment of its own.
func (w *Writer) setTypes(v uint64) (*marker, error) {
	w.wake.L.Lock()
	defer w.wake.L.Unlock()
	switch {
	case w.err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNotFollowing, w.err)
	case v < w.types:
		return nil, fmt.Errorf("version %d is in force; versions only grow", w.types)
	case v == w.types:
		return w.marker, nil
	}
	if w.builder.Size() > 0 {
		if err := w.cut(); err != nil {
			return nil, err
		}
	}
	w.types = v
	w.builder.SetTypesVersion(v)
	if err := w.cut(); err != nil {
		return nil, err
	}
	w.marker = &marker{seq: w.nextSeq - 1, durable: make(chan struct{})}
	w.queue[len(w.queue)-1].marker = w.marker
	return w.marker, nil
}

// inForce is the marker of the version that the log ends with.
func inForce(last change.Header) *marker {
	m := &marker{seq: last.LastSeq(), durable: make(chan struct{})}
	close(m.durable)
	return m
}

func (w *Writer) failure() error {
	w.wake.L.Lock()
	defer w.wake.L.Unlock()
	return w.err
}
