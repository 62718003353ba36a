package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/store"
	"github.com/rowhook/rowhook/webhook"
)

const (
	// idRandom is how many random characters an id has: 80 bits.
	idRandom = 16
	// maxOverlap is how long an old secret may sign beside a new one.
	maxOverlap = 7 * 24 * time.Hour
	// maxSecrets is how many secrets may sign at once. Each makes every request a little longer.
	maxSecrets = 5
)

// CreateEndpoint stores the record first: the engines know nothing that a crash could make them forget.
func (c *control) CreateEndpoint(ctx context.Context, who api.Caller, e api.NewEndpoint) (api.Endpoint, string, error) {
	r, err := c.newRecord(who, e)
	if err != nil {
		return api.Endpoint{}, "", err
	}
	ep, err := c.checked(ctx, &r)
	if err != nil {
		return api.Endpoint{}, "", err
	}
	ctx, cancel := toTheEnd(ctx)
	defer cancel()
	unlock, err := c.locks.lock(ctx, r.ID)
	if err != nil {
		return api.Endpoint{}, "", err
	}
	defer unlock()
	if err := c.app.store.CreateEndpoint(ctx, &r); err != nil {
		return api.Endpoint{}, "", err
	}
	if err := c.put(ctx, ep); err != nil {
		return api.Endpoint{}, "", errors.Join(err, c.forget(ctx, r.ID, 0))
	}
	view, err := c.view(ctx, found{record: r})
	return view, r.Secrets[0].Secret.Reveal(), err
}

func (c *control) newRecord(who api.Caller, e api.NewEndpoint) (store.EndpointRecord, error) {
	if who.Tenant != "" {
		if e.Tenant != "" && e.Tenant != who.Tenant {
			return store.EndpointRecord{}, invalid("body.tenant", "is not the tenant of the key")
		}
		e.Tenant = who.Tenant
	}
	secret, err := newSecret(e.Secret)
	if err != nil {
		return store.EndpointRecord{}, err
	}
	d := config.EndpointDefaults()
	settings, err := settingsOf(
		store.EndpointSettings{Concurrency: d.Concurrency, Timeout: d.Timeout, QueueBytes: d.QueueBytes, Ordered: d.Order == config.OrderKey},
		e.Concurrency, e.Timeout, e.QueueBytes, e.Order)
	if err != nil {
		return store.EndpointRecord{}, err
	}
	return store.EndpointRecord{
		ID: config.APIPrefix + store.RandomText(idRandom), Tenant: e.Tenant, URL: e.URL, Description: e.Description, Settings: settings,
		Secrets: []store.SigningSecret{{Secret: secret}},
	}, nil
}

// newSecret reads a secret that somebody gave, or makes one. Problems do not quote it.
func newSecret(text string) (webhook.Secret, error) {
	if text == "" {
		return webhook.NewSecret(), nil
	}
	secret, err := webhook.ParseSecret(text)
	if err == nil {
		_, err = webhook.NewSigner(secret)
	}
	if err != nil {
		return webhook.Secret{}, invalid("body.secret", "cannot sign: %v", err)
	}
	return secret, nil
}

// settingsOf changes what is not nil, within the limits that the configuration has too.
func settingsOf(s store.EndpointSettings, concurrency *int, timeout *time.Duration, queueBytes *int64, order *string) (store.EndpointSettings, error) {
	var wrong []api.FieldProblem
	check := func(ok bool, field, message string) {
		if !ok {
			wrong = append(wrong, api.FieldProblem{Location: "body." + field, Message: message})
		}
	}
	if concurrency != nil {
		check(*concurrency >= config.MinConcurrency && *concurrency <= config.MaxConcurrency, "concurrency",
			fmt.Sprintf("is not between %d and %d", config.MinConcurrency, config.MaxConcurrency))
		s.Concurrency = *concurrency
	}
	if timeout != nil {
		check(*timeout >= config.MinTimeout && *timeout <= config.MaxTimeout, "timeout",
			fmt.Sprintf("is not between %s and %s", config.Duration(config.MinTimeout), config.Duration(config.MaxTimeout)))
		s.Timeout = timeout.Truncate(time.Millisecond)
	}
	if queueBytes != nil {
		check(*queueBytes >= config.MinQueueBytes && *queueBytes <= config.MaxQueueBytes, "queue_bytes",
			fmt.Sprintf("is not between %d and %d", config.MinQueueBytes, config.MaxQueueBytes))
		s.QueueBytes = *queueBytes
	}
	if order != nil {
		o := config.Order(*order)
		check(o == config.OrderKey || o == config.OrderNone, "order", "is neither key nor none")
		s.Ordered = o == config.OrderKey
	}
	if len(wrong) > 0 {
		return s, invalidFields(wrong...)
	}
	return s, nil
}

// checked makes an endpoint of a record that somebody asked for: its URL passes the guard, and its name leads somewhere now. Each send
// looks the name up again, and checks what it leads to then.
func (c *control) checked(ctx context.Context, r *store.EndpointRecord) (*deliver.Endpoint, error) {
	err := c.app.egress.CheckDNS(ctx, r.URL)
	if lookup, ok := errors.AsType[*net.DNSError](err); ok {
		return nil, invalid("body.url", "its host cannot be found: %s", lookup.Err)
	}
	if err != nil {
		return nil, invalid("body.url", "%v", err)
	}
	return c.ready(r, time.Now())
}

func (c *control) put(ctx context.Context, ep *deliver.Endpoint) error {
	return c.everywhere(func(s *source) error { return s.engine.PutEndpoint(ctx, ep) })
}

// forget removes an endpoint from the engines and then its record. Begun once, it is finished at the next start; see finishDeletions.
func (c *control) forget(ctx context.Context, id string, ifMatch uint64) error {
	if err := c.app.store.BeginDeleteEndpoint(ctx, id, ifMatch); err != nil {
		return answered(err, "endpoint")
	}
	return c.finishForget(ctx, id)
}

// Endpoint returns one endpoint.
func (c *control) Endpoint(ctx context.Context, who api.Caller, id string) (api.Endpoint, error) {
	f, err := c.find(ctx, who, id)
	if err != nil {
		return api.Endpoint{}, err
	}
	return c.view(ctx, f)
}

// ListEndpoints merges those of the configuration with those of the store. The cursor is the last id.
func (c *control) ListEndpoints(ctx context.Context, who api.Caller, tenant string, p api.Page) ([]api.Endpoint, string, error) {
	if who.Tenant != "" {
		if tenant != "" && tenant != who.Tenant {
			return []api.Endpoint{}, "", nil
		}
		tenant = who.Tenant
	}
	limit := pageSize(p)
	records, err := c.app.store.Endpoints(ctx, tenant, p.After, limit+1)
	if err != nil {
		return nil, "", err
	}
	var all []found
	for _, r := range records {
		all = append(all, found{record: r})
	}
	declared := c.app.declaredEndpoints()
	for i := range declared {
		if e := &declared[i]; e.Name > p.After && (tenant == "" || e.Tenant == tenant) {
			all = append(all, found{declared: e})
		}
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Compare(a.id(), b.id()) })
	next := ""
	if len(all) > limit {
		all = all[:limit]
		next = all[limit-1].id()
	}
	out := make([]api.Endpoint, len(all))
	for i := range all {
		if out[i], err = c.view(ctx, all[i]); err != nil {
			return nil, "", err
		}
	}
	return out, next, nil
}

// UpdateEndpoint stores the change first, as CreateEndpoint does.
func (c *control) UpdateEndpoint(ctx context.Context, who api.Caller, id string, ifMatch uint64, ch api.EndpointChange) (api.Endpoint, error) {
	return c.change(ctx, who, id, ifMatch, func(r *store.EndpointRecord) error {
		var err error
		if r.Settings, err = settingsOf(r.Settings, ch.Concurrency, ch.Timeout, ch.QueueBytes, ch.Order); err != nil {
			return err
		}
		if ch.Description != nil {
			r.Description = *ch.Description
		}
		if ch.URL == nil {
			return nil
		}
		r.URL = *ch.URL
		_, err = c.checked(ctx, r)
		return err
	})
}

// RotateSecret lets the new secret sign beside the old ones until they end.
func (c *control) RotateSecret(ctx context.Context, who api.Caller, id string, ifMatch uint64, text string, overlap time.Duration) (api.Endpoint, string, error) {
	if overlap < 0 || overlap > maxOverlap {
		return api.Endpoint{}, "", invalid("body.overlap", "is not between 0s and %s", config.Duration(maxOverlap))
	}
	secret, err := newSecret(text)
	if err != nil {
		return api.Endpoint{}, "", err
	}
	view, err := c.change(ctx, who, id, ifMatch, func(r *store.EndpointRecord) error {
		now := time.Now()
		return rotate(r, secret, now, now.Add(overlap))
	})
	if err != nil {
		return api.Endpoint{}, "", err
	}
	return view, secret.Reveal(), nil
}

// rotate puts a secret before those that sign now, which end no later than at a time.
func rotate(r *store.EndpointRecord, secret webhook.Secret, now, end time.Time) error {
	secrets := []store.SigningSecret{{Secret: secret}}
	for _, old := range live(r.Secrets, now) {
		if old.Secret.Equal(secret) {
			return &api.Problem{
				Status: http.StatusConflict, Code: "secret_in_use", Detail: "this secret signs already", Hint: "give another one, or none: then one is made",
			}
		}
		if old.ExpiresAt.IsZero() || end.Before(old.ExpiresAt) {
			old.ExpiresAt = end
		}
		secrets = append(secrets, old)
	}
	secrets = live(secrets, now)
	if len(secrets) > maxSecrets {
		return &api.Problem{
			Status: http.StatusConflict, Code: "too_many_secrets", Detail: fmt.Sprintf("%d secrets sign already", len(secrets)-1),
			Hint: "wait until one has ended, or end them all at once with the overlap 0s",
		}
	}
	r.Secrets = secrets
	return nil
}

// change changes an endpoint that the API made, in the store and then in the engines.
func (c *control) change(ctx context.Context, who api.Caller, id string, ifMatch uint64, f func(*store.EndpointRecord) error) (api.Endpoint, error) {
	unlock, err := c.locks.lock(ctx, id)
	if err != nil {
		return api.Endpoint{}, err
	}
	defer unlock()
	r, err := c.made(ctx, who, id)
	if err != nil {
		return api.Endpoint{}, err
	}
	if ifMatch != 0 && ifMatch != r.Version {
		return api.Endpoint{}, stale()
	}
	if err := f(&r); err != nil {
		return api.Endpoint{}, err
	}
	ep, err := c.ready(&r, time.Now())
	if err != nil {
		return api.Endpoint{}, err
	}
	ctx, cancel := toTheEnd(ctx)
	defer cancel()
	if err := c.app.store.UpdateEndpoint(ctx, &r); err != nil {
		return api.Endpoint{}, answered(err, "endpoint")
	}
	if err := c.put(ctx, ep); err != nil {
		return api.Endpoint{}, err
	}
	return c.view(ctx, found{record: r})
}

// DeleteEndpoint forgets an endpoint with everything that waited for it.
func (c *control) DeleteEndpoint(ctx context.Context, who api.Caller, id string, ifMatch uint64) error {
	unlock, err := c.locks.lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := c.made(ctx, who, id); err != nil {
		return err
	}
	ctx, cancel := toTheEnd(ctx)
	defer cancel()
	return c.forget(ctx, id, ifMatch)
}

// PauseEndpoint pauses in all sources at once and waits for requests in flight as long as ctx lets it.
func (c *control) PauseEndpoint(ctx context.Context, who api.Caller, id, reason string) (api.Endpoint, error) {
	return c.switched(ctx, who, id, func(s *source) error {
		err := s.engine.Pause(ctx, id, reason)
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil // paused it is
		}
		return err
	})
}

// ResumeEndpoint resumes in all sources.
func (c *control) ResumeEndpoint(ctx context.Context, who api.Caller, id string) (api.Endpoint, error) {
	ctx, cancel := toTheEnd(ctx)
	defer cancel()
	return c.switched(ctx, who, id, func(s *source) error { return s.engine.Resume(ctx, id) })
}

// switched does something to an endpoint, declared or not, in all sources and returns what has become of it.
func (c *control) switched(ctx context.Context, who api.Caller, id string, f func(*source) error) (api.Endpoint, error) {
	unlock, err := c.locks.lock(ctx, id)
	if err != nil {
		return api.Endpoint{}, err
	}
	defer unlock()
	e, err := c.find(ctx, who, id)
	if err != nil {
		return api.Endpoint{}, err
	}
	if err := c.everywhere(f); errors.Is(err, deliver.ErrNoEndpoint) {
		return api.Endpoint{}, notFound("endpoint") // a reload has removed it meanwhile
	} else if err != nil {
		return api.Endpoint{}, err
	}
	ctx, cancel := toTheEnd(ctx)
	defer cancel()
	return c.view(ctx, e)
}
