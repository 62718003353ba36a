package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// serveHTTP answers /metrics and /livez until ctx ends.
func (a *App) serveHTTP(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", a.livez)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, WriteTimeout: 30 * time.Second}
	stop := context.AfterFunc(ctx, func() {
		sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if srv.Shutdown(sctx) != nil {
			_ = srv.Close() // what is still open has had its second
		}
	})
	defer stop()
	if err := srv.Serve(a.listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", a.Addr(), err)
	}
	return nil
}

// SourceStatus is what is known of a source at this moment. It says nothing of whether silence is proved.
type SourceStatus struct {
	Source     string    `json:"source"`
	NextSeq    uint64    `json:"next_seq"`
	LiveSeq    uint64    `json:"live_seq"`
	Lagging    int64     `json:"lagging_endpoints"`
	Delivered  int64     `json:"delivered"`
	Failed     int64     `json:"failed"`
	Parked     int64     `json:"parked"`
	LastHeard  time.Time `json:"last_heard,omitzero"`
	CommitTime time.Time `json:"commit_time,omitzero"`
	LastError  string    `json:"last_error,omitempty"`
}

// Status returns the state of all sources.
func (a *App) Status() []SourceStatus {
	var out []SourceStatus
	for _, s := range a.sources {
		c, d := s.capture.Status(), s.engine.Stats()
		next, _, _ := s.log.Tail()
		st := SourceStatus{
			Source: s.name, NextSeq: next, LiveSeq: d.LiveSeq.Load(), Lagging: d.Lagging.Load(),
			Delivered: d.Delivered.Load(), Failed: d.Failed.Load(), Parked: d.Parked.Load(), LastError: c.LastError,
		}
		if c.LastHeard.UnixMicro() > 0 {
			st.LastHeard = c.LastHeard.UTC()
		}
		if c.CommitTime.UnixMicro() > 0 {
			st.CommitTime = c.CommitTime.UTC()
		}
		out = append(out, st)
	}
	return out
}

// livez says that the process is alive, not that events flow.
func (a *App) livez(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(map[string]any{"live": true, "version": a.version, "sources": a.Status()}); err != nil {
		a.log.Debug("livez not answered", "err", err)
	}
}
