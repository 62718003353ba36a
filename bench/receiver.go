package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// arrival is a request that the receiver has answered.
type arrival struct {
	ID int64 `json:"id"`
	// At is when the whole request was read, in nanoseconds of the Unix epoch.
	At int64 `json:"at"`
}

// arrivals is what the receiver knows.
type arrivals struct {
	All []arrival `json:"all"`
	// Unreadable counts requests that carried no row id.
	Unreadable int `json:"unreadable"`
}

// receiver answers every POST with 200 at once and remembers when it came. It verifies nothing: it is there to be out of the way.
type receiver struct {
	mu  sync.Mutex
	got arrivals
}

// maxBody is far above the size of an event.
const maxBody = 1 << 20

// Receive listens on a free port of 127.0.0.1, prints the address as the first line of out, and answers until in ends or ctx does.
// Latency runs it as a process of its own: the sender's runtime must not see the receiver's garbage.
func Receive(ctx context.Context, in io.Reader, out io.Writer) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("receiver: %w", err)
	}
	if _, err := fmt.Fprintln(out, listener.Addr()); err != nil {
		return errors.Join(err, listener.Close())
	}
	r := &receiver{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /", r.post)
	mux.HandleFunc("GET /arrivals", r.list)
	mux.HandleFunc("GET /count", r.count)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
	go func() {
		_, _ = io.Copy(io.Discard, in) // ends when the parent does, however that ends
		_ = srv.Close()
	}()
	if err := srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("receiver: %w", err)
	}
	return nil
}

func (r *receiver) post(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	at := time.Now().UnixNano()
	if err != nil {
		return // the sender went away
	}
	id, ok := rowID(body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !ok {
		r.got.Unreadable++
		return
	}
	r.got.All = append(r.got.All, arrival{id, at})
}

// rowID finds the id among the data of an event, of which it is the first, without the work of a JSON parser.
func rowID(body []byte) (int64, bool) {
	_, rest, ok := bytes.Cut(body, []byte(`"data":{"id":`))
	if !ok {
		return 0, false
	}
	rest = bytes.TrimPrefix(rest, []byte{'"'})
	end := bytes.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		return 0, false
	}
	id, err := strconv.ParseInt(string(rest[:end]), 10, 64)
	return id, err == nil
}

func (r *receiver) list(w http.ResponseWriter, _ *http.Request) {
	r.mu.Lock()
	got := r.got
	r.mu.Unlock()
	_ = json.NewEncoder(w).Encode(got) // the reader notices what is missing
}

func (r *receiver) count(w http.ResponseWriter, _ *http.Request) {
	r.mu.Lock()
	n := len(r.got.All) + r.got.Unreadable
	r.mu.Unlock()
	_ = json.NewEncoder(w).Encode(n)
}
