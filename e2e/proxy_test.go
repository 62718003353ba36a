package e2e

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// proxy is a TCP proxy before a server that misbehaves when it is told to. It changes no byte of what it passes on.
type proxy struct {
	listener net.Listener
	work     sync.WaitGroup

	mu     sync.Mutex
	to     string
	mode   proxyMode
	cutAt  int // bytes from the server until a reset, in proxyReset
	conns  map[net.Conn]struct{}
	closed bool
}

type proxyMode int

const (
	proxyPass    proxyMode = iota
	proxyStall             // nothing arrives any more, and nobody says so
	proxyReset             // the connection is reset after some bytes, mostly in the middle of an event
	proxyTrickle           // a few bytes at a time
)

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: to, conns: map[net.Conn]struct{}{}}
	p.work.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		l.Close()
		p.cut()
		p.work.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// behave sets the mode for all connections, also those that there are.
func (p *proxy) behave(mode proxyMode, cutAt int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode, p.cutAt = mode, cutAt
}

// switchTo leads all connections from now on to another server, and cuts those to the one before.
func (p *proxy) switchTo(to string) {
	p.mu.Lock()
	p.to = to
	p.mu.Unlock()
	p.cut()
}

// cut resets all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		reset(c)
	}
}

// reset closes without the usual goodbye.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		to := p.to
		p.mu.Unlock()
		out, err := net.DialTimeout("tcp", to, 5*time.Second)
		if err != nil {
			reset(in)
			continue
		}
		p.mu.Lock()
		p.conns[in], p.conns[out] = struct{}{}, struct{}{}
		closed := p.closed
		p.mu.Unlock()
		if closed {
			p.cut()
		}
		p.work.Go(func() { p.pass(out, in, false) })
		p.work.Go(func() { p.pass(in, out, true) })
	}
}

// pass moves bytes until either side ends.
func (p *proxy) pass(to, from net.Conn, fromServer bool) {
	defer func() {
		reset(to)
		reset(from)
		p.mu.Lock()
		delete(p.conns, to)
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !p.forward(to, buf[:n], fromServer) {
			return
		}
		if err != nil {
			return
		}
	}
}

// forward writes what was read, as the mode wants it, and reports whether to go on.
func (p *proxy) forward(to io.Writer, b []byte, fromServer bool) bool {
	p.mu.Lock()
	mode, cut := p.mode, false
	if mode == proxyReset && fromServer {
		if p.cutAt -= len(b); p.cutAt < 0 {
			b, cut, p.mode = b[:max(0, len(b)+p.cutAt)], true, proxyPass
		}
	}
	p.mu.Unlock()
	switch {
	case mode == proxyStall:
		return true // swallowed: for the peer the line is silent
	case mode == proxyTrickle && fromServer:
		for len(b) > 0 {
			n := min(len(b), 1+rand.IntN(700))
			if _, err := to.Write(b[:n]); err != nil {
				return false
			}
			b = b[n:]
			<-time.After(time.Millisecond) // the slowness that is tested
		}
		return true
	}
	_, err := to.Write(b)
	return err == nil && !cut
}
