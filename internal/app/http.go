package app

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
)

// listen opens the address and the socket before anything else is touched: a process that cannot be asked anything should not run.
func (a *App) listen() error {
	var err error
	if a.listener, err = net.Listen("tcp", a.cfg.HTTP.Listen); err != nil {
		return &ListenError{Address: a.cfg.HTTP.Listen, Err: err}
	}
	if a.cfg.HTTP.Cert == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(a.cfg.HTTP.Cert, a.cfg.HTTP.Key)
	if err != nil {
		return &ListenError{Address: a.cfg.HTTP.Listen, Err: fmt.Errorf("read http.tls: %w", err)}
	}
	a.listener = tls.NewListener(a.listener, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	return nil
}

// serveHTTP answers on the address, where the API wants a key, and on the socket, where it does not, until ctx ends.
func (a *App) serveHTTP(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return serve(ctx, a.listener, a.handler()) })
	g.Go(func() error { return serve(ctx, a.socket, a.api.Handler(true)) })
	return g.Wait()
}

// handler answers the two paths without a key itself and leaves every other to the API, whose answers are problems.
func (a *App) handler() http.Handler {
	metrics, rest := promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{}), a.api.Handler(false)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		get := r.Method == http.MethodGet || r.Method == http.MethodHead
		switch {
		case get && r.URL.Path == "/metrics":
			metrics.ServeHTTP(w, r)
		case get && r.URL.Path == "/livez":
			a.livez(w, r)
		default:
			rest.ServeHTTP(w, r)
		}
	})
}

func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	// No write timeout: a tail is open for hours, and sets a deadline for each line.
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() {
		sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if srv.Shutdown(sctx) != nil {
			_ = srv.Close() // what is still open has had its second
		}
	})
	defer stop()
	if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// livez says that the process is alive, not that events flow.
func (a *App) livez(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(map[string]any{"live": true, "version": a.version, "sources": a.Status()}); err != nil {
		a.log.Debug("livez not answered", "err", err)
	}
}

// SourceStatus is what is known of a source at this moment. It says nothing of whether silence is proved.
type SourceStatus struct {
	Source     string     `json:"source"`
	State      string     `json:"state"`
	NextSeq    uint64     `json:"next_seq"`
	LiveSeq    uint64     `json:"live_seq"`
	Lagging    int64      `json:"lagging_endpoints"`
	Delivered  int64      `json:"delivered"`
	Failed     int64      `json:"failed"`
	Parked     int64      `json:"parked"`
	LastHeard  *time.Time `json:"last_heard,omitempty"`
	CommitTime *time.Time `json:"commit_time,omitempty"`
	// LastError is a code or a connection's end, never more than the log says.
	LastError string `json:"last_error,omitempty"`
}

// Status returns the state of all sources.
func (a *App) Status() []SourceStatus {
	var out []SourceStatus
	for _, s := range a.sources {
		c, d := s.capture.Status(), s.engine.Stats()
		state, problem := s.status()
		next, _, _ := s.log.Tail()
		st := SourceStatus{
			Source: s.name, State: string(state), NextSeq: next, LiveSeq: d.LiveSeq.Load(), Lagging: d.Lagging.Load(),
			Delivered: d.Delivered.Load(), Failed: d.Failed.Load(), Parked: d.Parked.Load(),
			LastHeard: timeOf(c.LastHeard), CommitTime: timeOf(c.CommitTime),
		}
		if problem != nil {
			st.LastError = problem.Error()
		}
		out = append(out, st)
	}
	return out
}
