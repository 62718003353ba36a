package app

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/procfs"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/capture"
	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/event"
)

// reason is an error as people get it.
func (a *App) reason(err error) *api.Reason {
	if s, ok := errors.AsType[*capture.StopError](err); ok {
		return &api.Reason{Code: s.Code, Message: s.Text(), Hint: s.Hint}
	}
	if _, ok := errors.AsType[config.Errors](err); ok {
		return &api.Reason{Code: "config", Message: err.Error(), Hint: "correct the file, then: rowhook reload"}
	}
	if _, ok := errors.AsType[*TypesError](err); ok {
		return &api.Reason{Code: "types", Message: err.Error(), Hint: "correct the file, then: rowhook reload"}
	}
	if _, ok := errors.AsType[*RestartError](err); ok {
		return &api.Reason{Code: "needs_restart", Message: err.Error(), Hint: "restart Rowhook, or put back what stood there"}
	}
	return &api.Reason{Code: "failed", Message: err.Error()}
}

// Status returns the process at a glance.
func (c *control) Status(ctx context.Context, who api.Caller) (api.Status, error) {
	sources, err := c.Sources(ctx, who)
	if err != nil {
		return api.Status{}, err
	}
	endpoints, subscriptions, err := c.count(ctx, who)
	if err != nil {
		return api.Status{}, err
	}
	version, _ := c.app.types.latest()
	s := api.Status{
		Version: c.app.version, StartedAt: c.app.started.UTC(), TypesVersion: version, Endpoints: endpoints, Subscriptions: subscriptions,
		Sources: sources,
	}
	if who.Tenant == "" {
		s.ResidentBytes, s.Reload = residentBytes(), c.app.lastReload.Load()
	}
	return s, nil
}

// residentBytes is what the process has in memory; 0 where the system does not say.
func residentBytes() int64 {
	p, err := procfs.Self()
	if err != nil {
		return 0
	}
	stat, err := p.Stat()
	if err != nil {
		return 0
	}
	return int64(stat.ResidentMemory())
}

// Sources returns the sources in the order of the configuration.
func (c *control) Sources(ctx context.Context, who api.Caller) ([]api.Source, error) {
	var out []api.Source
	for _, s := range c.app.sources {
		one, err := c.withGaps(ctx, s, who)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// Source returns one.
func (c *control) Source(ctx context.Context, who api.Caller, name string) (api.Source, error) {
	s, err := c.app.source(name)
	if err != nil {
		return api.Source{}, err
	}
	return c.withGaps(ctx, s, who)
}

func (a *App) source(name string) (*source, error) {
	i := slices.IndexFunc(a.sources, func(s *source) bool { return s.name == name })
	if i < 0 {
		return nil, &api.Problem{Status: http.StatusNotFound, Code: "not_found", Detail: "there is no source " + name, Hint: "list them at /v1/sources"}
	}
	return a.sources[i], nil
}

// source describes a source. A tenant learns whether it runs and how far it is, not where it is or what is in it.
func (c *control) source(s *source, who api.Caller) api.Source {
	state, problem := s.status()
	next, pos, _ := s.log.Tail()
	st, stats := s.capture.Status(), s.engine.Stats()
	out := api.Source{Name: s.name, State: string(state), NextSeq: next, LiveSeq: stats.LiveSeq.Load(), Tables: []string{}}
	out.LastHeard, out.CommitTime = timeOf(st.LastHeard), timeOf(time.UnixMicro(max(pos.CommitTime, st.CommitTime.UnixMicro())))
	if who.Tenant != "" {
		return out
	}
	if problem != nil {
		out.Error = c.app.reason(problem)
	}
	out.Address, out.Tables, out.Generation = s.cfg.Address, s.cfg.Tables, s.cfg.Generation
	out.GTIDSet, out.File, out.Offset = pos.GTIDSet, pos.File, pos.Offset
	out.Lagging, out.Delivered, out.Failed, out.Parked = stats.Lagging.Load(), stats.Delivered.Load(), stats.Failed.Load(), stats.Parked.Load()
	return out
}

func timeOf(t time.Time) *time.Time {
	if t.UnixMicro() <= 0 {
		return nil
	}
	t = t.UTC()
	return &t
}

// StartSource follows a stopped source again.
func (c *control) StartSource(ctx context.Context, who api.Caller, name string) (api.Source, error) {
	s, err := c.app.source(name)
	if err != nil {
		return api.Source{}, err
	}
	s.Start()
	return c.Source(ctx, who, name)
}

// StopSource stops following a source.
func (c *control) StopSource(ctx context.Context, who api.Caller, name string) (api.Source, error) {
	s, err := c.app.source(name)
	if err != nil {
		return api.Source{}, err
	}
	s.Stop()
	return c.Source(ctx, who, name)
}

// EventTypes returns the types in force, by name. A tenant sees those that tell tenants apart: it can get no others.
func (c *control) EventTypes(_ context.Context, who api.Caller) ([]api.EventType, error) {
	_, set := c.app.types.latest()
	out := []api.EventType{}
	for _, d := range set.Definitions() {
		if who.Tenant == "" || d.Tenant != "" {
			out = append(out, eventType(d))
		}
	}
	return out, nil
}

// EventType returns one.
func (c *control) EventType(ctx context.Context, who api.Caller, name string) (api.EventType, error) {
	all, err := c.EventTypes(ctx, who)
	if err != nil {
		return api.EventType{}, err
	}
	i := slices.IndexFunc(all, func(t api.EventType) bool { return t.Name == name })
	if i < 0 {
		return api.EventType{}, &api.Problem{Status: http.StatusNotFound, Code: "not_found", Detail: "there is no event type " + name, Hint: "list them at /v1/types"}
	}
	return all[i], nil
}

func eventType(d event.Definition) api.EventType {
	t := api.EventType{
		Name: d.Name, Table: d.Table, Columns: d.Columns, When: d.When, Subject: d.Subject, Tenant: d.Tenant, Key: d.Key, Data: d.Data,
		Mask: maps.Clone(d.Mask), On: []string{},
	}
	on := d.On
	if len(on) == 0 {
		on = []change.Op{change.Insert, change.Update, change.Delete}
	}
	for _, op := range on {
		t.On = append(t.On, op.String())
	}
	return t
}

// Tenants returns the tenants that an endpoint or a key belongs to, in the order of their names.
func (c *control) Tenants(ctx context.Context, _ api.Caller, p api.Page) ([]api.Tenant, string, error) {
	// One more than the page tells whether another follows; declared tenants are few.
	made, err := c.app.store.Tenants(ctx, p.After, p.Limit+1)
	if err != nil {
		return nil, "", err
	}
	all := map[string]*api.Tenant{}
	for _, t := range made {
		all[t.Tenant] = &api.Tenant{ID: t.Tenant, Endpoints: t.Endpoints, Keys: t.Keys}
	}
	for _, e := range c.app.declaredEndpoints() {
		if e.Tenant <= p.After {
			continue
		}
		if all[e.Tenant] == nil {
			all[e.Tenant] = &api.Tenant{ID: e.Tenant}
		}
		all[e.Tenant].Endpoints++
	}
	out := []api.Tenant{}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if id == "" {
			continue
		}
		if len(out) == p.Limit {
			return out, out[len(out)-1].ID, nil
		}
		out = append(out, *all[id])
	}
	return out, "", nil
}

// count returns how many endpoints and subscriptions there are; a tenant is told of its own.
func (c *control) count(ctx context.Context, who api.Caller) (endpoints, subscriptions int, err error) {
	if who.Tenant != "" {
		return c.countTenant(ctx, who)
	}
	if endpoints, err = c.app.store.CountEndpoints(ctx); err != nil {
		return 0, 0, err
	}
	if subscriptions, err = c.app.store.CountAPISubscriptions(ctx); err != nil {
		return 0, 0, err
	}
	c.app.control.Lock()
	defer c.app.control.Unlock()
	return endpoints + len(c.app.cfg.Endpoints), subscriptions + len(c.app.cfg.Subscriptions), nil
}

// countTenant walks the lists as the tenant itself would.
func (c *control) countTenant(ctx context.Context, who api.Caller) (endpoints, subscriptions int, err error) {
	p := api.Page{Limit: 200}
	for more := true; more; more = p.After != "" {
		page, next, err := c.ListEndpoints(ctx, who, "", p)
		if err != nil {
			return 0, 0, err
		}
		endpoints, p.After = endpoints+len(page), next
	}
	for more := true; more; more = p.After != "" {
		page, next, err := c.ListSubscriptions(ctx, who, "", p)
		if err != nil {
			return 0, 0, err
		}
		subscriptions, p.After = subscriptions+len(page), next
	}
	return endpoints, subscriptions, nil
}

// declaredEndpoints returns the endpoints of the configuration that is in force.
func (a *App) declaredEndpoints() []config.Endpoint {
	a.control.Lock()
	defer a.control.Unlock()
	return a.cfg.Endpoints
}

// Reload reads the configuration again.
func (c *control) Reload(ctx context.Context, _ api.Caller) (api.Reload, error) {
	return c.app.Reload(ctx), nil
}

// Backup writes an archive of the store and the logs.
func (c *control) Backup(ctx context.Context, _ api.Caller, w io.Writer) error {
	return c.app.backup(ctx, w)
}
