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

// dump receives the binlog after have until ctx ends, the connection fails, or the stream stops.
func (r *Replica) dump(ctx context.Context, s *session, st *stream, have *change.GTIDSet, serverID uint32) error {
	set, err := gomysql.ParseGTIDSet(string(s.flavor), have.String())
	if err != nil {
		return fmt.Errorf("GTID set of the position: %w", err)
	}
	line := &wire{}
	syncer := replication.NewBinlogSyncer(r.syncerConfig(s, st, line, serverID))
	// Close of the syncer waits for whatever is under way; closing its connection ends that at once.
	stopWatching := context.AfterFunc(ctx, line.close)
	defer stopWatching()
	streamer, err := syncer.StartSyncGTID(set)
	if err == nil {
		_, err = streamer.GetEvent(ctx) // events go to the handler; this returns the end
	}
	line.close()
	syncer.Close()
	s.kill(ctx, syncer.LastConnectionID())
	if st.err != nil {
		return st.err
	}
	return r.classify("receive the binlog from "+r.addr(), err)
}

func (r *Replica) syncerConfig(s *session, st *stream, line *wire, serverID uint32) replication.BinlogSyncerConfig {
	cfg := replication.BinlogSyncerConfig{
		ServerID: serverID, Flavor: string(s.flavor), User: r.dsn.User, Password: r.dsn.Passwd, Host: r.dsn.Addr, Localhost: r.label(),
		Charset: "utf8mb4", RawModeEnabled: true, VerifyChecksum: true, DisableRetrySync: true,
		HeartbeatPeriod: r.cfg.Heartbeat, ReadTimeout: 3 * r.cfg.Heartbeat,
		Dialer: line.dial, Option: patient, Logger: slog.New(slog.DiscardHandler),
		SynchronousEventHandler: handler{st}, EventCacheCount: 1,
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

// handler passes events to a stream.
type handler struct{ *stream }

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
	return conn, nil
}

func (c *wire) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil && !c.closed {
		_ = c.conn.Close()
	}
	c.closed = true
}
