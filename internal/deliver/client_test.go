package deliver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rowhook/rowhook/webhook"
)

// poster is a client and a target that it posts to.
type poster struct {
	t      *testing.T
	client *Client
	ep     *Endpoint
}

func newPoster(t *testing.T, url string, cfg *tls.Config) *poster {
	t.Helper()
	egress := newTestEgress(t, EgressPolicy{AllowHTTP: true, AllowCIDRs: prefixes("127.0.0.0/8")})
	ep, err := NewEndpoint(EndpointConfig{Name: "a", URL: url, Secrets: []webhook.Secret{webhook.NewSecret()}, UserAgent: "Rowhook/test"}, egress)
	if err != nil {
		t.Fatal(err)
	}
	p := &poster{t, NewClient(egress, ClientOptions{TLS: cfg}), ep}
	t.Cleanup(p.client.CloseIdleConnections)
	return p
}

func (p *poster) post(body string) (Answer, error) { return p.postWithin(10*time.Second, body) }

func (p *poster) postWithin(d time.Duration, body string) (Answer, error) {
	return p.client.Post(p.t.Context(), p.ep.target, p.ep.request(&item{id: "evt_1", body: []byte(body)}, time.Now()), time.Now().Add(d))
}

// What arrives is what a server of HTTP/1.1 understands, and what the sender wrote; connections are kept over every kind of answer.
func TestClientAgainstNetHTTP(t *testing.T) {
	t.Parallel()
	for name, secure := range map[string]bool{"http": false, "https": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var connections atomic.Int64
			var bodies sync.Map
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil || r.Proto != "HTTP/1.1" || r.Header.Get("Accept-Encoding") != "" || r.RequestURI != "/a%20b?c=d" ||
					r.UserAgent() != "Rowhook/test" || r.Header.Get("Webhook-Id") != "evt_1" || r.Header.Get("Rowhook-Attempt") != "1" {
					t.Errorf("%v: got %s %s %v", err, r.Proto, r.RequestURI, r.Header)
				}
				bodies.Store(string(body), true)
				switch len(body) % 4 {
				case 0:
					w.WriteHeader(http.StatusNoContent)
				case 1:
					_, _ = io.WriteString(w, strings.Repeat("x", 10_000)) // in chunks
				case 2:
					w.WriteHeader(http.StatusEarlyHints)
					w.WriteHeader(http.StatusAccepted)
				case 3:
					w.Header().Set("Retry-After", "7")
					w.Header().Set("Trailer", "X-Sum")
					w.WriteHeader(http.StatusServiceUnavailable)
					_ = http.NewResponseController(w).Flush()
					w.Header().Set("X-Sum", "1")
				}
			}))
			server.EnableHTTP2 = true
			server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					connections.Add(1)
				}
			}
			if secure {
				server.StartTLS()
			} else {
				server.Start()
			}
			t.Cleanup(server.Close)
			var cfg *tls.Config
			if secure {
				cfg = server.Client().Transport.(*http.Transport).TLSClientConfig
			}
			p := newPoster(t, server.URL+"/a%20b?c=d", cfg)
			want := []Answer{{Status: 204}, {Status: 200}, {Status: 202}, {Status: 503, RetryAfter: "7"}}
			for _, size := range []int{0, 1, 2, 3, 5000, joinBody + 1, 1 << 20} {
				body := strings.Repeat("b", size)
				if a, err := p.post(body); err != nil || a != want[size%4] {
					t.Errorf("%d bytes: %+v, %v", size, a, err)
				}
				if _, ok := bodies.Load(body); !ok {
					t.Errorf("%d bytes did not arrive", size)
				}
			}
			if n := connections.Load(); n != 1 {
				t.Errorf("%d connections for requests one after another", n)
			}
		})
	}
}

func TestClientGuards(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	t.Cleanup(server.Close)
	p := newPoster(t, server.URL, nil)
	if out := (&Engine{sendCtx: t.Context()}).failure(second(p.post("x"))); out.code != "tls" {
		t.Errorf("an unknown authority: %+v", out)
	}
	// The policy of the client counts, whatever let the URL in.
	p.client = NewClient(newTestEgress(t, EgressPolicy{}), ClientOptions{})
	if _, err := p.post("x"); !errors.Is(err, ErrEgressBlocked) {
		t.Errorf("a receiver on this machine: %v", err)
	}
	p.ep.target.scheme = "http"
	if _, err := p.post("x"); !errors.Is(err, ErrEgressBlocked) {
		t.Errorf("plain http: %v", err)
	}
	if hits.Load() != 0 {
		t.Errorf("%d requests came", hits.Load())
	}
}

// A URL may carry a token, and attempts are read by people.
func TestAttemptsDoNotHoldTheURL(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	p := newPoster(t, server.URL+"/hook?token=secret", nil)
	for _, answer := range []string{".", "HTTP/1.1 nonsense\r\n\r\n"} {
		q := script(t, answer)
		q.ep.target.uri = p.ep.target.uri
		if out := (&Engine{sendCtx: t.Context()}).failure(second(q.post("x"))); out.err == "" || strings.Contains(out.err, "token") {
			t.Errorf("%+v", out)
		}
	}
	if out := (&Engine{sendCtx: t.Context()}).failure(second(p.post("x"))); out.code != "refused" || strings.Contains(out.err, "token") {
		t.Errorf("%+v", out)
	}
}

func second(_ Answer, err error) error { return err }

// script answers each connection with a text, whatever is asked, and closes it if the text ends with a full stop.
func script(t *testing.T, answers ...string) *poster {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var open sync.Map
	running.Go(func() {
		for _, a := range answers {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(c, true)
			running.Go(func() {
				r := bufio.NewReader(c)
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					text, ends := strings.CutSuffix(a, ".")
					_, _ = io.WriteString(c, text)
					if ends {
						_ = c.Close()
						return
					}
				}
			})
		}
	})
	p := newPoster(t, "http://"+l.Addr().String(), nil)
	t.Cleanup(func() {
		_ = l.Close()
		open.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		running.Wait()
	})
	return p
}

func TestClientAnswers(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxResponseHead)
	for name, c := range map[string]struct {
		answer string
		want   Answer
		fails  string
		keeps  bool
	}{
		"with a length":       {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", Answer{Status: 200}, "", true},
		"without a reason":    {"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", Answer{Status: 200}, "", true},
		"bare line ends":      {"HTTP/1.1 410 Gone\nContent-Length: 0\n\n", Answer{Status: 410}, "", true},
		"chunks and trailers": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n", Answer{Status: 200}, "", true},
		"interim":             {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", Answer{Status: 204}, "", true},
		"asked to close":      {"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n", Answer{Status: 200}, "", false},
		"until its end":       {"HTTP/1.1 200 OK\r\n\r\nabc.", Answer{Status: 200}, "", false},
		"HTTP/1.0":            {"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", Answer{Status: 200}, "", false},
		"long body":           {"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabc", Answer{Status: 200}, "", false},
		"retry after":         {"HTTP/1.1 429 Slow\r\nRETRY-AFTER:  12 \r\nContent-Length: 0\r\n\r\n", Answer{Status: 429, RetryAfter: "12"}, "", true},
		"body cut off":        {"HTTP/1.1 500 Oh\r\nContent-Length: 10\r\n\r\nabc.", Answer{Status: 500, Cut: io.ErrUnexpectedEOF}, "", false},
		"chunks cut off":      {"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc.", Answer{Status: 500, Cut: io.ErrUnexpectedEOF}, "", false},
		"nothing":             {".", Answer{}, "EOF", false},
		"head cut off":        {"HTTP/1.1 200 OK\r\nContent-Le.", Answer{}, "unexpected EOF", false},
		"not HTTP":            {"SSH-2.0-OpenSSH_9.2\r\n", Answer{}, "malformed", false},
		"HTTP/2":              {"HTTP/2.0 200 OK\r\n\r\n", Answer{}, "malformed", false},
		"status of letters":   {"HTTP/1.1 2xx OK\r\n\r\n", Answer{}, "malformed", false},
		"status with a sign":  {"HTTP/1.1 +20 OK\r\n\r\n", Answer{}, "malformed", false},
		"long status":         {"HTTP/1.1 2000 OK\r\n\r\n", Answer{}, "malformed", false},
		"long line":           {"HTTP/1.1 200 OK\r\nX: " + long + "\r\n\r\n", Answer{}, "longer than", false},
		"many lines":          {"HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", maxResponseHead/6+1) + "\r\n", Answer{}, "longer than", false},
		"no name":             {"HTTP/1.1 200 OK\r\n: b\r\n\r\n", Answer{}, "malformed", false},
		"folded":              {"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Answer{}, "malformed", false},
		"two lengths":         {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", Answer{}, "Content-Length", false},
		"negative length":     {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Answer{}, "Content-Length", false},
		"unknown encoding":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Answer{}, "Transfer-Encoding", false},
		"switching protocols": {"HTTP/1.1 101 Switching Protocols\r\n\r\n", Answer{}, "101", false},
		"endless interim":     {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", maxInterim+2), Answer{}, "100", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := script(t, c.answer)
			a, err := p.post("x")
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("got %+v and error %v, want one with %q", a, err, c.fails)
				}
			} else if err != nil || a != c.want {
				t.Errorf("got %+v and error %v, want %+v", a, err, c.want)
			}
			if keeps := p.client.kept == 1; keeps != c.keeps {
				t.Errorf("the connection is kept: %v, want %v", keeps, c.keeps)
			}
		})
	}
}

// A kept connection that the server closed meanwhile, or talks on unasked, is not used.
func TestClientLooksBeforeItUses(t *testing.T) {
	t.Parallel()
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	for name, first := range map[string]string{"closed": ok + ".", "unasked": ok + "HTTP/1.1 408 Request Timeout\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := script(t, first, ok)
			if a, err := p.post("x"); err != nil || a.Status != 200 {
				t.Fatalf("%+v, %v", a, err)
			}
			// As if it had lain unused for long; what the server did has arrived by then.
			p.client.mu.Lock()
			for _, all := range p.client.idle {
				for _, c := range all {
					c.since = time.Now().Add(-time.Second)
					_ = c.raw.SetReadDeadline(time.Now().Add(time.Second))
					var one [1]byte
					if rc, err := c.raw.(*net.TCPConn).SyscallConn(); err == nil {
						_ = rc.Read(func(fd uintptr) bool { return peeked(fd, one[:]) })
					}
				}
			}
			p.client.mu.Unlock()
			if a, err := p.post("y"); err != nil || a.Status != 200 {
				t.Errorf("the second: %+v, %v", a, err)
			}
		})
	}
}

// The deadline holds in every phase, and the end of the process breaks off at once.
func TestClientDeadline(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{"silence": "", "half a head": "HTTP/1.1 200 OK\r\nX", "half a body": "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := script(t, answer)
			a, err := p.postWithin(200*time.Millisecond, "x")
			if err == nil {
				err = a.Cut
			}
			if !isTimeout(err) {
				t.Errorf("got %v, want a timeout", err)
			}
		})
	}
	p := script(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err := p.client.Post(ctx, p.ep.target, p.ep.request(&item{id: "evt_1"}, time.Now()), time.Now().Add(time.Minute))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end", err)
	}
}

// Many at once share connections, and each gets its own answer.
func TestClientManyAtOnce(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("Retry-After", fmt.Sprint(n))
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	t.Cleanup(server.Close)
	p := newPoster(t, server.URL, nil)
	var wg sync.WaitGroup
	for n := range 32 {
		wg.Go(func() {
			for i := range 50 {
				size := n*50 + i
				if a, err := p.post(strings.Repeat("x", size)); err != nil || a.RetryAfter != fmt.Sprint(size) {
					t.Errorf("%d bytes: %+v, %v", size, a, err)
				}
			}
		})
	}
	wg.Wait()
	if p.client.kept > 32 {
		t.Errorf("%d connections are kept", p.client.kept)
	}
	p.client.sweepIdle()
	p.client.CloseIdleConnections()
	if p.client.kept != 0 || len(p.client.idle) != 0 {
		t.Errorf("%d connections are kept after all were closed", p.client.kept)
	}
}

// FuzzAnswer: whatever a server says, the client ends, keeps within its bounds, and takes for an answer only what net/http does too.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 204 X\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := newConn(readOnly{bytes.NewReader(raw)}, nil)
		a, keep, err := c.roundTrip(&Request{})
		if err != nil {
			return
		}
		if a.Status < 200 || a.Status > 999 || keep && a.Cut != nil {
			t.Fatalf("%q gave %+v, kept %v", raw, a, keep)
		}
		r := bufio.NewReader(bytes.NewReader(raw))
		for range maxInterim + 1 {
			resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodPost})
			if err != nil {
				return // it is stricter here
			}
			if resp.StatusCode >= 200 {
				if resp.StatusCode != a.Status {
					t.Fatalf("%q gave status %d, net/http reads %d", raw, a.Status, resp.StatusCode)
				}
				return
			}
		}
	})
}

// readOnly is a connection that swallows what is written.
type readOnly struct{ *bytes.Reader }

func (readOnly) Write(p []byte) (int, error)      { return len(p), nil }
func (readOnly) WriteTo(io.Writer) (int64, error) { return 0, errors.ErrUnsupported }
func (readOnly) Close() error                     { return nil }
func (readOnly) LocalAddr() net.Addr              { return nil }
func (readOnly) RemoteAddr() net.Addr             { return nil }
func (readOnly) SetDeadline(time.Time) error      { return nil }
func (readOnly) SetReadDeadline(time.Time) error  { return nil }
func (readOnly) SetWriteDeadline(time.Time) error { return nil }

// peeked reports whether something has come, the end included.
func peeked(fd uintptr, one []byte) bool {
	_, _, err := syscall.Recvfrom(int(fd), one, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return !errors.Is(err, syscall.EAGAIN)
}
