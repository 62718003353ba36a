package api

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

const (
	// openingTime is how long a stream waits for a refusal of the Backend before it says that it stands.
	openingTime = 100 * time.Millisecond
	// heartbeatTime is at most how long a tail says nothing.
	heartbeatTime = 10 * time.Second
)

// stream answers with what f writes, until f returns, the caller goes or the streams are ended. What f fails with before its first
// write is a Problem; after it the connection is cut, so that the answer does not look complete.
func (s *Server) stream(media string, f func(ctx context.Context, w *streamWriter) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		r, hw := humago.Unwrap(hc)
		ctx, cancel := context.WithCancel(hc.Context())
		var watch sync.WaitGroup
		watch.Go(func() {
			select {
			case <-s.ending:
				cancel()
			case <-ctx.Done():
			}
		})
		defer watch.Wait()
		defer cancel()
		w := &streamWriter{w: hw, media: media}
		if r.Method == http.MethodHead {
			w.open()
			return
		}
		err := f(ctx, w)
		s.endStream(ctx, hw, r, w, err)
	}}
}

// endStream settles how a stream looks to whoever reads it.
func (s *Server) endStream(ctx context.Context, hw http.ResponseWriter, r *http.Request, w *streamWriter, err error) {
	ended := ctx.Err() != nil
	switch {
	case err == nil || ended && w.opened && w.media == mediaNDJSON:
		w.open()
	case ended && !w.opened:
		s.refuse(hw, r, unavailable(codeStopping, "the process is stopping", hintRepeatAfterRestart))
	case !w.opened:
		s.refuse(hw, r, s.failure(r.Context(), err))
	default:
		s.log.Warn("a stream was cut", "request", visitOf(r.Context()).id, "err", err)
		panic(http.ErrAbortHandler)
	}
}

// streamWriter sends each write at once. It is safe for concurrent use.
type streamWriter struct {
	mu     sync.Mutex
	w      http.ResponseWriter
	media  string
	opened bool
	last   time.Time
}

// open sends the header.
func (w *streamWriter) open() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begin()
}

func (w *streamWriter) begin() {
	if w.opened {
		return
	}
	w.opened = true
	w.w.Header().Set("Content-Type", w.media)
	w.w.WriteHeader(http.StatusOK)
}

func (w *streamWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begin()
	n, err := w.w.Write(b)
	if err != nil {
		return n, err
	}
	w.last = time.Now()
	return n, http.NewResponseController(w.w).Flush()
}

// line writes an event; of nil, the empty line that says that the stream lives.
func (w *streamWriter) line(e *TailEvent) error {
	var b []byte
	if e != nil {
		var err error
		if b, err = json.Marshal(e); err != nil {
			return err
		}
	}
	_, err := w.Write(append(b, '\n'))
	return err
}

// tail writes events, and an empty line when there is none for a while.
func (w *streamWriter) tail(ctx context.Context, run func(func(*TailEvent) error) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var beats sync.WaitGroup
	beats.Go(func() { w.beat(ctx) })
	defer beats.Wait()
	defer cancel()
	return run(w.line)
}

// beat writes an empty line at the beginning and whenever nothing was written for a while. What it fails with, the next event
// fails with too; or the caller has gone, which ends ctx.
func (w *streamWriter) beat(ctx context.Context) {
	tick := time.NewTimer(openingTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if w.silent() && w.line(nil) != nil {
				return
			}
			tick.Reset(heartbeatTime / 2)
		}
	}
}

func (w *streamWriter) silent() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.last) >= heartbeatTime/2
}
