package app

import (
	"context"
	"slices"

	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/deliver"
)

func newEndpoints(cfg *config.Config, egress *deliver.Egress, version string) ([]*deliver.Endpoint, error) {
	var out []*deliver.Endpoint
	for _, e := range cfg.Endpoints {
		ep, err := deliver.NewEndpoint(deliver.EndpointConfig{
			Name: e.Name, URL: e.URL, Tenant: e.Tenant, Secrets: e.Secrets, Concurrency: e.Concurrency, Timeout: e.Timeout,
			QueueBytes: e.QueueBytes, Ordered: e.Order == config.OrderKey, UserAgent: "Rowhook/" + version,
		}, egress)
		if err != nil {
			return nil, err
		}
		out = append(out, ep)
	}
	return out, nil
}

// rangesOf returns what the store knows of the subscriptions of the endpoints that there are. What belongs to endpoints that are
// gone is forgotten, so that one that comes back under an old name begins anew.
func (a *App) rangesOf(ctx context.Context, source string, endpoints []*deliver.Endpoint) ([]deliver.Range, error) {
	stored, err := a.store.Ranges(ctx, source)
	if err != nil {
		return nil, err
	}
	if adopted := adopt(stored, a.cfg); len(adopted) > 0 {
		if err := a.store.PutRanges(ctx, adopted...); err != nil {
			return nil, err
		}
		if stored, err = a.store.Ranges(ctx, source); err != nil {
			return nil, err
		}
	}
	gone := map[string]bool{}
	kept := stored[:0]
	for _, r := range stored {
		if slices.ContainsFunc(endpoints, func(e *deliver.Endpoint) bool { return e.Name == r.Endpoint }) {
			kept = append(kept, r)
		} else {
			gone[r.Endpoint] = true
		}
	}
	return kept, a.forget(ctx, source, gone)
}

func (a *App) forget(ctx context.Context, source string, endpoints map[string]bool) error {
	for name := range endpoints {
		slot := deliver.SlotOf(name)
		err := a.store.Commit(ctx, deliver.Batch{Source: source, Slots: []deliver.SlotWrite{{
			Slot: slot, Epoch: a.claims[slot].Epoch, Forget: []string{name},
		}}})
		if err != nil {
			return err
		}
		a.log.Info("endpoint is gone, and what waited for it", "source", source, "endpoint", name)
	}
	return nil
}
