package app

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/store"
)

// declare brings delivery to what the configuration declares: the same at a start, where the store says how far things were, and at
// a reload. What the API made is left alone. It returns what it changed, for people.
func (a *App) declare(ctx context.Context, cfg *config.Config) (changed []string, err error) {
	paused, err := a.store.Paused(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range a.sources {
		stored, err := a.store.Ranges(ctx, s.name)
		if err != nil {
			return changed, err
		}
		did, err := a.declareIn(ctx, s, cfg, stored, paused)
		changed = append(changed, did...)
		if err != nil {
			return changed, fmt.Errorf("source %s: %w", s.name, err)
		}
	}
	slices.Sort(changed)
	return slices.Compact(changed), nil
}

func (a *App) declareIn(ctx context.Context, s *source, cfg *config.Config, stored []deliver.Range, paused []store.DeclaredSubscription) (changed []string, err error) {
	for _, c := range cfg.Subscriptions {
		// Whoever resumes it gives it the definition of that moment.
		if slices.Contains(paused, store.DeclaredSubscription{Endpoint: c.Endpoint, Name: c.Name}) {
			continue
		}
		did, err := a.declareSubscription(ctx, s, c, stored)
		changed = append(changed, did...)
		if err != nil {
			return changed, err
		}
	}
	for _, r := range stored {
		if r.To != 0 || strings.HasPrefix(r.Endpoint, config.APIPrefix) || declares(cfg, r.Endpoint, r.Subscription) {
			continue
		}
		if _, _, err := s.engine.EndSubscription(ctx, r.Endpoint, r.Subscription); err != nil {
			return changed, err
		}
		changed = append(changed, "subscription "+r.Subscription+" of endpoint "+r.Endpoint+" removed")
	}
	return changed, nil
}

// declareSubscription begins a new subscription where its `from` says. An edited one goes on as a new version from the end of the
// log: what committed before is still told by the old one.
func (a *App) declareSubscription(ctx context.Context, s *source, c config.Subscription, stored []deliver.Range) ([]string, error) {
	r := deliver.Range{
		Source: s.name, Endpoint: c.Endpoint, Subscription: c.Name, Version: 1, Types: c.Types, Subject: c.Subject, From: deliver.FromNow,
	}
	what := "subscription " + c.Name + " of endpoint " + c.Endpoint + " "
	latest, known := latestVersion(stored, c.Endpoint, c.Name)
	switch {
	case known && latest.To == 0 && slices.Equal(latest.Types, c.Types) && latest.Subject == c.Subject:
		return nil, nil
	case known && latest.To == 0:
		r.Version, what = latest.Version+1, what+"changed"
	default:
		var err error
		if r.From, err = s.startOf(ctx, c.From); err != nil {
			return nil, err
		}
		r.Version, what = latest.Version+1, what+"added"
	}
	if _, _, err := s.engine.Subscribe(ctx, r); err != nil {
		return nil, err
	}
	return []string{what}, nil
}

func latestVersion(stored []deliver.Range, endpoint, subscription string) (latest deliver.Range, known bool) {
	for _, r := range stored {
		if r.Endpoint == endpoint && r.Subscription == subscription && r.Version > latest.Version {
			latest, known = r, true
		}
	}
	return latest, known
}

func declares(cfg *config.Config, endpoint, subscription string) bool {
	return slices.ContainsFunc(cfg.Subscriptions, func(c config.Subscription) bool { return c.Endpoint == endpoint && c.Name == subscription })
}

// startOf returns the seq after which a subscription begins that is made at this moment.
func (s *source) startOf(ctx context.Context, from config.From) (uint64, error) {
	if t, ok := from.Time(); ok {
		return s.log.SeqAt(ctx, t)
	}
	if from != config.FromEarliest {
		return deliver.FromNow, nil
	}
	if next, _, _ := s.log.Tail(); next == 0 {
		return 0, nil
	}
	first, err := s.log.First(ctx)
	if err != nil {
		return 0, fmt.Errorf("find the start of the log: %w", err)
	}
	return max(first, 1) - 1, nil
}

// adopt gives ranges of a store that kept no definitions those of the configuration.
func adopt(stored []deliver.Range, cfg *config.Config) (adopted []deliver.Range) {
	for _, r := range stored {
		for _, c := range cfg.Subscriptions {
			if len(r.Types) == 0 && r.Endpoint == c.Endpoint && r.Subscription == c.Name {
				r.Types, r.Subject = c.Types, c.Subject
				adopted = append(adopted, r)
			}
		}
	}
	return adopted
}
