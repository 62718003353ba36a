package mysql

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	gomysql "github.com/go-mysql-org/go-mysql/mysql"

	"github.com/rowhook/rowhook/internal/change"
)

// beginning is where a dump begins: behind a set of transactions, or at a place in a file.
type beginning struct {
	set   *change.GTIDSet
	place *place // nil with a set
}

// login makes a connection that is registered as a replica. go-mysql does the handshake; whatever comes after the request for the
// binlog is read by us.
func (r *Replica) login(ctx context.Context, s *session, line *wire, serverID uint32) (*client.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := client.ConnectWithDialer(ctx, r.dsn.Net, r.dsn.Addr, r.dsn.User, r.dsn.Passwd, "", line.dial, func(c *client.Conn) error {
		if s.encrypted {
			c.SetTLSConfig(r.dsn.TLS)
		}
		c.SetAttributes(map[string]string{"_client_role": "binary_log_listener"})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := r.prepare(conn, s.flavor); err != nil {
		return conn, err
	}
	conn.ResetSequence()
	if err := conn.WritePacket(registration(r.label(), r.dsn.User, serverID)); err != nil {
		return conn, err
	}
	_, err = conn.ReadOKPacket()
	return conn, err
}

// prepare tells the server how to send.
func (r *Replica) prepare(conn *client.Conn, flavor change.Flavor) error {
	if err := conn.SetCharset("utf8mb4"); err != nil {
		return err
	}
	period := r.cfg.Heartbeat.Nanoseconds()
	statements := []string{
		// The server waits while the log is slow, in place of cutting the connection after a minute.
		"SET SESSION net_write_timeout = 3600",
		// Checksums come as the server wrote them, so that they prove the whole way.
		"SET @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = @@global.binlog_checksum",
		fmt.Sprintf("SET @master_heartbeat_period = %d, @source_heartbeat_period = %d", period, period),
		fmt.Sprintf("SET @slave_uuid = '%[1]s', @replica_uuid = '%[1]s'", randomUUID()),
	}
	if flavor == change.MariaDB {
		statements = append(statements, "SET @mariadb_slave_capability = 4") // it knows GTIDs
	}
	for _, text := range statements {
		if _, err := conn.Execute(text); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	return nil
}

// checksummed asks whether events end in a checksum from the first one on: those before the first FORMAT_DESCRIPTION do if that was
// asked for.
func checksummed(conn *client.Conn) (bool, error) {
	res, err := conn.Execute("SELECT @master_binlog_checksum")
	if err != nil {
		return false, err
	}
	alg, err := res.GetString(0, 0)
	return alg == "CRC32", err
}

func randomUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// registration is COM_REGISTER_SLAVE, behind room for the packet's header: it makes the replica appear in the server's list.
func registration(label, user string, serverID uint32) []byte {
	b := append(make([]byte, packetHeader, 64), gomysql.COM_REGISTER_SLAVE)
	b = binary.LittleEndian.AppendUint32(b, serverID)
	user = user[:min(len(user), 255)]
	b = append(append(b, byte(len(label))), label...)
	b = append(append(b, byte(len(user))), user...)
	b = append(b, 0)    // no password
	b = append(b, 0, 0) // no port
	return append(b, make([]byte, 4+4)...)
}

// request asks the server for the binlog.
func (a beginning) request(conn *client.Conn, flavor change.Flavor, serverID uint32) error {
	var command []byte
	switch {
	case a.place != nil:
		command = dumpFile(a.place.file, a.place.ask(), serverID)
	case flavor == change.MariaDB:
		for _, text := range []string{"SET @slave_connect_state = '" + a.set.String() + "'", "SET @slave_gtid_strict_mode = 1"} {
			if _, err := conn.Execute(text); err != nil {
				return err
			}
		}
		command = dumpFile("", 0, serverID) // the set says where
	default:
		set, err := gomysql.ParseGTIDSet(string(flavor), a.set.String())
		if err != nil {
			return fmt.Errorf("GTID set of the position: %w", err)
		}
		command = dumpSet(set.Encode(), serverID)
	}
	conn.ResetSequence()
	return conn.WritePacket(command)
}

// dumpFile is COM_BINLOG_DUMP, behind room for the packet's header.
func dumpFile(file string, offset, serverID uint32) []byte {
	b := append(make([]byte, packetHeader, 64), gomysql.COM_BINLOG_DUMP)
	b = binary.LittleEndian.AppendUint32(b, offset)
	b = append(b, 0, 0) // flags
	b = binary.LittleEndian.AppendUint32(b, serverID)
	return append(b, file...)
}

// dumpSet is COM_BINLOG_DUMP_GTID, behind room for the packet's header.
func dumpSet(set []byte, serverID uint32) []byte {
	b := append(make([]byte, packetHeader, 64+len(set)), gomysql.COM_BINLOG_DUMP_GTID)
	b = append(b, 0, 0) // flags
	b = binary.LittleEndian.AppendUint32(b, serverID)
	b = binary.LittleEndian.AppendUint32(b, 0) // no file name
	b = binary.LittleEndian.AppendUint64(b, fileStart)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(set)))
	return append(b, set...)
}

// wire is the network connection below a dump, which can be closed at any time and refuses to be opened again.
type wire struct {
	mu     sync.Mutex
	conn   net.Conn
	closed bool
}

var errClosed = errors.New("connection is closed")

// dial opens the connection. Whatever is asked on it before the dump must be answered in time.
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
	return conn, conn.SetDeadline(time.Now().Add(replyTimeout))
}

func (c *wire) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil && !c.closed {
		_ = c.conn.Close()
	}
	c.closed = true
}
