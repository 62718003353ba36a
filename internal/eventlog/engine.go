package eventlog

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// readyTimeout is for what the server does once it has recovered the log.
	readyTimeout = time.Minute
	apiTimeout   = 30 * time.Second
	// headerRoom is what a message needs beside its payload.
	headerRoom = 64 << 10
	// noStoreLimit is set because the default is three quarters of the free disk: size never expires or refuses a block.
	noStoreLimit = 1 << 60
)

// engine is one run of the embedded server. After an error of the disk it is broken: such an error sticks in the server, so the
// next use starts another run on the same folder.
type engine struct {
	srv *server.Server
	log *serverLog
	// Two connections, so that an acknowledgement does not queue behind megabytes that a reader asked for.
	write, read *nats.Conn
	js          jetstream.JetStream
	// broken is done, with the cause, after an error of the disk.
	broken context.Context
	fail   context.CancelCauseFunc
	// started is closed when the server has recovered the log.
	started chan struct{}
	// unread are the folders of streams that the server did not recover.
	unread []string
}

// startEngine returns an engine together with an error only if that one was abandoned: it must be buried.
func startEngine(ctx context.Context, o Options) (*engine, error) {
	if err := clearHalves(o.Dir); err != nil {
		return nil, err
	}
	if err := syncTails(o.Dir); err != nil {
		return nil, err
	}
	if err := checkRecords(o.Dir); err != nil {
		return nil, err
	}
	e := &engine{}
	e.broken, e.fail = context.WithCancelCause(context.Background())
	e.log = &serverLog{log: o.Log.With("component", "nats-server"), fail: e.fail}
	var err error
	e.srv, err = server.NewServer(&server.Options{
		ServerName: "rowhook", DontListen: true, NoSigs: true, JetStream: true, StoreDir: o.Dir, SyncAlways: true,
		JetStreamMaxStore: noStoreLimit, MaxPayload: int32(o.MaxPayload + headerRoom), DisableJetStreamBanner: true,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the log's server: %w", err)
	}
	e.srv.SetLogger(e.log, false, false)
	if err := e.boot(ctx, o); err != nil {
		return e, err
	}
	err = e.start(ctx)
	if err == nil {
		e.unread, err = e.unreadFolders(ctx, o.Dir)
	}
	if err != nil {
		e.stop(context.WithoutCancel(ctx))
		return nil, err
	}
	return e, nil
}

func (e *engine) start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("start the log's server: %w", err)
	}
	if err := e.log.fatal.Load(); err != nil {
		return fmt.Errorf("start the log's server: %w", *err)
	}
	if !e.srv.ReadyForConnections(readyTimeout) {
		return errors.New("start the log's server: it is not ready; its log lines say why")
	}
	return e.connect()
}

func (e *engine) connect() error {
	v, err := e.srv.Varz(nil)
	if err != nil {
		return fmt.Errorf("read the log's settings: %w", err)
	}
	if c := v.JetStream.Config; c == nil || !c.SyncAlways {
		return errors.New("the log's server does not sync every write: refusing to use it")
	}
	for _, c := range []**nats.Conn{&e.write, &e.read} {
		if *c, err = nats.Connect("", nats.InProcessServer(e.srv), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond)); err != nil {
			return fmt.Errorf("connect to the log's server: %w", err)
		}
	}
	if e.js, err = jetstream.New(e.write, jetstream.WithDefaultTimeout(apiTimeout)); err != nil {
		return fmt.Errorf("connect to the log's server: %w", err)
	}
	return nil
}

// unreadFolders finds the streams whose description on the disk is damaged: the server passes over them with a warning.
func (e *engine) unreadFolders(ctx context.Context, dir string) ([]string, error) {
	folders, err := streamFolders(dir)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	names := e.js.StreamNames(ctx)
	for n := range names.Name() {
		known[n] = true
	}
	if err := names.Err(); err != nil {
		return nil, fmt.Errorf("ask for the streams in log folder %s: %w", dir, err)
	}
	return slices.DeleteFunc(folders, func(f string) bool { return known[filepath.Base(f)] }), nil
}

// checkFolders fails if one of those is a segment of the source's log.
func (e *engine) checkFolders(source string) error {
	for _, f := range e.unread {
		if s, ok := sourceOf(filepath.Base(f)); ok && s == source {
			return &CorruptError{Source: source, Reason: "the description of the segment in " + f + " cannot be read"}
		}
	}
	return nil
}

// stop returns when the server has written its index and ended, or ctx is done.
func (e *engine) stop(ctx context.Context) {
	e.log.quiet.Store(true)
	for _, c := range []*nats.Conn{e.write, e.read} {
		if c != nil {
			c.Close()
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.srv.Shutdown()
		e.srv.WaitForShutdown()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	e.fail(ErrClosed)
}

// checkAlive breaks the engine if the server has given up its storage without an error that was seen.
func (e *engine) checkAlive() {
	if !e.srv.JetStreamEnabled() {
		e.fail(errors.New("the log's server has given up its storage; its log lines say why"))
	}
}
