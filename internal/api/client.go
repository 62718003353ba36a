package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// The deadlines of a client. A request has more time than the server takes for the slowest answer.
const (
	dialTimeout   = 5 * time.Second
	clientTimeout = slowTimeout + 10*time.Second
	// quietTimeout is how long a tail may say nothing: three heartbeats and more.
	quietTimeout = 45 * time.Second
	// backupTimeout is how long a backup may take to copy the store before its next byte.
	backupTimeout = 10 * time.Minute
	// maxAnswer bounds what is read of an answer, in bytes; an event with a large payload is the largest.
	maxAnswer = 256 << 20
)

// ErrNotRunning is wrapped by errors of a Client whose socket nobody answers on.
var ErrNotRunning = errors.New("no Rowhook runs on this data folder")

// ErrEnded is returned by Tail when the server has ended the stream, as it does when it stops.
var ErrEnded = errors.New("the server has ended the stream")

// ClientOptions say which process a Client talks to: the one on a socket, or the one at a URL with a key.
type ClientOptions struct {
	// Socket is the path of the process's Unix socket.
	Socket string
	// Server is the URL of a process elsewhere, such as https://rowhook.example.com; http only to the machine itself.
	Server string
	// AllowHTTP lets Server be http anywhere: the key is then sent in clear.
	AllowHTTP bool
	// Key is the API key for Server.
	Key string
	// UserAgent, if set, is sent as such.
	UserAgent string
}

// Client asks a running process. It is safe for concurrent use. Errors that the process answers with are *Problem.
type Client struct {
	base      string
	key       string
	userAgent string
	socket    string
	http      *http.Client
}

// NewClient returns a client. It does not connect.
func NewClient(o ClientOptions) (*Client, error) {
	if (o.Socket == "") == (o.Server == "") {
		return nil, errors.New("a client has a socket or a server, and not both")
	}
	c := &Client{key: o.Key, userAgent: o.UserAgent, socket: o.Socket, base: "http://rowhook"}
	dialer := &net.Dialer{Timeout: dialTimeout}
	transport := &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: dialTimeout, IdleConnTimeout: 30 * time.Second, ForceAttemptHTTP2: true,
		MaxResponseHeaderBytes: maxHeaderBytes, Proxy: http.ProxyFromEnvironment,
	}
	if o.Socket != "" {
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", o.Socket)
		}
	} else {
		base, err := serverURL(o)
		if err != nil {
			return nil, err
		}
		c.base = base
	}
	c.http = &http.Client{
		Transport: transport,
		// The API never redirects; whoever does would get the key.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// serverURL checks the URL of a server and its key.
func serverURL(o ClientOptions) (string, error) {
	u, err := url.Parse(o.Server)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return "", fmt.Errorf("the server %q is not a URL such as https://rowhook.example.com", redacted(o.Server))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("the server %s has more than a host and a path: the key goes into its own option", u.Host)
	case u.Scheme == "http" && !o.AllowHTTP && !loopback(u.Hostname()):
		return "", fmt.Errorf("the server %s is asked without TLS, which would show the key to everyone on the way: use https", u.Host)
	case o.Key == "":
		return "", fmt.Errorf("the server %s needs a key: make one there with rowhook key create", u.Host)
	}
	if _, ok := bearer([]string{"Bearer " + o.Key}); !ok {
		return "", fmt.Errorf("the key for %s does not look like %s and letters", u.Host, keyPrefix)
	}
	return strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"), nil
}

// redacted takes what may be a password out of a text that is no URL.
func redacted(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "…" + s[i:]
	}
	return s
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// call is one request.
type call struct {
	method, path string
	query        url.Values
	body         any
	ifMatch      uint64
	// key makes a request repeatable.
	key string
}

// do sends a request and reads the answer into out, unless that is nil.
func (c *Client) do(ctx context.Context, q call, out any) error {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	resp, err := c.send(ctx, q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.name(), err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("the answer of %s to %s %s is not what this version expects: %w", c.name(), q.method, q.path, err)
	}
	return nil
}

// send returns the answer to a request, if it is a success.
func (c *Client) send(ctx context.Context, q call) (*http.Response, error) {
	r, err := c.request(ctx, q)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.refused(resp)
}

func (c *Client) request(ctx context.Context, q call) (*http.Request, error) {
	var body io.Reader
	if q.body != nil {
		b, err := json.Marshal(q.body)
		if err != nil {
			return nil, fmt.Errorf("write the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	target := c.base + q.path
	if len(q.query) > 0 {
		target += "?" + q.query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, q.method, target, body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if body != nil {
		r.Header.Set("Content-Type", jsonMediaType)
	}
	if c.key != "" {
		r.Header.Set("Authorization", "Bearer "+c.key)
	}
	if c.userAgent != "" {
		r.Header.Set("User-Agent", c.userAgent)
	}
	if q.ifMatch != 0 {
		r.Header.Set("If-Match", etag(q.ifMatch))
	}
	if q.key != "" {
		r.Header.Set(headerIdempotencyKey, q.key)
	}
	return r, nil
}

// refused reads the Problem of an answer.
func (c *Client) refused(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var p Problem
	if err != nil || json.Unmarshal(body, &p) != nil || p.Code == "" {
		return &Problem{
			Status: resp.StatusCode, Code: "not_rowhook", Detail: fmt.Sprintf("%s answered %s, and not as Rowhook does", c.name(), resp.Status),
			Hint: "check the address: it may be that of a proxy, or of something else",
		}
	}
	p.Status = resp.StatusCode
	p.RequestID = resp.Header.Get("X-Request-Id")
	return &p
}

// unreachable says what a failed connection means.
func (c *Client) unreachable(err error) error {
	if c.socket != "" && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)) {
		return fmt.Errorf("%w: nobody answers on %s; start it with: rowhook serve", ErrNotRunning, c.socket)
	}
	var outer *url.Error // its text has the whole URL
	if errors.As(err, &outer) {
		err = outer.Err
	}
	return &UnreachableError{Process: c.name(), Err: err}
}

// UnreachableError says that a process could not be asked.
type UnreachableError struct {
	// Process is the socket's path, or the server's URL.
	Process string
	Err     error
}

func (e *UnreachableError) Error() string { return "ask " + e.Process + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// name is what a person calls the process.
func (c *Client) name() string {
	if c.socket != "" {
		return c.socket
	}
	return c.base
}
