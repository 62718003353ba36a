package api

import (
	"context"
	"io"
	"time"
)

// Caller is who asks. The zero Tenant is the operator, who sees all tenants.
type Caller struct {
	// KeyID is "socket" for the Unix socket, whose file's mode is its guard.
	KeyID  string
	Scope  Scope
	Tenant string
}

// Scope is what a caller may do. Each includes those before it.
type Scope string

// The scopes.
const (
	// ScopeRead may look.
	ScopeRead Scope = "read"
	// ScopeManage may also make and change endpoints and subscriptions.
	ScopeManage Scope = "manage"
	// ScopeAdmin may do everything; keys of a tenant cannot have it.
	ScopeAdmin Scope = "admin"
)

// Backend is the running process as the API sees it. Everything that has a tenant is invisible to callers of another: it answers
// with a NotFound Problem. Errors that are not a *Problem are the process's own failures.
type Backend interface {
	Endpoints
	Subscriptions
	Events
	Operations
	Keys
}

// Page asks for one page of a list.
type Page struct {
	// After is the cursor that the page before gave; empty is the beginning.
	After string
	// Limit of the items, from 1 to 200.
	Limit int
}

// Endpoint is a customer's URL.
type Endpoint struct {
	ID string `json:"id" doc:"ep_… for one that the API made, the declared name otherwise"`
	// Declared endpoints stand in the configuration and can be paused, resumed and tested here, not changed.
	Declared    bool   `json:"declared"`
	Tenant      string `json:"tenant,omitempty"`
	URL         string `json:"url"`
	Description string `json:"description,omitempty"`
	EndpointSettings
	State       EndpointState    `json:"state"`
	StateReason string           `json:"state_reason,omitempty" doc:"why it is paused or disabled"`
	StateSince  *time.Time       `json:"state_since,omitempty"`
	Secrets     []SecretInfo     `json:"secrets"`
	Progress    []SourceProgress `json:"progress"`
	// Version is the entity tag.
	Version   uint64    `json:"version"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	UpdatedAt time.Time `json:"updated_at,omitzero"`
}

// EndpointSettings are the settings with defaults.
type EndpointSettings struct {
	Concurrency int    `json:"concurrency"`
	Timeout     string `json:"timeout"`
	QueueBytes  int64  `json:"queue_bytes"`
	Order       string `json:"order"`
}

// EndpointState is whether an endpoint is sent to.
type EndpointState string

// The states. What is not sent keeps its place and is caught up with later.
const (
	EndpointActive   EndpointState = "active"
	EndpointLagging  EndpointState = "lagging"
	EndpointPaused   EndpointState = "paused"
	EndpointDisabled EndpointState = "disabled"
)

// SecretInfo says which secrets sign, not what they are.
type SecretInfo struct {
	// ID is the beginning of a digest: enough to tell two secrets apart.
	ID        string     `json:"id"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// SourceProgress is how far an endpoint is in one source.
type SourceProgress struct {
	Source  string `json:"source"`
	Floor   uint64 `json:"floor" doc:"every event up to this seq is accepted, or waits below"`
	Behind  uint64 `json:"behind" doc:"seqs between the floor and the end of the log"`
	Waiting int64  `json:"waiting" doc:"events that failed and wait for a retry, and those behind them"`
	Parked  int64  `json:"parked"`
}

// NewEndpoint makes an endpoint. Nil settings take their defaults.
type NewEndpoint struct {
	Tenant, URL, Description string
	Concurrency              *int
	Timeout                  *time.Duration
	QueueBytes               *int64
	Order                    *string
	// Secret in the form of Standard Webhooks; empty makes one.
	Secret string
}

// EndpointChange changes what is not nil.
type EndpointChange struct {
	URL, Description *string
	Concurrency      *int
	Timeout          *time.Duration
	QueueBytes       *int64
	Order            *string
}

// TestResult is what came of a test event.
type TestResult struct {
	EventID    string  `json:"event_id"`
	Outcome    string  `json:"outcome"`
	Status     int     `json:"status,omitempty"`
	DurationMS float64 `json:"duration_ms"`
	Error      string  `json:"error,omitempty"`
}

// Endpoints is the part of the Backend about endpoints. ifMatch is the version that a change is for; 0 is any.
type Endpoints interface {
	// CreateEndpoint returns the secret, which is not shown again.
	CreateEndpoint(ctx context.Context, c Caller, e NewEndpoint) (Endpoint, string, error)
	Endpoint(ctx context.Context, c Caller, id string) (Endpoint, error)
	// ListEndpoints is ordered by id; tenant, if set, keeps out others.
	ListEndpoints(ctx context.Context, c Caller, tenant string, p Page) ([]Endpoint, string, error)
	UpdateEndpoint(ctx context.Context, c Caller, id string, ifMatch uint64, ch EndpointChange) (Endpoint, error)
	// DeleteEndpoint also forgets what waited for it.
	DeleteEndpoint(ctx context.Context, c Caller, id string, ifMatch uint64) error
	// PauseEndpoint returns when no request is in flight any more, or ctx ends; the endpoint is paused either way.
	PauseEndpoint(ctx context.Context, c Caller, id, reason string) (Endpoint, error)
	// ResumeEndpoint also enables one that was disabled.
	ResumeEndpoint(ctx context.Context, c Caller, id string) (Endpoint, error)
	// RotateSecret signs with both until overlap has passed. secret may be empty: then one is made.
	RotateSecret(ctx context.Context, c Caller, id string, ifMatch uint64, secret string, overlap time.Duration) (Endpoint, string, error)
	// TestEndpoint sends one event of the type rowhook.test, or of the given type with made-up values, and waits for the answer.
	TestEndpoint(ctx context.Context, c Caller, id, eventType string) (TestResult, error)
	// EndpointAttempts is newest first.
	EndpointAttempts(ctx context.Context, c Caller, id string, p Page) ([]Attempt, string, error)
	// EndpointExceptions lists what waits or is parked, by source, seq and type; state is "waiting", "behind", "parked" or empty for all.
	EndpointExceptions(ctx context.Context, c Caller, id, state string, p Page) ([]Exception, string, error)
}

// Subscription says which events an endpoint gets.
type Subscription struct {
	ID          string   `json:"id" doc:"sub_… for one that the API made, endpoint/name for a declared one"`
	Declared    bool     `json:"declared"`
	Endpoint    string   `json:"endpoint"`
	Description string   `json:"description,omitempty"`
	Types       []string `json:"types"`
	Subject     string   `json:"subject,omitempty"`
	Paused      bool     `json:"paused"`
	// Starts say, for each source, the seq after which this version begins.
	Starts    []Start   `json:"starts"`
	Version   uint64    `json:"version"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	UpdatedAt time.Time `json:"updated_at,omitzero"`
}

// Start is where a subscription begins in one source.
type Start struct {
	Source string `json:"source"`
	Seq    uint64 `json:"seq"`
	// Backfilling is set while events are still sent that the endpoint had passed when the subscription was made.
	Backfilling bool `json:"backfilling,omitempty"`
}

// From says where a new subscription begins; all zero is now.
type From struct {
	Time *time.Time
	// Earliest is the oldest change that the log still has.
	Earliest bool
	// Seqs by source.
	Seqs map[string]uint64
}

// NewSubscription makes a subscription.
type NewSubscription struct {
	Endpoint, Description string
	Types                 []string
	Subject               string
	From                  From
}

// SubscriptionChange changes what is not nil.
type SubscriptionChange struct {
	Description *string
	Types       *[]string
	Subject     *string
}

// Subscriptions is the part of the Backend about subscriptions.
type Subscriptions interface {
	CreateSubscription(ctx context.Context, c Caller, s NewSubscription) (Subscription, error)
	Subscription(ctx context.Context, c Caller, id string) (Subscription, error)
	// ListSubscriptions is ordered by id; endpoint, if set, keeps out others.
	ListSubscriptions(ctx context.Context, c Caller, endpoint string, p Page) ([]Subscription, string, error)
	UpdateSubscription(ctx context.Context, c Caller, id string, ifMatch uint64, ch SubscriptionChange) (Subscription, error)
	DeleteSubscription(ctx context.Context, c Caller, id string, ifMatch uint64) error
	// PauseSubscription holds back what commits from now on; ResumeSubscription sends it after all.
	PauseSubscription(ctx context.Context, c Caller, id string) (Subscription, error)
	ResumeSubscription(ctx context.Context, c Caller, id string) (Subscription, error)
}

// Attempt is one request of one event.
type Attempt struct {
	EventID    string    `json:"event_id"`
	Endpoint   string    `json:"endpoint"`
	Source     string    `json:"source"`
	Seq        uint64    `json:"seq"`
	Type       string    `json:"type"`
	Attempt    uint32    `json:"attempt"`
	Epoch      uint64    `json:"epoch"`
	StartedAt  time.Time `json:"started_at"`
	DurationMS float64   `json:"duration_ms"`
	Status     int       `json:"status,omitempty"`
	Outcome    string    `json:"outcome"`
	Cause      string    `json:"cause,omitempty"`
	Error      string    `json:"error,omitempty"`
	BodySHA256 string    `json:"body_sha256,omitempty"`
}

// Exception is an event that waits or is parked.
type Exception struct {
	EventID     string     `json:"event_id"`
	Endpoint    string     `json:"endpoint"`
	Source      string     `json:"source"`
	Seq         uint64     `json:"seq"`
	Type        string     `json:"type"`
	State       string     `json:"state"`
	Attempts    uint32     `json:"attempts"`
	NextAttempt *time.Time `json:"next_attempt,omitempty"`
	CommittedAt time.Time  `json:"committed_at"`
	Reason      string     `json:"reason,omitempty"`
}

// Event is an event with where it came from and where it went.
type Event struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	Source  string `json:"source"`
	Seq     uint64 `json:"seq"`
	Subject string `json:"subject,omitempty"`
	Tenant  string `json:"tenant,omitempty"`
	// Payload is the body that endpoints get; empty if the log does not hold the change any more.
	Payload    RawJSON     `json:"payload,omitempty"`
	Expired    bool        `json:"expired,omitempty" doc:"retention has removed the change from the log"`
	Attempts   []Attempt   `json:"attempts"`
	Exceptions []Exception `json:"exceptions"`
}

// TailFilter says which events a tail is about. Patterns are as in subscriptions; empty is any.
type TailFilter struct {
	Types   []string
	Subject string
	Tenant  string
	Source  string
	// From is where it begins; all zero is now.
	From From
}

// TailEvent is one event of a tail.
type TailEvent struct {
	ID      string  `json:"id"`
	Type    string  `json:"type"`
	Source  string  `json:"source"`
	Seq     uint64  `json:"seq"`
	Payload RawJSON `json:"payload"`
}

// Events is the part of the Backend about events.
type Events interface {
	Event(ctx context.Context, c Caller, id string) (Event, error)
	// EventAttempts is oldest first.
	EventAttempts(ctx context.Context, c Caller, id string, p Page) ([]Attempt, string, error)
	// Tail calls f with each event until ctx ends or f fails; heartbeat asks for a call with nil at least every 15 s. Nothing
	// remembers how far a tail has come.
	Tail(ctx context.Context, c Caller, filter TailFilter, f func(*TailEvent) error) error
	// Trigger sends an event of the type with made-up values to every endpoint whose subscriptions match it, marked as a test, and
	// returns what came of each.
	Trigger(ctx context.Context, c Caller, eventType string) ([]TriggerResult, error)
}

// TriggerResult is what came of a triggered event at one endpoint.
type TriggerResult struct {
	Endpoint string `json:"endpoint"`
	TestResult
}

// Source is a followed server.
type Source struct {
	Name string `json:"name"`
	// State is "running", "reconnecting" or "stopped".
	State      string     `json:"state"`
	Error      *Reason    `json:"error,omitempty" doc:"why it stopped, or what the last connection ended with"`
	Address    string     `json:"address"`
	Tables     []string   `json:"tables"`
	NextSeq    uint64     `json:"next_seq" doc:"seq of the next change"`
	LiveSeq    uint64     `json:"live_seq" doc:"how far delivery has read"`
	GTIDSet    string     `json:"gtid_set,omitempty"`
	File       string     `json:"file,omitempty"`
	Offset     uint64     `json:"offset,omitempty"`
	Generation uint32     `json:"generation"`
	LastHeard  *time.Time `json:"last_heard,omitempty"`
	CommitTime *time.Time `json:"commit_time,omitempty" doc:"commit time of the last change in the log"`
	Lagging    int64      `json:"lagging_endpoints"`
	Delivered  int64      `json:"delivered" doc:"since the start of the process"`
	Failed     int64      `json:"failed"`
	Parked     int64      `json:"parked"`
	Gaps       []Gap      `json:"gaps,omitempty" doc:"transactions that were given up, oldest first"`
}

// Gap is a transaction that an operator gave up: its changes are not in the log.
type Gap struct {
	GTID     string    `json:"gtid,omitempty"`
	Position string    `json:"position" doc:"where it begins in the binlog: file:offset"`
	Seq      uint64    `json:"seq" doc:"the next of the log when it stopped; the gap is there, or shortly behind"`
	Code     string    `json:"code" doc:"of the stop"`
	Reason   string    `json:"reason"`
	By       string    `json:"by" doc:"the id of the key, or the socket"`
	At       time.Time `json:"at"`
}

// NewGap names the transaction to give up, by its GTID, or by its place where it has none.
type NewGap struct {
	GTID, Position, Reason string
}

// Reason is an error as people get it.
type Reason struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// EventType is an event type that is in force.
type EventType struct {
	Name    string            `json:"name"`
	Table   string            `json:"table"`
	On      []string          `json:"on"`
	Columns []string          `json:"columns,omitempty"`
	When    string            `json:"when,omitempty"`
	Subject string            `json:"subject,omitempty"`
	Tenant  string            `json:"tenant,omitempty"`
	Key     []string          `json:"key,omitempty"`
	Data    []string          `json:"data"`
	Mask    map[string]string `json:"mask,omitempty"`
}

// Status is the process at a glance.
type Status struct {
	Version       string    `json:"version"`
	StartedAt     time.Time `json:"started_at"`
	TypesVersion  uint64    `json:"types_version"`
	Endpoints     int       `json:"endpoints"`
	Subscriptions int       `json:"subscriptions"`
	ResidentBytes int64     `json:"resident_bytes"`
	Sources       []Source  `json:"sources"`
	// Reload is the last one; nil if there was none.
	Reload *Reload `json:"reload,omitempty"`
}

// Reload is what came of reading the configuration again.
type Reload struct {
	At time.Time `json:"at"`
	// Error says why everything stayed as it was.
	Error        *Reason  `json:"error,omitempty"`
	Changed      []string `json:"changed" doc:"what is different now"`
	TypesVersion uint64   `json:"types_version"`
	Starts       []Start  `json:"starts,omitempty" doc:"the seqs after which new types are in force"`
}

// Tenant is a tenant that something here belongs to.
type Tenant struct {
	ID        string `json:"id"`
	Endpoints int    `json:"endpoints"`
	Keys      int    `json:"keys"`
}

// Operations is the part of the Backend about the process.
type Operations interface {
	Status(ctx context.Context, c Caller) (Status, error)
	Sources(ctx context.Context, c Caller) ([]Source, error)
	Source(ctx context.Context, c Caller, name string) (Source, error)
	// StartSource follows a stopped source again.
	StartSource(ctx context.Context, c Caller, name string) (Source, error)
	// StopSource stops following; delivery of what is in the log goes on.
	StopSource(ctx context.Context, c Caller, name string) (Source, error)
	// SkipSource gives up the transaction that a source stopped at, and follows it again.
	SkipSource(ctx context.Context, c Caller, name string, g NewGap) (Source, error)
	EventTypes(ctx context.Context, c Caller) ([]EventType, error)
	EventType(ctx context.Context, c Caller, name string) (EventType, error)
	Tenants(ctx context.Context, c Caller, p Page) ([]Tenant, string, error)
	// Reload reads the configuration and the files of types again. A file with a mistake leaves everything as it was.
	Reload(ctx context.Context, c Caller) (Reload, error)
	// Backup writes a tar archive of the store and the logs.
	Backup(ctx context.Context, c Caller, w io.Writer) error
}

// Key is an API key without its secret.
type Key struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Scope      Scope      `json:"scope"`
	Tenant     string     `json:"tenant,omitempty"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty"`
}

// NewKey makes a key.
type NewKey struct {
	Name   string
	Scope  Scope
	Tenant string
	// ExpiresAt zero is never.
	ExpiresAt time.Time
}

// Keys is the part of the Backend about API keys, and remembers answers to requests that may be repeated.
type Keys interface {
	// Authenticate returns who the key belongs to; false if it is unknown or has expired.
	Authenticate(ctx context.Context, key string) (Caller, bool, error)
	// CreateKey returns the key itself, which is not shown again.
	CreateKey(ctx context.Context, c Caller, k NewKey) (Key, string, error)
	ListKeys(ctx context.Context, c Caller, p Page) ([]Key, string, error)
	DeleteKey(ctx context.Context, c Caller, id string) error

	// BeginIdempotent notes that a request with this Idempotency-Key is being worked on. If there was one before, it returns its
	// answer (Status 0: it is still being worked on) and whether it was the same request.
	BeginIdempotent(ctx context.Context, c Caller, key string, request [32]byte) (answer *StoredAnswer, same bool, err error)
	// FinishIdempotent keeps the answer for 24 h; a nil answer forgets the request, so that it may be tried again.
	FinishIdempotent(ctx context.Context, c Caller, key string, a *StoredAnswer) error
}

// StoredAnswer is an answer as it was given the first time.
type StoredAnswer struct {
	Status  int
	Headers map[string]string
	Body    []byte
}

// RawJSON is a JSON document as it stands.
type RawJSON []byte

// MarshalJSON returns it.
func (r RawJSON) MarshalJSON() ([]byte, error) {
	if len(r) == 0 {
		return []byte("null"), nil
	}
	return r, nil
}

// UnmarshalJSON keeps a copy.
func (r *RawJSON) UnmarshalJSON(b []byte) error {
	*r = append((*r)[:0], b...)
	return nil
}

// Problem is an error that the caller can do something about: RFC 9457.
type Problem struct {
	Status int `json:"status"`
	// Code is a short stable word, such as "not_found"; the type URI ends with it.
	Code   string `json:"code"`
	Detail string `json:"detail"`
	// Hint says what to do next.
	Hint string `json:"hint,omitempty"`
	// Fields name what is wrong with the request.
	Fields []FieldProblem `json:"errors,omitempty"`
	// RequestID is set by the Client: the log of the process has it.
	RequestID string `json:"-"`
}

// FieldProblem is what is wrong with one field.
type FieldProblem struct {
	// Location as in "body.url" or "query.limit".
	Location string `json:"location"`
	Message  string `json:"message"`
}

func (p *Problem) Error() string { return p.Code + ": " + p.Detail }
