package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/store"
	"github.com/rowhook/rowhook/webhook"
)

// view is an endpoint as callers get it.
func (c *control) view(ctx context.Context, f found) (api.Endpoint, error) {
	var out api.Endpoint
	if f.declared != nil {
		out = declaredView(f.declared)
	} else {
		out = recordView(&f.record, time.Now())
	}
	return out, c.addProgress(ctx, &out)
}

func declaredView(d *config.Endpoint) api.Endpoint {
	out := api.Endpoint{
		ID: d.Name, Declared: true, Tenant: d.Tenant, URL: d.URL,
		EndpointSettings: api.EndpointSettings{
			Concurrency: d.Concurrency, Timeout: config.Duration(d.Timeout), QueueBytes: d.QueueBytes, Order: string(d.Order),
		},
	}
	for _, s := range d.Secrets {
		out.Secrets = append(out.Secrets, api.SecretInfo{ID: secretID(s)})
	}
	return out
}

func recordView(r *store.EndpointRecord, now time.Time) api.Endpoint {
	order := config.OrderNone
	if r.Settings.Ordered {
		order = config.OrderKey
	}
	out := api.Endpoint{
		ID: r.ID, Tenant: r.Tenant, URL: r.URL, Description: r.Description,
		EndpointSettings: api.EndpointSettings{
			Concurrency: r.Settings.Concurrency, Timeout: config.Duration(r.Settings.Timeout), QueueBytes: r.Settings.QueueBytes, Order: string(order),
		},
		Version: r.Version, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
	}
	for _, s := range live(r.Secrets, now) {
		info := api.SecretInfo{ID: secretID(s.Secret)}
		if !s.ExpiresAt.IsZero() {
			info.ExpiresAt = &s.ExpiresAt
		}
		out.Secrets = append(out.Secrets, info)
	}
	return out
}

// secretID tells two secrets apart: 32 bits of a digest say nothing of the secret's 192 or more.
func secretID(s webhook.Secret) string {
	sum := sha256.Sum256([]byte("rowhook secret id\x00" + s.Reveal()))
	return hex.EncodeToString(sum[:4])
}

// addProgress adds what the engines know at this moment. What one of them says of the endpoint's state holds: they agree but for the
// moment in which it changes, or when the endpoint's own answer has disabled it in one of them.
func (c *control) addProgress(ctx context.Context, out *api.Endpoint) error {
	out.State = api.EndpointActive
	out.Progress = []api.SourceProgress{}
	for _, s := range c.app.sources {
		l, ok := s.engine.Lane(out.ID)
		if !ok {
			continue
		}
		parked, err := c.app.store.CountParked(ctx, s.name, out.ID)
		if err != nil {
			return err
		}
		next, _, _ := s.log.Tail()
		p := api.SourceProgress{
			Source: s.name, Floor: l.Floor, Behind: max(next, l.Floor+1) - 1 - l.Floor, Waiting: int64(l.Waiting + l.Behind), Parked: parked,
		}
		for _, b := range l.Backfills {
			p.Waiting += int64(b.Waiting + b.Behind)
		}
		out.Progress = append(out.Progress, p)
		addState(out, &l)
	}
	return nil
}

// addState lets the state that needs somebody most stand for all sources.
func addState(out *api.Endpoint, l *deliver.LaneStatus) {
	state := map[deliver.LaneState]api.EndpointState{
		deliver.LaneLagging: api.EndpointLagging, deliver.LanePaused: api.EndpointPaused, deliver.LaneDisabled: api.EndpointDisabled,
	}[l.State]
	order := []api.EndpointState{api.EndpointActive, api.EndpointLagging, api.EndpointPaused, api.EndpointDisabled}
	if slices.Index(order, state) <= slices.Index(order, out.State) {
		return
	}
	out.State, out.StateReason, out.StateSince = state, l.Reason, nil
	if !l.Since.IsZero() {
		since := l.Since.UTC()
		out.StateSince = &since
	}
}
