package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// maxSocketPath is the longest path of a socket, in bytes, that every system takes.
const maxSocketPath = 100

// probeTimeout bounds the question whether somebody answers on a socket.
const probeTimeout = time.Second

// SocketError says why there can be no socket at a path, and what to do.
type SocketError struct {
	Path, Reason, Hint string
}

func (e *SocketError) Error() string { return "socket " + e.Path + ": " + e.Reason }

// ListenUnix listens on a Unix socket that only its owner may use (mode 0600). A socket that a dead process has left is removed;
// one that somebody answers on, and anything that is not a socket, is not touched, and the error is a *SocketError. Closing the
// listener removes the socket.
func ListenUnix(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, &SocketError{path, fmt.Sprintf("the path has %d bytes, more than the %d that a socket's may have", len(path), maxSocketPath), "use a data folder with a shorter path"}
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	return listenPrivate(ctx, path)
}

// removeStale removes a socket that nobody answers on.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at the socket %s: %w", path, err)
	case info.Mode().Type() != fs.ModeSocket:
		return &SocketError{path, "there is something that is not a socket", "move it away"}
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		_ = conn.Close()
		return &SocketError{path, "another process answers on it", "stop that one, or use another data folder"}
	case !errors.Is(err, syscall.ECONNREFUSED):
		// Somebody may be there who is only busy, or not ours to ask.
		return &SocketError{path, "it cannot be told whether another process listens on it: " + err.Error(), "stop that process, or remove the file if there is none"}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the stale socket %s: %w", path, err)
	}
	return nil
}

// listenPrivate makes the socket.
func listenPrivate(ctx context.Context, path string) (net.Listener, error) {
	config := net.ListenConfig{Control: privateFromBirth}
	ln, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on the socket %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("make the socket %s private: %w", path, err)
	}
	return ln, nil
}
