package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/store"
)

// loadRegistry returns the endpoints that the API made, for the engines to begin with, each with the secrets that sign now.
func (c *control) loadRegistry(ctx context.Context) ([]*deliver.Endpoint, error) {
	var out []*deliver.Endpoint
	err := c.eachRecord(ctx, func(r *store.EndpointRecord) error {
		if err := c.app.egress.CheckURL(r.URL); err != nil {
			c.app.log.Warn("the egress guard refuses an endpoint's URL, its deliveries will fail", "endpoint", r.ID, "err", err)
		}
		ep, err := c.ready(r, time.Now())
		if err != nil {
			return err
		}
		out = append(out, ep)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load the endpoints that the API made: %w", err)
	}
	return out, nil
}

func (c *control) eachRecord(ctx context.Context, f func(*store.EndpointRecord) error) error {
	for after := ""; ; {
		page, err := c.app.store.Endpoints(ctx, "", after, loadPage)
		if err != nil {
			return err
		}
		for i := range page {
			if err := f(&page[i]); err != nil {
				return err
			}
			after = page[i].ID
		}
		if len(page) < loadPage {
			return nil
		}
	}
}

func (c *control) eachSubscription(ctx context.Context, f func(*store.SubscriptionRecord) error) error {
	for after := ""; ; {
		page, err := c.app.store.APISubscriptions(ctx, "", "", after, loadPage)
		if err != nil {
			return err
		}
		for i := range page {
			if err := f(&page[i]); err != nil {
				return err
			}
			after = page[i].ID
		}
		if len(page) < loadPage {
			return nil
		}
	}
}

// finishDeletions finishes the deletions that an end of the process has cut short. No engine knows these endpoints.
func (c *control) finishDeletions(ctx context.Context) error {
	ids, err := c.app.store.DeletedEndpoints(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		unlock, err := c.locks.lock(ctx, id)
		if err != nil {
			return err
		}
		err = c.finishForget(ctx, id)
		unlock()
		if err != nil {
			return fmt.Errorf("finish the deletion of endpoint %s: %w", id, err)
		}
	}
	return nil
}

// finishForget removes an endpoint whose deletion was begun from the engines, from what the store keeps for them, and at last its record.
func (c *control) finishForget(ctx context.Context, id string) error {
	err := c.everywhere(func(s *source) error {
		err := s.engine.RemoveEndpoint(ctx, id)
		if !errors.Is(err, deliver.ErrNoEndpoint) {
			return err
		}
		// An earlier try has come that far, or an earlier process: then nobody but this writes of it.
		slot := deliver.SlotOf(id)
		return c.app.store.Commit(ctx, deliver.Batch{Source: s.name, Slots: []deliver.SlotWrite{
			{Slot: slot, Epoch: c.app.claims[slot].Epoch, Forget: []string{id}},
		}})
	})
	if err != nil {
		return err
	}
	return c.app.store.DeleteEndpoint(ctx, id)
}

// reconcile brings the engines in line with the records of subscriptions, where a crash came between the two, and gives subscriptions
// a place in sources that are new.
func (c *control) reconcile(ctx context.Context) error {
	known := map[string]bool{}
	err := c.eachSubscription(ctx, func(r *store.SubscriptionRecord) error {
		known[r.ID] = true
		if err := c.reconcileSubscription(ctx, r.ID); err != nil {
			return fmt.Errorf("bring subscription %s in line: %w", r.ID, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.endUnknown(ctx, known)
}

// endUnknown ends subscriptions that an engine has and that have no record: a crash came before their creation was answered.
func (c *control) endUnknown(ctx context.Context, known map[string]bool) error {
	return c.everywhere(func(s *source) error {
		ranges, err := c.app.store.Ranges(ctx, s.name)
		if err != nil {
			return err
		}
		for _, r := range ranges {
			if r.To != 0 || known[r.Subscription] || !strings.HasPrefix(r.Endpoint, config.APIPrefix) {
				continue
			}
			if err := c.endUnknownIn(ctx, s, r); err != nil {
				return fmt.Errorf("end subscription %s, which has no record: %w", r.Subscription, err)
			}
		}
		return nil
	})
}

func (c *control) endUnknownIn(ctx context.Context, s *source, r deliver.Range) error {
	unlock, err := c.locks.lock(ctx, r.Endpoint)
	if err != nil {
		return err
	}
	defer unlock()
	// It may have been made while the others were looked at.
	if _, err := c.app.store.APISubscription(ctx, r.Subscription); !errors.Is(err, store.ErrNotFound) {
		return err
	}
	_, _, err = s.engine.EndSubscription(ctx, r.Endpoint, r.Subscription)
	if errors.Is(err, deliver.ErrNoEndpoint) {
		return nil
	}
	return err
}

// expireSecrets takes the secrets that have ended out of the engines and then out of the store.
func (c *control) expireSecrets(ctx context.Context) error {
	for {
		ids, err := c.app.store.ExpiredSecrets(ctx, time.Now(), loadPage)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := c.expireSecretsOf(ctx, id); err != nil {
				return fmt.Errorf("end secrets of endpoint %s: %w", id, err)
			}
		}
		if len(ids) < loadPage {
			return nil
		}
	}
}

func (c *control) expireSecretsOf(ctx context.Context, id string) error {
	unlock, err := c.locks.lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	f, err := c.lookUp(ctx, id)
	if isNotFound(err) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	ctx, cancel := toTheEnd(ctx)
	defer cancel()
	now := time.Now()
	ep, err := c.ready(&f.record, now)
	if err != nil {
		return err
	}
	// The engines first: a secret does not go on signing because the disk is full.
	if err := c.put(ctx, ep); err != nil {
		return err
	}
	f.record.Secrets = live(f.record.Secrets, now)
	return c.app.store.UpdateEndpoint(ctx, &f.record)
}

// answersBatch is how many old answers are removed in one transaction.
const answersBatch = 500

func (c *control) pruneAnswers(ctx context.Context) error {
	for {
		n, err := c.app.store.PruneAnswers(ctx, answersBatch)
		if err != nil || n < answersBatch {
			return err
		}
	}
}
