package mysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/rowhook/rowhook/internal/change"
)

// beginning is where a dump begins: behind a set of transactions, or at a place in a file.
type beginning struct {
	set   *change.GTIDSet
	place *place // nil with a set
}

// events takes what a dump receives.
type events interface {
	// event takes one event as it stands in the file. It is not kept. An error ends the dump.
	event(raw []byte) error
	// ended is why it ended the dump; nil if it did not.
	ended() error
}

// dump receives the binlog from a place on until ctx ends, the connection fails, or its taker ends it.
func (r *Replica) dump(ctx context.Context, s *session, to events, at beginning, serverID uint32) error {
	line := &wire{}
	syncer := replication.NewBinlogSyncer(r.syncerConfig(s, to, line, serverID))
	// Close of the syncer waits for whatever is under way; closing its connection ends that at once.
	stopWatching := context.AfterFunc(ctx, line.close)
	defer stopWatching()
	streamer, err := at.request(syncer, s.flavor)
	if err == nil {
		_, err = streamer.GetEvent(ctx) // events go to the handler; this returns the end
	}
	line.close()
	syncer.Close()
	s.kill(ctx, syncer.LastConnectionID())
	if reason := to.ended(); reason != nil {
		return reason
	}
	return r.classify("receive the binlog from "+r.addr(), err)
}

// request asks the server for the binlog.
func (a beginning) request(syncer *replication.BinlogSyncer, flavor change.Flavor) (*replication.BinlogStreamer, error) {
	if a.place != nil {
		return syncer.StartSync(gomysql.Position{Name: a.place.file, Pos: a.place.ask()})
	}
	set, err := gomysql.ParseGTIDSet(string(flavor), a.set.String())
	if err != nil {
		return nil, fmt.Errorf("GTID set of the position: %w", err)
	}
	return syncer.StartSyncGTID(set)
}

func (r *Replica) syncerConfig(s *session, to events, line *wire, serverID uint32) replication.BinlogSyncerConfig {
	cfg := replication.BinlogSyncerConfig{
		ServerID: serverID, Flavor: string(s.flavor), User: r.dsn.User, Password: r.dsn.Passwd, Host: r.dsn.Addr, Localhost: r.label(),
		Charset: "utf8mb4", RawModeEnabled: true, VerifyChecksum: true, DisableRetrySync: true,
		HeartbeatPeriod: r.cfg.Heartbeat, ReadTimeout: 3 * r.cfg.Heartbeat,
		Dialer: line.dial, Option: patient, Logger: slog.New(slog.DiscardHandler),
		SynchronousEventHandler: handler{to}, EventCacheCount: 1,
	}
	if h, p, err := net.SplitHostPort(r.dsn.Addr); err == nil && r.dsn.Net != "unix" {
		port, err := strconv.ParseUint(p, 10, 16)
		if err == nil {
			cfg.Host, cfg.Port = h, uint16(port)
		}
	}
	if s.encrypted {
		cfg.TLSConfig = r.dsn.TLS
	}
	return cfg
}

// patient lets the server wait while the log is slow, in place of cutting the connection after a minute.
func patient(c *client.Conn) error {
	_, err := c.Execute("SET SESSION net_write_timeout = 3600")
	return err
}

// handler passes events on.
type handler struct{ events }

// HandleEvent implements replication.EventHandler. The raw data is the handler's until it returns.
func (h handler) HandleEvent(e *replication.BinlogEvent) error { return h.event(e.RawData) }

// wire is the network connection below a syncer, which can be closed at any time and refuses to be opened again.
type wire struct {
	mu     sync.Mutex
	conn   net.Conn
	closed bool
}

var errClosed = errors.New("connection is closed")

func (c *wire) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = conn.Close()
		return nil, errClosed
	}
	c.conn = conn
	return lineConn{conn}, nil
}

// lineConn takes deadlines after it was closed, too. go-mysql sets one to end its reading goroutine and waits for it; where that is
// refused it closes the connection, which writes to what the goroutine still uses.
type lineConn struct{ net.Conn }

// SetReadDeadline implements net.Conn.
func (c lineConn) SetReadDeadline(t time.Time) error {
	err := c.Conn.SetReadDeadline(t)
	if errors.Is(err, net.ErrClosed) {
		return nil // whoever reads is told
	}
	return err
}

func (c *wire) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil && !c.closed {
		_ = c.conn.Close()
	}
	c.closed = true
}
