package deliver

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Poster sends a request and reads its answer. It may be called by many goroutines at once.
type Poster interface {
	// Post fails if there was no whole head of an answer by the deadline or before ctx ended.
	Post(ctx context.Context, to *Target, r *Request, deadline time.Time) (Answer, error)
}

// Request is a POST as it goes over the wire.
type Request struct {
	// Head ends with the empty line; Body follows it.
	Head, Body []byte
}

// Answer is the part of an answer that says something to a sender. Its body was read and thrown away.
type Answer struct {
	Status     int
	RetryAfter string
	// Cut says that the body ended early, or was longer than anybody reads.
	Cut error
}

// Target is where requests of a URL go.
type Target struct {
	scheme string
	// addr is host:port as it is dialled, host as the request names it.
	addr, host string
	// uri is path and query.
	uri string
	// name is what the server's certificate must be for.
	name string
}

// newTarget takes a URL that the guard has let through.
func newTarget(u *url.URL) *Target {
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	return &Target{scheme: u.Scheme, addr: net.JoinHostPort(u.Hostname(), port), host: strings.TrimSuffix(u.Host, ":"), uri: u.RequestURI(), name: u.Hostname()}
}

const (
	// tlsHandshakeTimeout bounds a handshake beside the attempt's own deadline.
	tlsHandshakeTimeout = 5 * time.Second
	// idleConnTimeout is how long an unused connection is kept.
	idleConnTimeout = 60 * time.Second
	// defaultIdle and defaultIdlePerTarget are how many unused connections are kept, in all and for one host and port.
	defaultIdle          = 4096
	defaultIdlePerTarget = 64
)

// ClientOptions of a Client; zero values mean the defaults.
type ClientOptions struct {
	// MaxIdlePerTarget is how many unused connections are kept for one host and port; 0 means 64.
	MaxIdlePerTarget int
	// TLS is cloned; nil means the system's roots and TLS 1.2 or later.
	TLS *tls.Config
}

// Client is a Poster over HTTP/1.1 that keeps connections. It connects through the guard alone and uses no proxy, follows no redirect,
// keeps no cookies and asks for no compression. The goroutine that posts writes and reads by itself: a connection that is not in use
// has no goroutine, which is what makes it cheap beside net/http's.
type Client struct {
	egress  *Egress
	tls     *tls.Config
	perHost int

	mu    sync.Mutex
	idle  map[poolKey][]*conn // the last one was used last
	kept  int
	sweep *time.Timer
}

type poolKey struct{ scheme, addr string }

// NewClient returns a client that connects through the guard.
func NewClient(e *Egress, o ClientOptions) *Client {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.TLS != nil {
		cfg = o.TLS.Clone()
	}
	cfg.NextProtos = []string{"http/1.1"}
	if cfg.ClientSessionCache == nil {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	return &Client{egress: e, tls: cfg, perHost: cmp.Or(o.MaxIdlePerTarget, defaultIdlePerTarget), idle: map[poolKey][]*conn{}}
}

// Post sends r on a kept connection, or on a new one. A request is never sent twice: a kept connection is looked at before it is used,
// and if it breaks after that nobody knows whether the request arrived.
func (c *Client) Post(ctx context.Context, to *Target, r *Request, deadline time.Time) (Answer, error) {
	if err := c.egress.checkScheme(to.scheme); err != nil {
		return Answer{}, err
	}
	cn := c.take(to)
	if cn == nil {
		var err error
		if cn, err = c.dial(ctx, to, deadline); err != nil {
			return Answer{}, err
		}
	}
	if err := cn.SetDeadline(deadline); err != nil {
		return Answer{}, errors.Join(fmt.Errorf("set the deadline of the request: %w", err), cn.Close())
	}
	// The end of ctx breaks the connection off, whatever it waits for.
	stop := context.AfterFunc(ctx, func() { _ = cn.SetDeadline(time.Unix(1, 0)) })
	a, keep, err := cn.roundTrip(r)
	if !stop() || !keep {
		_ = cn.Close() // it has served
	} else {
		c.keep(to, cn)
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return a, err
}

func (c *Client) dial(ctx context.Context, to *Target, deadline time.Time) (*conn, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	raw, err := c.egress.DialContext(ctx, "tcp", to.addr)
	if err != nil || to.scheme != "https" {
		return newConn(raw, raw), err
	}
	cfg := c.tls.Clone()
	cfg.ServerName = cmp.Or(cfg.ServerName, to.name)
	secure := tls.Client(raw, cfg)
	ctx, cancel = context.WithTimeout(ctx, tlsHandshakeTimeout)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return newConn(secure, raw), nil
}

// take returns a kept connection that still stands, or nil.
func (c *Client) take(to *Target) *conn {
	key := poolKey{to.scheme, to.addr}
	for {
		c.mu.Lock()
		all := c.idle[key]
		if len(all) == 0 {
			c.mu.Unlock()
			return nil
		}
		cn := all[len(all)-1]
		all[len(all)-1] = nil
		c.set(key, all[:len(all)-1])
		c.mu.Unlock()
		if cn.stands() {
			return cn
		}
		_ = cn.Close() // the other side has closed it
	}
}

// set replaces what is kept for a key; the caller holds the mutex.
func (c *Client) set(key poolKey, all []*conn) {
	c.kept += len(all) - len(c.idle[key])
	if len(all) == 0 {
		delete(c.idle, key)
		return
	}
	c.idle[key] = all
}

func (c *Client) keep(to *Target, cn *conn) {
	key := poolKey{to.scheme, to.addr}
	cn.since = time.Now()
	c.mu.Lock()
	full := len(c.idle[key]) >= c.perHost || c.kept >= defaultIdle
	if !full {
		c.set(key, append(c.idle[key], cn))
		if c.sweep == nil {
			c.sweep = time.AfterFunc(idleConnTimeout, c.sweepIdle)
		}
	}
	c.mu.Unlock()
	if full {
		_ = cn.Close() // there are enough
	}
}

// sweepIdle closes what was not used for long, and comes again as long as anything is kept.
func (c *Client) sweepIdle() {
	old := time.Now().Add(-idleConnTimeout)
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, all := range c.idle {
		n := 0
		for n < len(all) && all[n].since.Before(old) {
			_ = all[n].Close() // nobody waits for it
			n++
		}
		c.set(key, append([]*conn(nil), all[n:]...))
	}
	c.sweep = nil
	if c.kept > 0 {
		c.sweep = time.AfterFunc(idleConnTimeout/2, c.sweepIdle)
	}
}

// CloseIdleConnections closes what is not in use.
func (c *Client) CloseIdleConnections() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sweep != nil {
		c.sweep.Stop()
		c.sweep = nil
	}
	for key, all := range c.idle {
		for _, cn := range all {
			_ = cn.Close() // nobody waits for it
		}
		c.set(key, nil)
	}
}
