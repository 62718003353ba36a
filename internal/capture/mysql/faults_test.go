package mysql

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// cutter passes connections on to a server, and lets each one have so many bytes from it.
type cutter struct {
	to     string
	listen net.Listener
	ended  sync.WaitGroup

	mu     sync.Mutex
	budget int
	freeze bool // in place of a reset: nothing arrives any more, and nobody says so
	open   []net.Conn
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{to: to, listen: l}
	c.ended.Go(c.accept)
	t.Cleanup(func() {
		_ = l.Close()
		c.mu.Lock()
		for _, conn := range c.open {
			_ = conn.Close()
		}
		c.mu.Unlock()
		c.ended.Wait()
	})
	return c
}

func (c *cutter) set(budget int, freeze bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.budget, c.freeze = budget, freeze
}

func (c *cutter) accept() {
	for {
		near, err := c.listen.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", c.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		c.mu.Lock()
		c.open = append(c.open, near, far)
		budget, freeze := c.budget, c.freeze
		c.mu.Unlock()
		c.ended.Go(func() {
			_, _ = io.Copy(far, near)
			_ = far.Close()
		})
		c.ended.Go(func() {
			_, _ = io.CopyN(near, far, int64(budget))
			if freeze {
				_, _ = io.Copy(io.Discard, far)
			}
			if tcp, ok := near.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // a reset
			}
			_ = near.Close()
		})
	}
}

// Connections that break anywhere, within headers and rows too, and one that falls silent: every row comes once and in order.
func TestFollowGoesOnAfterBrokenConnections(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		name, db := dbservertest.Database(t, srv)
		exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT)")
		c := newCutter(t, srv.Config().Addr)
		cfg := config(srv, name+".t")
		cfg.DSN = strings.Replace(cfg.DSN, srv.Config().Addr, c.listen.Addr().String(), 1)
		r := replica(t, cfg)
		c.set(1<<30, false)
		pos := attach(t, r, AtNow)
		var want []string
		for i, size := range []int{10, 300, 20_000, 3, 900_000, 5, 5, 70_000, 400, 2_000_000, 8} {
			exec(t, db, fmt.Sprintf("INSERT INTO t VALUES (%d, REPEAT('x', %d))", i, size), fmt.Sprintf("UPDATE t SET v = REPEAT('y', %d) WHERE id = %d", size/2, i))
			want = append(want, fmt.Sprintf("insert t %d", i), fmt.Sprintf("update t %d", i))
		}
		feed := newLogFeed(t, flavorOf(srv), pos)
		complete := func() bool { return len(feed.rows) >= len(want) }
		for try, done := 0, false; !done; try++ {
			if try == 40 {
				t.Fatalf("%d rows of %d after %d connections", len(feed.rows), len(want), try)
			}
			c.set(9_000+try*try*9_777, try == 4) // each connection gets a little further
			began := time.Now()
			var err error
			if done, err = followUntil(t, r, feed, complete); done {
				break
			}
			temporary(t, err)
			if took := time.Since(began); try == 4 && (took < 2*time.Second || took > 10*time.Second) {
				t.Errorf("silence was noticed after %v", took)
			}
		}
		feed.awaitRows(t, want...)
	})
}

// followUntil follows until the feed is complete, or Follow ends by itself.
func followUntil(t *testing.T, r *Replica, feed *logFeed, complete func() bool) (done bool, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- r.Follow(ctx, feed.position(), feed) }()
	for {
		select {
		case err := <-ended:
			return false, err
		case <-feed.changed:
			feed.mu.Lock()
			done = complete()
			feed.mu.Unlock()
			if done {
				cancel()
				return true, <-ended
			}
		case <-time.After(20 * time.Second):
			t.Fatal("neither rows nor an end")
		}
	}
}
