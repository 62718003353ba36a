package config

import (
	"log/slog"
	"time"

	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/webhook"
)

// Config is all that rowhook.yaml says, with defaults filled in and limits
// checked. Load makes it; whoever has it may change it.
type Config struct {
	// DataDir is the folder of the log, the store and the journal. It may not
	// exist yet.
	DataDir       string
	Log           Log
	Sources       []Source
	Types         []TypeFile
	Endpoints     []Endpoint
	Subscriptions []Subscription
	// Egress says where deliveries may go. Every Endpoint.URL passes it.
	Egress     deliver.EgressPolicy
	Delivery   Delivery
	Encryption Encryption
	HTTP       HTTP
	Logging    Logging
}

// Log is how much of the log is kept, on disk and in memory.
type Log struct {
	// Retention is the age at which blocks expire. It is longer than the
	// whole of Delivery.Retry.
	Retention time.Duration
	// RingBytes bounds the fresh blocks that are handed to readers in memory.
	RingBytes int64
}

// Source is one MySQL or MariaDB server that is followed as a replica.
type Source struct {
	Name     string // unique, [a-z0-9_-]{1,32}
	Address  string // host:port
	User     string
	Password Password
	TLS      TLS
	// ServerID is the replica's own server_id; 0 means that capture derives
	// one.
	ServerID  uint32
	Heartbeat time.Duration
	// Generation is part of every event's id. Raising it gives new ids.
	Generation uint32
	Attach     From
	// Tables and ExcludeColumns are patterns as in "sakila.*" and
	// "sakila.staff.password", with the right number of parts, none empty.
	Tables         []string
	ExcludeColumns []string
}

// TLS is how the connection to a source is secured. The files exist; their
// contents are not checked.
type TLS struct {
	Mode TLSMode
	CA   string // file with PEM certificates; empty means the system's roots
	Cert string // file with the client's certificate; empty means none
	Key  string // file with its key; set if Cert is
}

// TLSMode is how much of TLS is insisted on, as MySQL's own clients name it.
type TLSMode string

// The modes, from no TLS at all to a checked certificate and host name.
const (
	TLSDisabled       TLSMode = "disabled"
	TLSPreferred      TLSMode = "preferred"
	TLSRequired       TLSMode = "required"
	TLSVerifyCA       TLSMode = "verify-ca"
	TLSVerifyIdentity TLSMode = "verify-identity"
)

// From is where a source or a subscription begins.
type From string

// The places to begin at. A subscription's may also be a time as in RFC 3339.
const (
	FromNow      From = "now"
	FromEarliest From = "earliest"
)

// Time returns the time that it names; false if it is one of the words.
func (f From) Time() (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, string(f))
	return t, err == nil
}

// TypeFile is a file of event types, not yet compiled.
type TypeFile struct {
	Path    string // for messages: the pattern's folder and the file's name
	Content []byte
}

// Endpoint is a URL that is sent events, and how.
type Endpoint struct {
	Name string // unique, [a-z0-9_.-]{1,64}
	URL  string
	// Tenant limits the endpoint to the events of one tenant; empty means
	// that it gets those of all.
	Tenant string
	// Secrets sign each request, the newest first. There is at least one and
	// none is a public key.
	Secrets []webhook.Secret
	// Concurrency is how many requests may be in flight at once.
	Concurrency int
	// Timeout bounds one attempt, from connecting to the end of the answer.
	Timeout time.Duration
	// QueueBytes bounds the payloads that wait in memory; beyond it the
	// endpoint lags.
	QueueBytes int64
	Order      Order
}

// Order is which events of an endpoint wait for each other.
type Order string

// The orders.
const (
	OrderKey  Order = "key"  // those with the same key
	OrderNone Order = "none" // none
)

// Subscription says which events an endpoint gets.
type Subscription struct {
	Name     string // unique within its endpoint, [a-z0-9_.-]{1,64}
	Endpoint string // the name of an Endpoint
	// Types are patterns over the names of event types; at least one. Whether
	// they match any is checked by Config.CheckTypes.
	Types   []string
	Subject string // pattern over subjects; empty means every subject
	From    From

	places []place // of Types, for CheckTypes
}

// Delivery is how deliveries are retried and recorded.
type Delivery struct {
	// Retry holds the waits before each attempt after the first, as upper
	// ends of full jitter. An event that fails after the last is parked; an
	// empty schedule parks at the first failure.
	Retry []time.Duration
	// ProgressInterval is how often progress is written, and so how much a
	// crash may repeat.
	ProgressInterval time.Duration
	// AttemptsRetention is how long attempts are kept.
	AttemptsRetention time.Duration
}

// Encryption is what the store's secrets are encrypted with.
type Encryption struct {
	// Keys of 32 bytes, the newest first; those of KeyFile follow.
	Keys []Password
	// KeyFile holds one key a line; empty if there is none. It may not exist yet if it is the default.
	KeyFile string
	// Default says that nothing was configured, so that the file may be made.
	Default bool
}

// HTTP is where Rowhook itself answers.
type HTTP struct {
	Listen string // host:port; port 0 means any free one
	Socket string // path of the Unix socket
	// Cert and Key are files, both empty without TLS.
	Cert, Key string
}

// Logging is what Rowhook says on standard error.
type Logging struct {
	Level  slog.Level
	Format LogFormat
}

// LogFormat is the form of a line of logging.
type LogFormat string

// The forms, those of log/slog.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)
