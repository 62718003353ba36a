package app

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/capture"
	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/event"
)

// RestartError names what a reload cannot change.
type RestartError struct{ Keys []string }

func (e *RestartError) Error() string {
	return "a restart is needed for what changed at " + strings.Join(e.Keys, ", ")
}

// markTimeout is how long a reload waits for each source to have the new types in its log.
const markTimeout = 5 * time.Second

// Reload reads the configuration and the files of types again and goes over to them: event types at a place in each source's log,
// endpoints and subscriptions at once. With anything wrong in them everything stays as it was, and the result says what.
func (a *App) Reload(ctx context.Context) api.Reload {
	a.control.Lock()
	defer a.control.Unlock()
	r := api.Reload{At: time.Now().UTC(), Changed: []string{}}
	err := a.reload(ctx, &r)
	r.TypesVersion, _ = a.types.latest()
	if err != nil {
		r.Error = a.reason(err)
		a.log.Error("configuration not reloaded", "err", err)
	} else {
		a.log.Info("configuration reloaded", "changed", r.Changed, "types_version", r.TypesVersion)
	}
	a.lastReload.Store(&r)
	return r
}

func (a *App) reload(ctx context.Context, r *api.Reload) error {
	if a.load == nil {
		return errors.New("this process was started without a file to read again")
	}
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if keys := fixed(a.cfg, cfg); len(keys) > 0 {
		return &RestartError{keys}
	}
	set, err := CompileTypes(cfg)
	if err != nil {
		return err
	}
	endpoints, err := newEndpoints(cfg, a.egress, a.version)
	if err != nil {
		return err
	}
	if err := a.switchTypes(ctx, cfg, set, r); err != nil {
		return err
	}
	// New endpoints first, for their subscriptions; old ones last, with theirs.
	if err := a.putEndpoints(ctx, cfg, endpoints, r); err != nil {
		return err
	}
	changed, err := a.declare(ctx, cfg)
	r.Changed = append(r.Changed, changed...)
	if err != nil {
		return err
	}
	if err := a.dropEndpoints(ctx, cfg, r); err != nil {
		return err
	}
	a.cfg.Types, a.cfg.Endpoints, a.cfg.Subscriptions = cfg.Types, cfg.Endpoints, cfg.Subscriptions
	return nil
}

// fixed returns the keys that differ and that only a restart can change.
func fixed(old, now *config.Config) []string {
	var keys []string
	for _, k := range []struct {
		name     string
		old, now any
	}{
		{"data_dir", old.DataDir, now.DataDir}, {"log", old.Log, now.Log}, {"sources", old.Sources, now.Sources},
		{"egress", old.Egress, now.Egress}, {"delivery", old.Delivery, now.Delivery}, {"encryption", old.Encryption, now.Encryption},
		{"http", old.HTTP, now.HTTP}, {"logging", old.Logging, now.Logging},
	} {
		if !reflect.DeepEqual(k.old, k.now) {
			keys = append(keys, k.name)
		}
	}
	return keys
}

// switchTypes makes new types current and has every source write down from which seq on they are in force.
func (a *App) switchTypes(ctx context.Context, cfg *config.Config, set *event.Set, r *api.Reload) error {
	created, err := a.types.put(ctx, typeFiles(cfg), set)
	if err != nil || !created {
		return err
	}
	version, _ := a.types.latest()
	r.Changed = append(r.Changed, fmt.Sprintf("event types, now version %d", version))
	for _, s := range a.sources {
		mctx, cancel := context.WithTimeout(ctx, markTimeout)
		seq, err := s.capture.SetTypesVersion(mctx, version)
		cancel()
		switch {
		case err == nil:
			r.Starts = append(r.Starts, api.Start{Source: s.name, Seq: seq})
		case errors.Is(err, capture.ErrNotFollowing), errors.Is(err, context.DeadlineExceeded):
			r.Changed = append(r.Changed, "event types of source "+s.name+" are in force as soon as it is followed again")
		default:
			return fmt.Errorf("source %s: begin version %d of the event types: %w", s.name, version, err)
		}
	}
	return nil
}

func (a *App) putEndpoints(ctx context.Context, cfg *config.Config, endpoints []*deliver.Endpoint, r *api.Reload) error {
	for i, e := range cfg.Endpoints {
		at := slices.IndexFunc(a.cfg.Endpoints, func(o config.Endpoint) bool { return o.Name == e.Name })
		if at >= 0 && reflect.DeepEqual(a.cfg.Endpoints[at], e) {
			continue
		}
		for _, s := range a.sources {
			if err := s.engine.PutEndpoint(ctx, endpoints[i]); err != nil {
				return fmt.Errorf("source %s: endpoint %s: %w", s.name, e.Name, err)
			}
		}
		did := " changed"
		if at < 0 {
			did = " added"
		}
		r.Changed = append(r.Changed, "endpoint "+e.Name+did)
	}
	return nil
}

func (a *App) dropEndpoints(ctx context.Context, cfg *config.Config, r *api.Reload) error {
	for _, e := range a.cfg.Endpoints {
		if slices.ContainsFunc(cfg.Endpoints, func(n config.Endpoint) bool { return n.Name == e.Name }) {
			continue
		}
		for _, s := range a.sources {
			if err := s.engine.RemoveEndpoint(ctx, e.Name); err != nil {
				return fmt.Errorf("source %s: remove endpoint %s: %w", s.name, e.Name, err)
			}
		}
		r.Changed = append(r.Changed, "endpoint "+e.Name+" removed")
	}
	return nil
}
