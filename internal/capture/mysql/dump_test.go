package mysql

import (
	"errors"
	"net"
	"testing"
	"time"
)

// What go-mysql does at its end must not make it close the connection beside its own reading goroutine: a deadline is taken after the
// line was closed, and whoever reads is told of the end. TestRecaptureByFileGivesTheSameIDs shows the race where that does not hold.
func TestClosedWireTakesDeadlines(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	line := &wire{}
	conn, err := line.dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		read <- err
	}()
	line.close()
	if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Errorf("a deadline after the end: %v", err)
	}
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the reader was told %v", err)
	}
	if _, err := line.dial(t.Context(), "tcp", l.Addr().String()); !errors.Is(err, errClosed) {
		t.Errorf("a closed wire was opened again: %v", err)
	}
}
