package bench

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rowhook/rowhook/webhook"
)

// pipeline is a Rowhook between the server of a site and a receiver.
type pipeline struct {
	*site
	receiver *remote
	serve    *child
	lastID   int64 // of the rows written so far
	expected int   // requests, by now
}

// start runs receiver and Rowhook.
func (l *pipeline) start(ctx context.Context, dir string, o LatencyOptions) (err error) {
	if l.receiver, err = startReceiver(ctx, o.Binary, o.ReceiverArgs); err != nil {
		return err
	}
	for name, text := range map[string]string{"rowhook.yaml": l.yaml(), "types.yaml": sheetTypes(l.tableName())} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write the configuration: %w", err)
		}
	}
	l.serve, err = startChild(ctx, "rowhook serve", o.Binary, nil, nil, "serve", "--config", filepath.Join(dir, "rowhook.yaml"))
	return err
}

// stop ends both.
func (l *pipeline) stop() error {
	var errs []error
	if l.serve != nil {
		errs = append(errs, l.serve.stop())
	}
	if l.receiver != nil {
		errs = append(errs, l.receiver.close())
	}
	return errors.Join(errs...)
}

func (l *pipeline) yaml() string {
	return fmt.Sprintf(`data_dir: data
sources:
  - {name: %s, dsn: "%s", tls: {mode: disabled}, attach: now, tables: [%s]}
types: [types.yaml]
endpoints:
  - {name: receiver, url: "http://%s/hook", secrets: [%s]}
subscriptions:
  - {name: all, endpoint: receiver, types: [sheet.row.written]}
egress: {allow_http: true, allow: [127.0.0.0/8]}
http: {listen: "127.0.0.1:0"}
logging: {level: warn}
`, benchSource, sourceDSN(l.cfg), l.tableName(), l.receiver.addr, webhook.NewSecret().Reveal())
}

// patience is how long a delivery may take before the run fails.
const patience = 30 * time.Second

// attached writes rows until one arrives: what is committed from then on must arrive.
func (l *pipeline) attached(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	wr, err := l.openWriter(ctx)
	if err != nil {
		return err
	}
	defer wr.close()
	for {
		l.lastID++
		if _, err := wr.insert(ctx, l.lastID); err != nil {
			return err
		}
		if err := waitUntil(ctx, time.Now().Add(50*time.Millisecond)); err != nil {
			return fmt.Errorf("wait for the first delivery: %w", errors.Join(err, l.serve.failed()))
		}
		if err := l.serve.failed(); err != nil {
			return err
		}
		n, err := l.receiver.count(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			if err := l.settle(ctx); err != nil {
				return err
			}
			l.expected, err = l.receiver.count(ctx)
			return err
		}
	}
}

// quiet is how long nothing must come before nothing more is expected.
const quiet = 300 * time.Millisecond

// settle returns when as many requests have come as are expected and none follows, or when none has come for long; what is
// missing then is found when commits and arrivals are matched.
func (l *pipeline) settle(ctx context.Context) error {
	last, since := -1, time.Now()
	for {
		n, err := l.receiver.count(ctx)
		if err != nil {
			return err
		}
		if n != last {
			last, since = n, time.Now()
		}
		if pause := time.Since(since); pause >= quiet && n >= l.expected || pause >= patience {
			return nil
		}
		if err := waitUntil(ctx, time.Now().Add(20*time.Millisecond)); err != nil {
			return err
		}
		if err := l.serve.failed(); err != nil {
			return err
		}
	}
}

// writer is a connection that commits single rows.
type writer struct {
	conn *sql.Conn
	stmt *sql.Stmt
}

func (s *site) openWriter(ctx context.Context) (*writer, error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", s.cfg.Addr, err)
	}
	w := &writer{conn: conn}
	if w.stmt, err = conn.PrepareContext(ctx, insertSheet); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare the insert: %w", err), conn.Close())
	}
	return w, nil
}

// insert commits one row.
func (w *writer) insert(ctx context.Context, id int64) (commit, error) {
	c := commit{id: id, sent: time.Now().UnixNano()}
	_, err := w.stmt.ExecContext(ctx, id)
	c.returned = time.Now().UnixNano()
	if err != nil {
		return c, fmt.Errorf("insert row %d: %w", id, err)
	}
	return c, nil
}

func (w *writer) close() {
	_ = w.stmt.Close() // the connection goes back to a pool that is closed soon
	_ = w.conn.Close()
}
