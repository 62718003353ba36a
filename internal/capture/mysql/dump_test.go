package mysql

import (
	"errors"
	"net"
	"testing"
)

// A closed wire ends whoever reads it, and refuses to be opened again.
func TestClosedWire(t *testing.T) {
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
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the reader was told %v", err)
	}
	if _, err := line.dial(t.Context(), "tcp", l.Addr().String()); !errors.Is(err, errClosed) {
		t.Errorf("a closed wire was opened again: %v", err)
	}
}
