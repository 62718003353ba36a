package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/rowhook/rowhook/internal/store"
	"github.com/rowhook/rowhook/webhook"
)

// deliverRowhook lets `rowhook serve` send a log of its own, and holds its record of attempts to what arrived.
func deliverRowhook(ctx context.Context, o DeliverOptions, dir string) (s sending, err error) {
	if err := fill(ctx, filepath.Join(dir, "data"), o.Rows); err != nil {
		return s, err
	}
	to, err := startReceiver(ctx, o.Binary, o.ReceiverArgs)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, to.close()) }()
	for name, text := range map[string]string{"rowhook.yaml": deliverYAML(to.addr), "types.yaml": sheetTypes("bench." + sheetTable)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return s, fmt.Errorf("write the configuration: %w", err)
		}
	}
	serve, err := startChild(ctx, "rowhook serve", o.Binary, nil, nil, "serve", "--config", filepath.Join(dir, "rowhook.yaml"))
	if err != nil {
		return s, err
	}
	got, err := to.awaitAll(ctx, o.Rows, serve)
	if err = errors.Join(err, serve.stop()); err != nil {
		return s, err
	}
	if err := recorded(ctx, filepath.Join(dir, "data", "store"), o.Rows); err != nil {
		return s, err
	}
	if s, err = sendingOf(got, o.Rows); err != nil {
		return s, err
	}
	// Start and stop are in it, some tenths of a second.
	s.cpu = serve.cmd.ProcessState.UserTime() + serve.cmd.ProcessState.SystemTime()
	return s, os.RemoveAll(dir)
}

// deliverYAML names a server that is not there: what is delivered is in the log already.
func deliverYAML(receiver string) string {
	return fmt.Sprintf(`data_dir: data
sources:
  - {name: %s, dsn: "mysql://nobody@127.0.0.1:1/", tls: {mode: disabled}, tables: [bench.%s]}
types: [types.yaml]
endpoints:
  - {name: receiver, url: "http://%s/hook", secrets: [%s], concurrency: %d}
subscriptions:
  - {name: all, endpoint: receiver, types: [sheet.row.written], from: earliest}
egress: {allow_http: true, allow: [127.0.0.0/8]}
http: {listen: "127.0.0.1:0"}
logging: {level: error}
`, benchSource, sheetTable, receiver, webhook.NewSecret().Reveal(), deliverConnections)
}

// recorded holds the store to one attempt of each event.
func recorded(ctx context.Context, dir string, rows int) (err error) {
	st, err := store.Open(ctx, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	counts, err := st.CountAttempts(ctx)
	if err == nil && (counts["ok"] != uint64(rows) || len(counts) != 1) {
		err = fmt.Errorf("the store has recorded %v, not %d attempts that were accepted", counts, rows)
	}
	return err
}

// deliverBare posts the same messages with net/http and nothing else.
func deliverBare(ctx context.Context, o DeliverOptions) (s sending, err error) {
	all, err := messages(o.Rows)
	if err != nil {
		return s, err
	}
	to, err := startReceiver(ctx, o.Binary, o.ReceiverArgs)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, to.close()) }()
	transport := &http.Transport{MaxIdleConns: deliverConnections, MaxIdleConnsPerHost: deliverConnections, DisableCompression: true}
	defer transport.CloseIdleConnections()
	client, url := &http.Client{Transport: transport, Timeout: 20 * time.Second}, "http://"+to.addr+"/hook"
	var next atomic.Int64
	before, err := ownTime()
	if err != nil {
		return s, err
	}
	g, gctx := errgroup.WithContext(ctx)
	for range deliverConnections {
		g.Go(func() error {
			for i := next.Add(1) - 1; i < int64(len(all)); i = next.Add(1) - 1 {
				if err := postBare(gctx, client, url, &all[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return s, err
	}
	after, err := ownTime()
	if err != nil {
		return s, err
	}
	got, err := to.arrivals(ctx)
	if err != nil {
		return s, err
	}
	s, err = sendingOf(got, o.Rows)
	s.cpu = after - before
	return s, err
}

// ownTime is the processors' time that this process has taken so far.
func ownTime() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("ask for the process's own time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

func postBare(ctx context.Context, client *http.Client, url string, m *message) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(m.body))
	if err != nil {
		return err
	}
	// As long as what Rowhook sends; what it says is of no account here.
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "User-Agent": {"Rowhook/bench"}, "Webhook-Id": {m.id},
		"Webhook-Timestamp": {strconv.FormatInt(time.Now().Unix(), 10)}, "Webhook-Signature": {"v1," + strings.Repeat("A", 43) + "="},
		"Rowhook-Attempt": {"1"}, "Rowhook-Seq": {strconv.FormatUint(m.seq, 10)},
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the receiver answered %s", resp.Status)
	}
	return err
}
