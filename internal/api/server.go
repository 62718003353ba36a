package api

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// The deadlines of a server. There is none for a whole answer, since streams have no end; each write has its own.
const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	// graceTimeout is how long Serve lets requests finish after its context has ended.
	graceTimeout = 10 * time.Second
)

const maxHeaderBytes = 32 << 10

// Options are what a Server is made of.
type Options struct {
	Backend Backend
	Log     *slog.Logger
	// Version of the program, for the OpenAPI document.
	Version string
}

// Server answers the control API. It is safe for concurrent use, and holds no connection or goroutine unless Serve runs.
type Server struct {
	backend  Backend
	log      *slog.Logger
	api      huma.API
	mux      *http.ServeMux
	routes   map[string]route
	guesses  *limiter
	document document
	ending   chan struct{}
	endOnce  sync.Once
}

// New returns a server of the Backend.
func New(o Options) *Server {
	s := &Server{
		backend: o.Backend, log: o.Log, mux: http.NewServeMux(), guesses: newLimiter(), routes: map[string]route{},
		ending: make(chan struct{}),
	}
	for _, r := range routes() {
		s.routes[r.id] = r
	}
	s.api = huma.NewAPI(apiConfig(o.Version), adapter{s})
	s.registerEndpoints()
	s.registerSubscriptions()
	s.registerEvents()
	s.registerOperations()
	s.registerKeys()
	s.document = newDocument(s.api.OpenAPI())
	return s
}

// Handler returns the API. If trusted, whoever can connect is the operator: that is for the Unix socket, whose mode is its guard.
// Otherwise everything under /v1 needs a key.
func (s *Server) Handler(trusted bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(trusted, w, r) })
}

// EndStreams ends the streams that run, and refuses new ones. Whoever serves Handler with a server of his own calls it before he
// shuts that down, which would otherwise wait for them.
func (s *Server) EndStreams() {
	s.endOnce.Do(func() { close(s.ending) })
}

// Serve answers on a listener, which it closes, until ctx ends; then it ends the streams and lets other requests finish, for at
// most ten seconds.
func (s *Server) Serve(ctx context.Context, ln net.Listener, trusted bool) error {
	srv := &http.Server{
		Handler: s.Handler(trusted), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		// Requests outlive ctx by the grace time.
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		s.EndStreams()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceTimeout)
		defer cancel()
		if srv.Shutdown(grace) != nil {
			_ = srv.Close() // what is still open has had its time
		}
	})
	err := srv.Serve(ln)
	if stop() {
		_ = srv.Close()
		return fmt.Errorf("serve the API on %s: %w", ln.Addr(), err)
	}
	<-stopped
	return nil
}
