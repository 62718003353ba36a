package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// maxLine bounds one line of a tail, in bytes.
const maxLine = 128 << 20

// Event returns an event, where it came from and where it went.
func (c *Client) Event(ctx context.Context, id string) (Event, error) {
	return ask[Event](ctx, c, call{method: http.MethodGet, path: "/v1/events/" + url.PathEscape(id)})
}

// EventAttempts returns attempts of an event, oldest first.
func (c *Client) EventAttempts(ctx context.Context, id string, l List) (Items[Attempt], error) {
	return ask[Items[Attempt]](ctx, c, call{method: http.MethodGet, path: "/v1/events/" + url.PathEscape(id) + "/attempts", query: l.query()})
}

// Tail calls f with each event as it commits, and with nil when the stream stands and every few seconds after, until f fails,
// whose error it returns, ctx ends, or the stream does: ErrEnded is a server that stops, any other error a broken connection.
func (c *Client) Tail(ctx context.Context, filter TailFilter, f func(*TailEvent) error) error {
	q := url.Values{"from": {filter.From.String()}}
	with(with(with(q, "subject", filter.Subject), "tenant", filter.Tenant), "source", filter.Source)
	for _, t := range filter.Types {
		q.Add("type", t)
	}
	return c.stream(ctx, quietTimeout, call{method: http.MethodGet, path: "/v1/events", query: q}, func(r io.Reader) error {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 64<<10), maxLine)
		for lines.Scan() {
			if err := tailLine(lines.Bytes(), f); err != nil {
				return err
			}
		}
		if err := lines.Err(); err != nil {
			return fmt.Errorf("read the events of %s: %w", c.name(), err)
		}
		return ErrEnded
	})
}

func tailLine(line []byte, f func(*TailEvent) error) error {
	if len(bytes.TrimSpace(line)) == 0 {
		return f(nil)
	}
	var e TailEvent
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("an event is not what this version expects: %w", err)
	}
	return f(&e)
}

// Backup writes a tar archive of the store and the logs to w. If it fails, what was written is not a backup.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	return c.stream(ctx, backupTimeout, call{method: http.MethodGet, path: "/v1/backup"}, func(r io.Reader) error {
		if _, err := io.Copy(w, r); err != nil {
			return fmt.Errorf("take the backup of %s: %w", c.name(), err)
		}
		return nil
	})
}

// stream reads an answer that has no deadline as a whole, but must not be silent for long.
func (c *Client) stream(ctx context.Context, quiet time.Duration, q call, read func(io.Reader) error) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errQuiet := fmt.Errorf("%s has said nothing for %s", c.name(), quiet)
	watch := time.AfterFunc(quiet, func() { cancel(errQuiet) })
	defer watch.Stop()
	resp, err := c.send(inner, q)
	if err == nil {
		defer resp.Body.Close()
		err = read(&watched{resp.Body, watch, quiet})
	}
	switch {
	case err == nil || ctx.Err() == nil && context.Cause(inner) == nil:
		return err
	case ctx.Err() == nil:
		return context.Cause(inner)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return ctx.Err()
	default:
		return err
	}
}

// watched starts the watch anew with everything that is read.
type watched struct {
	r     io.Reader
	watch *time.Timer
	quiet time.Duration
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if n > 0 {
		w.watch.Reset(w.quiet)
	}
	return n, err
}
