package deliver

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"syscall"
	"time"
)

const (
	// maxResponseHead bounds the head of an answer, and each of those that only announce one (1xx).
	maxResponseHead = 16 << 10
	// maxInterim bounds how many of those there may be.
	maxInterim = 8
	// joinBody is the body up to which it is copied behind the head, so that both go out at once.
	joinBody = 16 << 10
	// lookAfter is how long a connection may lie unused without being looked at before it is used: a server that closes as fast as that
	// would hardly be usable at all.
	lookAfter = 100 * time.Millisecond
)

// conn is one connection to an endpoint. It belongs to one goroutine at a time.
type conn struct {
	net.Conn
	raw   net.Conn // below TLS
	r     *bufio.Reader
	out   []byte
	since time.Time // unused since then
}

func newConn(c, raw net.Conn) *conn {
	if c == nil {
		return nil
	}
	return &conn{Conn: c, raw: raw, r: bufio.NewReaderSize(c, 2048)}
}

// stands reports whether the other side has neither closed the connection nor said anything on it unasked.
func (c *conn) stands() bool {
	if c.r.Buffered() > 0 {
		return false
	}
	sc, ok := c.raw.(syscall.Conn)
	if !ok || time.Since(c.since) < lookAfter {
		return true
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	if err := rc.Control(func(fd uintptr) {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR)
	}); err != nil {
		return false
	}
	return quiet
}

// roundTrip writes the request and reads the answer; keep says that the connection may serve again.
func (c *conn) roundTrip(r *Request) (a Answer, keep bool, err error) {
	werr := c.write(r)
	// An answer may be there although the request could not be written to its end: the server has made up its mind.
	h, err := c.head()
	for n := 0; err == nil && h.status < 200; n++ {
		if n == maxInterim || h.status == http.StatusSwitchingProtocols {
			return Answer{}, false, fmt.Errorf("read the answer: %w: status %d", errMalformed, h.status)
		}
		h, err = c.head()
	}
	if err != nil {
		return Answer{}, false, errors.Join(werr, err)
	}
	a = Answer{Status: h.status, RetryAfter: h.retryAfter}
	keep, a.Cut = c.drain(&h)
	return a, keep && werr == nil && !h.close, nil
}

func (c *conn) write(r *Request) error {
	if len(r.Body) <= joinBody {
		c.out = append(append(c.out[:0], r.Head...), r.Body...)
		_, err := c.Write(c.out)
		return err
	}
	if _, err := c.Write(r.Head); err != nil {
		return err
	}
	_, err := c.Write(r.Body)
	return err
}

// errMalformed says that what came is not an answer of HTTP/1.
var errMalformed = errors.New("malformed HTTP answer")

// head is what an answer begins with.
type head struct {
	status     int
	length     int64 // -1: until the end of the connection
	chunked    bool
	close      bool
	retryAfter string
}

// head reads one head.
func (c *conn) head() (head, error) {
	left := maxResponseHead
	line, err := c.line(&left)
	if err != nil {
		return head{}, err
	}
	h := head{length: -1}
	if h.status, h.close, err = statusOf(line); err != nil {
		return head{}, fmt.Errorf("read the answer: %w", err)
	}
	for {
		line, err := c.line(&left)
		if err != nil {
			return head{}, unexpected(err)
		}
		if len(line) == 0 {
			return h, nil
		}
		if err := h.field(line); err != nil {
			return head{}, fmt.Errorf("read the answer: %w", err)
		}
	}
}

// line reads a line of the head without its end. It is valid until the next read.
func (c *conn) line(left *int) ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	var whole []byte
	for errors.Is(err, bufio.ErrBufferFull) && len(whole)+len(line) <= *left {
		whole = append(whole, line...)
		line, err = c.r.ReadSlice('\n')
	}
	if whole != nil {
		line = append(whole, line...)
	}
	if *left -= len(line); *left < 0 {
		return nil, fmt.Errorf("read the answer: %w: its head is longer than %d bytes", errMalformed, maxResponseHead)
	}
	if err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'}), nil
}

// unexpected is an end within something.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// statusOf reads "HTTP/1.1 200 OK". The reason is nobody's business.
func statusOf(line []byte) (status int, old bool, err error) {
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) || line[8] != ' ' || (len(line) > 12 && line[12] != ' ') {
		return 0, false, errMalformed
	}
	status, err = strconv.Atoi(string(line[9:12]))
	if err != nil || status < 100 || line[9] == '+' || line[9] == '-' || (line[7] != '0' && line[7] != '1') {
		return 0, false, errMalformed
	}
	return status, line[7] == '0', nil
}

func (h *head) field(line []byte) error {
	name, value, ok := bytes.Cut(line, []byte{':'})
	if !ok || len(name) == 0 || name[0] == ' ' || name[0] == '\t' || name[len(name)-1] == ' ' {
		return fmt.Errorf("%w: a header without a name", errMalformed)
	}
	value = bytes.TrimSpace(value)
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		n, err := strconv.ParseUint(string(value), 10, 62)
		if err != nil || (h.length >= 0 && h.length != int64(n)) {
			return fmt.Errorf("%w: Content-Length", errMalformed)
		}
		h.length = int64(n)
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		if !bytes.EqualFold(value, []byte("chunked")) {
			return fmt.Errorf("%w: Transfer-Encoding", errMalformed)
		}
		h.chunked = true
	case bytes.EqualFold(name, []byte("Connection")):
		for option := range bytes.SplitSeq(value, []byte{','}) {
			h.close = h.close || bytes.EqualFold(bytes.TrimSpace(option), []byte("close"))
		}
	case bytes.EqualFold(name, []byte("Retry-After")) && h.retryAfter == "":
		h.retryAfter = string(value)
	}
	return nil
}

// drain reads the body and throws it away, up to maxResponse bytes: an answer that is read to its end keeps the connection, a longer one
// costs the receiver its connection, not us memory.
func (c *conn) drain(h *head) (keep bool, cut error) {
	switch {
	case h.status == http.StatusNoContent || h.status == http.StatusNotModified:
		return true, nil
	case h.chunked:
		return c.drainChunks()
	case h.length >= 0:
		if h.length > maxResponse {
			return false, nil
		}
		_, err := c.r.Discard(int(h.length))
		return err == nil, unexpectedOrNil(err)
	}
	_, err := io.CopyN(io.Discard, c.r, maxResponse+1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return false, err
}

func unexpectedOrNil(err error) error {
	if err == nil {
		return nil
	}
	return unexpected(err)
}

func (c *conn) drainChunks() (keep bool, cut error) {
	n, err := io.CopyN(io.Discard, httputil.NewChunkedReader(c.r), maxResponse+1)
	if n > maxResponse {
		return false, nil
	}
	if !errors.Is(err, io.EOF) {
		return false, unexpectedOrNil(err)
	}
	// Behind the last chunk stand trailers, and an empty line.
	for left := maxResponseHead; ; {
		line, err := c.line(&left)
		if err != nil {
			return false, unexpected(err)
		}
		if len(line) == 0 {
			return true, nil
		}
	}
}
