package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/webhook"
)

// memory is a Backend that is as strict as the process: it knows tenants, versions and what is declared, and forgets on restart.
type memory struct {
	mu            sync.Mutex
	guard         *deliver.Egress
	endpoints     map[string]Endpoint
	subscriptions map[string]Subscription
	keys          map[string]Key // by the key itself
	answers       map[string]*kept
	events        []TailEvent
	wake          chan struct{} // closed at the next event
	made          int
	// hook, if set, runs before endpoints are made.
	hook func(context.Context) error
	// failing makes Status fail, as a process would.
	failing error
	// master is an admin's key that cannot be deleted.
	master string
	// once ends tails after what is there.
	once bool
}

type kept struct {
	request [32]byte
	answer  *StoredAnswer
}

const (
	declaredEndpoint     = "orders"
	declaredSubscription = "orders/all"
	foreignEndpoint      = "ep_foreign"
	knownEvent           = "evt_00000000000000000000000000000000"
)

func newMemory() *memory {
	guard, err := deliver.NewEgress(deliver.EgressPolicy{})
	if err != nil {
		panic(err)
	}
	m := &memory{
		guard: guard, endpoints: map[string]Endpoint{}, subscriptions: map[string]Subscription{}, keys: map[string]Key{},
		answers: map[string]*kept{}, wake: make(chan struct{}),
		events: []TailEvent{{ID: knownEvent, Type: "order.created", Source: "shop", Seq: 7, Payload: RawJSON(`{"id":"` + knownEvent + `"}`)}},
	}
	m.endpoints[declaredEndpoint] = Endpoint{ID: declaredEndpoint, Declared: true, URL: "https://hooks.example.com/", State: EndpointActive, Version: 1, EndpointSettings: defaults()}
	m.endpoints[foreignEndpoint] = Endpoint{ID: foreignEndpoint, Tenant: "umbrella", URL: "https://hooks.example.com/", State: EndpointActive, Version: 1, EndpointSettings: defaults()}
	m.subscriptions[declaredSubscription] = Subscription{ID: declaredSubscription, Declared: true, Endpoint: declaredEndpoint, Types: []string{"*"}, Version: 1}
	return m
}

func defaults() EndpointSettings {
	return EndpointSettings{Concurrency: 16, Timeout: "20s", QueueBytes: 4 << 20, Order: "key"}
}

func notFound(what string) error {
	return &Problem{Status: http.StatusNotFound, Code: codeNotFound, Detail: "there is no such " + what}
}

func (m *memory) id(prefix string) string {
	m.made++
	return fmt.Sprintf("%s_%06d", prefix, m.made)
}

// see returns an endpoint if the caller may see it.
func (m *memory) see(c Caller, id string) (Endpoint, error) {
	e, ok := m.endpoints[id]
	if !ok || c.Tenant != "" && c.Tenant != e.Tenant {
		return Endpoint{}, notFound("endpoint")
	}
	return e, nil
}

// own returns an endpoint if the caller may change it.
func (m *memory) own(c Caller, id string, version uint64) (Endpoint, error) {
	e, err := m.see(c, id)
	switch {
	case err != nil:
		return e, err
	case e.Declared:
		return e, &Problem{Status: http.StatusConflict, Code: "declared", Detail: "it stands in the configuration", Hint: "change it there"}
	case version != 0 && version != e.Version:
		return e, errStale()
	}
	return e, nil
}

func (m *memory) checkURL(u string) error {
	parsed, err := url.Parse(u)
	if err == nil {
		err = m.guard.CheckURL(u)
	}
	if err == nil && strings.HasSuffix(parsed.Hostname(), ".invalid") {
		err = errors.New("its name is not known")
	}
	if err != nil {
		return &Problem{Status: http.StatusUnprocessableEntity, Code: codeInvalid, Detail: "the URL is refused", Fields: []FieldProblem{{Location: "body.url", Message: err.Error()}}}
	}
	return nil
}

func (m *memory) CreateEndpoint(ctx context.Context, c Caller, n NewEndpoint) (Endpoint, string, error) {
	if m.hook != nil {
		if err := m.hook(ctx); err != nil {
			return Endpoint{}, "", err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkURL(n.URL); err != nil {
		return Endpoint{}, "", err
	}
	secret := n.Secret
	if secret == "" {
		secret = webhook.NewSecret().Reveal()
	}
	e := Endpoint{
		ID: m.id("ep"), Tenant: n.Tenant, URL: n.URL, Description: n.Description, EndpointSettings: settings(defaults(), n.Concurrency, n.Timeout, n.QueueBytes, n.Order),
		State: EndpointActive, Version: 1, CreatedAt: time.Now(), UpdatedAt: time.Now(), Secrets: []SecretInfo{{ID: "s"}},
	}
	m.endpoints[e.ID] = e
	return e, secret, nil
}

func settings(s EndpointSettings, concurrency *int, timeout *time.Duration, queue *int64, order *string) EndpointSettings {
	if concurrency != nil {
		s.Concurrency = *concurrency
	}
	if timeout != nil {
		s.Timeout = timeout.String()
	}
	if queue != nil {
		s.QueueBytes = *queue
	}
	if order != nil {
		s.Order = *order
	}
	return s
}

func (m *memory) Endpoint(_ context.Context, c Caller, id string) (Endpoint, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.see(c, id)
}

func (m *memory) ListEndpoints(_ context.Context, c Caller, tenant string, p Page) ([]Endpoint, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Endpoint
	for _, e := range m.endpoints {
		if (c.Tenant == "" || c.Tenant == e.Tenant) && (tenant == "" || tenant == e.Tenant) {
			all = append(all, e)
		}
	}
	return cut(all, p, func(e Endpoint) string { return e.ID })
}

// cut returns a page of a list.
func cut[T any](all []T, p Page, id func(T) string) ([]T, string, error) {
	slices.SortFunc(all, func(a, b T) int { return cmp.Compare(id(a), id(b)) })
	all = slices.DeleteFunc(all, func(v T) bool { return id(v) <= p.After })
	if len(all) <= p.Limit {
		return all, "", nil
	}
	return all[:p.Limit], id(all[p.Limit-1]), nil
}

func (m *memory) change(c Caller, id string, version uint64, f func(*Endpoint) error) (Endpoint, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.own(c, id, version)
	if err != nil {
		return Endpoint{}, err
	}
	if err := f(&e); err != nil {
		return Endpoint{}, err
	}
	e.Version++
	m.endpoints[id] = e
	return e, nil
}

func (m *memory) UpdateEndpoint(_ context.Context, c Caller, id string, version uint64, ch EndpointChange) (Endpoint, error) {
	return m.change(c, id, version, func(e *Endpoint) error {
		if ch.URL != nil {
			if err := m.checkURL(*ch.URL); err != nil {
				return err
			}
			e.URL = *ch.URL
		}
		if ch.Description != nil {
			e.Description = *ch.Description
		}
		e.EndpointSettings = settings(e.EndpointSettings, ch.Concurrency, ch.Timeout, ch.QueueBytes, ch.Order)
		return nil
	})
}

func (m *memory) DeleteEndpoint(_ context.Context, c Caller, id string, version uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.own(c, id, version); err != nil {
		return err
	}
	delete(m.endpoints, id)
	return nil
}

func (m *memory) setState(c Caller, id string, state EndpointState, reason string) (Endpoint, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.see(c, id)
	if err != nil {
		return e, err
	}
	e.State, e.StateReason = state, reason
	e.Version++
	m.endpoints[id] = e
	return e, nil
}

func (m *memory) PauseEndpoint(_ context.Context, c Caller, id, reason string) (Endpoint, error) {
	return m.setState(c, id, EndpointPaused, reason)
}

func (m *memory) ResumeEndpoint(_ context.Context, c Caller, id string) (Endpoint, error) {
	return m.setState(c, id, EndpointActive, "")
}

func (m *memory) RotateSecret(_ context.Context, c Caller, id string, version uint64, secret string, overlap time.Duration) (Endpoint, string, error) {
	if secret == "" {
		secret = webhook.NewSecret().Reveal()
	}
	e, err := m.change(c, id, version, func(e *Endpoint) error {
		until := time.Now().Add(overlap)
		e.Secrets = []SecretInfo{{ID: "new"}, {ID: "old", ExpiresAt: &until}}
		return nil
	})
	return e, secret, err
}

func (m *memory) TestEndpoint(_ context.Context, c Caller, id, eventType string) (TestResult, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.see(c, id); err != nil {
		return TestResult{}, err
	}
	if eventType != "" && eventType != "order.created" {
		return TestResult{}, notFound("event type")
	}
	return TestResult{EventID: knownEvent, Outcome: "accepted", Status: 200, DurationMS: 1.5}, nil
}

func (m *memory) EndpointAttempts(ctx context.Context, c Caller, id string, p Page) ([]Attempt, string, error) {
	if _, err := m.Endpoint(ctx, c, id); err != nil {
		return nil, "", err
	}
	return m.attempts(p)
}

func (m *memory) attempts(p Page) ([]Attempt, string, error) {
	var all []Attempt
	for i := range 5 {
		all = append(all, Attempt{EventID: knownEvent, Endpoint: declaredEndpoint, Source: "shop", Seq: 7, Type: "order.created", Attempt: uint32(i), Outcome: "accepted", Status: 200})
	}
	return cut(all, p, func(a Attempt) string { return fmt.Sprint(a.Attempt) })
}

func (m *memory) EndpointExceptions(ctx context.Context, c Caller, id, _ string, _ Page) ([]Exception, string, error) {
	_, err := m.Endpoint(ctx, c, id)
	return nil, "", err
}

func (m *memory) seeSubscription(c Caller, id string) (Subscription, error) {
	s, ok := m.subscriptions[id]
	if ok {
		_, err := m.see(c, s.Endpoint)
		ok = err == nil
	}
	if !ok {
		return Subscription{}, notFound("subscription")
	}
	return s, nil
}

func (m *memory) CreateSubscription(_ context.Context, c Caller, n NewSubscription) (Subscription, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.see(c, n.Endpoint); err != nil {
		return Subscription{}, &Problem{Status: http.StatusUnprocessableEntity, Code: codeInvalid, Detail: "no such endpoint", Fields: []FieldProblem{{Location: "body.endpoint", Message: "names no endpoint"}}}
	}
	s := Subscription{ID: m.id("sub"), Endpoint: n.Endpoint, Types: n.Types, Subject: n.Subject, Description: n.Description, Version: 1, CreatedAt: time.Now(), UpdatedAt: time.Now()}
	s.Starts = []Start{{Source: "shop", Seq: 8}}
	for source, seq := range n.From.Seqs {
		if source != "shop" {
			return Subscription{}, &Problem{Status: http.StatusUnprocessableEntity, Code: codeInvalid, Detail: "no such source", Fields: []FieldProblem{{Location: "body.from", Message: "names no source"}}}
		}
		s.Starts = []Start{{Source: source, Seq: seq, Backfilling: seq < 8}}
	}
	if n.From.Earliest || n.From.Time != nil {
		s.Starts = []Start{{Source: "shop", Backfilling: true}}
	}
	m.subscriptions[s.ID] = s
	return s, nil
}

func (m *memory) Subscription(_ context.Context, c Caller, id string) (Subscription, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seeSubscription(c, id)
}

func (m *memory) ListSubscriptions(_ context.Context, c Caller, endpoint string, p Page) ([]Subscription, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Subscription
	for id, s := range m.subscriptions {
		if _, err := m.seeSubscription(c, id); err == nil && (endpoint == "" || endpoint == s.Endpoint) {
			all = append(all, s)
		}
	}
	return cut(all, p, func(s Subscription) string { return s.ID })
}

func (m *memory) changeSubscription(c Caller, id string, version uint64, f func(*Subscription)) (Subscription, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.seeSubscription(c, id)
	switch {
	case err != nil:
		return s, err
	case s.Declared && f != nil:
		return s, &Problem{Status: http.StatusConflict, Code: "declared", Detail: "it stands in the configuration", Hint: "change it there"}
	case version != 0 && version != s.Version:
		return s, errStale()
	}
	if f != nil {
		f(&s)
	}
	s.Version++
	m.subscriptions[id] = s
	return s, nil
}

func (m *memory) UpdateSubscription(_ context.Context, c Caller, id string, version uint64, ch SubscriptionChange) (Subscription, error) {
	return m.changeSubscription(c, id, version, func(s *Subscription) {
		if ch.Types != nil {
			s.Types = *ch.Types
		}
		if ch.Subject != nil {
			s.Subject = *ch.Subject
		}
		if ch.Description != nil {
			s.Description = *ch.Description
		}
	})
}

func (m *memory) DeleteSubscription(_ context.Context, c Caller, id string, version uint64) error {
	_, err := m.changeSubscription(c, id, version, func(*Subscription) {})
	if err == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.subscriptions, id)
	}
	return err
}

func (m *memory) PauseSubscription(_ context.Context, c Caller, id string) (Subscription, error) {
	return m.changeSubscription(c, id, 0, nil)
}

func (m *memory) ResumeSubscription(_ context.Context, c Caller, id string) (Subscription, error) {
	return m.changeSubscription(c, id, 0, nil)
}
