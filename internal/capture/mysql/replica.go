package mysql

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/rowhook/rowhook/internal/capture"
	"github.com/rowhook/rowhook/internal/change"
)

// DefaultHeartbeat is how often an idle server is asked to speak. Three of them missing mean a dead connection, so that a pulled
// cable is noticed within 15 s.
const DefaultHeartbeat = 5 * time.Second

// minHeartbeat: the server divides by whole seconds while it skips known transactions, and floods below one.
const minHeartbeat = time.Second

// Config says which server to follow, and what of it.
type Config struct {
	// Source is the name of the source. It is part of the derived server id and of the name shown to the server.
	Source string
	// Instance tells this follower from others of the same name, such as a copy of the installation: they must not take each
	// other's server id. The log's id serves.
	Instance string
	// DSN names the server: mysql://user:password@host:port/, or user:password@tcp(host:port)/.
	DSN string
	TLS TLS
	// ServerID identifies this replica to the server; 0 derives one from Source.
	ServerID uint32
	// Heartbeat is how often an idle server speaks; 0 means DefaultHeartbeat, less than a second is refused.
	Heartbeat time.Duration
	// Tables are the wanted tables, schema.table, where * stands for any text and ? for one character.
	Tables []string
	// ExcludeColumns never enter the log: schema.table.column, with the same wildcards.
	ExcludeColumns []string
	// Log gets what operators should know; nil means nothing. Never row data, never a password.
	Log *slog.Logger
}

// Feed takes what a Replica reads, in order. All methods are called by one goroutine, which waits for them.
type Feed interface {
	Rows
	// Server names the server that what follows is read from.
	Server(id string)
	// Begin opens a transaction; rows or Commit follow.
	Begin(tx change.Transaction, g change.GTID) error
	// Commit ends the transaction; file and end are the binlog coordinates after it.
	Commit(file string, end uint64) error
	// Moved is called between transactions when a server without GTIDs goes on in another binlog file, which it created at that
	// second of the Unix epoch: the next transaction begins at offset or behind it.
	Moved(file string, created uint32, offset uint64) error
	// Heard is called for every packet, heartbeats included.
	Heard(at time.Time)
}

// Replica follows one server. Its methods may be called by several goroutines, but only one Follow may run at a time.
type Replica struct {
	cfg    Config
	dsn    *driver.Config
	tables tableSet
	log    *slog.Logger
	// settle is how long a position may be ahead of what the server calls executed: a commit that waits for a semi-synchronous
	// acknowledgement is in the binlog, but not executed yet.
	settle time.Duration
	skips  atomic.Pointer[[]capture.Skip] // see Pass
}

// New checks the configuration and returns a Replica. It does not connect.
func New(cfg Config) (*Replica, error) {
	dsn, err := parseDSN(cfg.DSN)
	if err != nil {
		return nil, err
	}
	if cfg.Heartbeat = cmp.Or(cfg.Heartbeat, DefaultHeartbeat); cfg.Heartbeat < minHeartbeat {
		return nil, fmt.Errorf("heartbeat %v is too short, the least is %v", cfg.Heartbeat, minHeartbeat)
	}
	tables, err := newTableSet(cfg.Tables, cfg.ExcludeColumns)
	if err != nil {
		return nil, err
	}
	if err := cfg.TLS.apply(dsn); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	dsn.Logger = &driver.NopLogger{} // errors are returned, and say more
	return &Replica{cfg: cfg, dsn: dsn, tables: tables, log: cfg.Log.With("source", cfg.Source), settle: 10 * time.Second}, nil
}

// Flavor asks the server which family it is of.
func (r *Replica) Flavor(ctx context.Context) (change.Flavor, error) {
	s, err := r.open(ctx)
	if err != nil {
		return "", err
	}
	defer s.close()
	return s.flavor, nil
}

// Follow streams from the position on into feed. It returns when ctx ends (with ctx's error), when the connection fails, or with a
// StopError. It leaves no goroutine behind; a call of feed that blocks must end with ctx, or Follow waits for it.
func (r *Replica) Follow(ctx context.Context, from change.Position, feed Feed) error {
	s, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	if err := r.checkSettings(s); err != nil {
		return err
	}
	at, err := r.checkContinuity(ctx, s, from)
	if err != nil {
		return err
	}
	id, err := r.chooseServerID(ctx, s)
	if err != nil {
		return err
	}
	feed.Server(s.identity)
	st := newStream(ctx, r, s, feed)
	if at.place != nil {
		st.files = newFiles(r.addr(), *at.place, from.Partial != nil, func(read place, ended bool) error {
			return r.checkRead(ctx, s, read, ended)
		})
	}
	err = r.dump(ctx, s, st, at, id)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// checkSettings refuses a server whose binlog would not say everything, and names all that is wrong with it.
func (r *Replica) checkSettings(s *session) error {
	var all *StopError
	for _, f := range settingFindings(s) {
		switch {
		case f.Severity != Error:
		case all == nil:
			all = &StopError{Code: f.Code, Message: f.Message, Hint: f.SQL}
		default:
			all.Message += "; " + f.Message
			all.Hint += "\n" + f.SQL
		}
	}
	if all == nil {
		return nil
	}
	return all
}

// Derived server ids lie where people rarely put theirs.
const (
	derivedIDs  = 3_000_000_000
	derivedSpan = 1_200_000_000
)

// derivedID is the n-th choice of a server id: stable, and looking random.
func (r *Replica) derivedID(n int) uint32 {
	h := fnv.New64a()
	fmt.Fprintf(h, "rowhook\x00%s\x00%s\x00%d", r.cfg.Source, r.cfg.Instance, n)
	return derivedIDs + uint32(h.Sum64()%derivedSpan)
}

// chooseServerID returns an id that no other connected replica has.
func (r *Replica) chooseServerID(ctx context.Context, s *session) (uint32, error) {
	taken, err := s.replicas(ctx)
	if err != nil {
		// The list needs a privilege that following does not.
		r.log.Debug("connected replicas are not listed", "err", err)
	}
	clash := func(id uint32) (string, bool) {
		host, ok := taken[id]
		return host, (ok && host != r.label()) || id == s.serverID
	}
	if id := r.cfg.ServerID; id != 0 {
		if host, bad := clash(id); bad {
			return 0, stop(CodeServerIDClash, "Give this source another server_id, or leave it out.",
				"server_id %d is taken by %s", id, cmp.Or(host, "the server itself"))
		}
		return id, nil
	}
	const tries = 100
	for n := range tries {
		id := r.derivedID(n)
		if _, bad := clash(id); !bad {
			return id, nil
		}
	}
	return 0, stop(CodeServerIDClash, "Set server_id of this source to a number no other replica has.", "no free server_id found")
}

// label is what the server shows as this replica's host; servers keep 60 bytes of it.
func (r *Replica) label() string {
	l := "rowhook-" + r.cfg.Source
	if r.cfg.Instance != "" {
		l += "-" + r.cfg.Instance[:min(len(r.cfg.Instance), 8)]
	}
	return l[:min(len(l), 60)]
}

func (r *Replica) addr() string { return r.dsn.Addr }

// host is the server's name or address without the port; empty for a socket.
func host(dsn *driver.Config) string {
	if dsn.Net == "unix" {
		return ""
	}
	h, _, err := net.SplitHostPort(dsn.Addr)
	if err != nil {
		return dsn.Addr
	}
	return h
}
