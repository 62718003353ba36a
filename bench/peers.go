package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

const goMySQLModule = "github.com/go-mysql-org/go-mysql"

// silence is how long a server may say nothing before a reading fails.
const silence = time.Minute

// syncerConfig is go-mysql's configuration for the server of a backlog; everything that is not set is at its default.
func (b *backlog) syncerConfig() (replication.BinlogSyncerConfig, error) {
	host, port, err := net.SplitHostPort(b.cfg.Addr)
	if err != nil {
		return replication.BinlogSyncerConfig{}, fmt.Errorf("address %s: %w", b.cfg.Addr, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return replication.BinlogSyncerConfig{}, fmt.Errorf("address %s: %w", b.cfg.Addr, err)
	}
	return replication.BinlogSyncerConfig{
		ServerID: 1<<30 + rand.Uint32N(1<<30), Flavor: string(b.flavor), Host: host, Port: uint16(n), User: b.cfg.User, Password: b.cfg.Passwd,
		// MariaDB before 11 falls back to latin1 without it.
		Charset: "utf8mb4", ReadTimeout: silence, DisableRetrySync: true, Logger: slog.New(slog.DiscardHandler),
	}, nil
}

// start begins the stream just before the backlog.
func (b *backlog) start(cfg replication.BinlogSyncerConfig) (*replication.BinlogSyncer, *replication.BinlogStreamer, error) {
	set, err := gomysql.ParseGTIDSet(string(b.flavor), b.from.GTIDSet)
	if err != nil {
		return nil, nil, fmt.Errorf("GTID set of the position: %w", err)
	}
	syncer := replication.NewBinlogSyncer(cfg)
	streamer, err := syncer.StartSyncGTID(set)
	if err != nil {
		syncer.Close()
		return nil, nil, fmt.Errorf("start the stream: %w", err)
	}
	return syncer, streamer, nil
}

// readRaw takes the events off the wire and looks at nothing but their types.
func readRaw(ctx context.Context, b *backlog, _ string) (reading, error) {
	cfg, err := b.syncerConfig()
	if err != nil {
		return reading{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h := &rawCounter{began: time.Now(), done: cancel, want: b.transactions}
	cfg.RawModeEnabled, cfg.SynchronousEventHandler = true, h
	syncer, streamer, err := b.start(cfg)
	if err != nil {
		return reading{}, err
	}
	_, err = streamer.GetEvent(ctx) // events go to the counter; this returns the end
	syncer.Close()                  // and waits for the counter
	if h.got.took == 0 {
		return reading{}, fmt.Errorf("the stream ended early: %w", err)
	}
	return h.got, nil
}

// rawCounter counts the row events, until as many transactions as are wanted had some.
type rawCounter struct {
	began time.Time
	got   reading
	want  int  // transactions to come
	rows  bool // seen in the transaction that is being read
	done  context.CancelFunc
}

// HandleEvent implements replication.EventHandler.
func (c *rawCounter) HandleEvent(e *replication.BinlogEvent) error {
	if c.got.took > 0 {
		return nil
	}
	c.got.bytes += int64(len(e.RawData))
	switch e.Header.EventType {
	case replication.UPDATE_ROWS_EVENTv1, replication.UPDATE_ROWS_EVENTv2, replication.MARIADB_UPDATE_ROWS_COMPRESSED_EVENT_V1,
		replication.WRITE_ROWS_EVENTv1, replication.WRITE_ROWS_EVENTv2, replication.MARIADB_WRITE_ROWS_COMPRESSED_EVENT_V1:
		c.got.event++
		c.rows = true
	case replication.TRANSACTION_PAYLOAD_EVENT:
		return errors.New("the server compresses transactions: set binlog_transaction_compression = OFF for the benchmark")
	case replication.XID_EVENT:
		if !c.rows {
			return nil
		}
		c.rows = false
		if c.want--; c.want == 0 {
			c.got.took = time.Since(c.began)
			c.done()
		}
	}
	return nil
}

// readGoMySQL lets go-mysql decode every row, and drops them.
func readGoMySQL(ctx context.Context, b *backlog, _ string) (reading, error) {
	cfg, err := b.syncerConfig()
	if err != nil {
		return reading{}, err
	}
	cfg.VerifyChecksum = true
	var got reading
	began := time.Now()
	syncer, streamer, err := b.start(cfg)
	if err != nil {
		return reading{}, err
	}
	defer syncer.Close()
	want, seen := b.transactions, 0 // transactions to come, rows of those that ended
	for {
		e, err := streamer.GetEvent(ctx)
		if err != nil {
			return reading{}, fmt.Errorf("the stream ended early: %w", err)
		}
		got.bytes += int64(len(e.RawData))
		switch body := e.Event.(type) {
		case *replication.RowsEvent:
			got.event++
			if body.Type() == replication.EnumRowsEventTypeUpdate {
				got.rows += len(body.Rows) / 2 // before and after
			} else {
				got.rows += len(body.Rows)
			}
		case *replication.XIDEvent:
			if got.rows == seen {
				continue
			}
			seen = got.rows
			if want--; want == 0 {
				got.took = time.Since(began)
				return got, nil
			}
		}
	}
}
