package api

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

func (m *memory) Event(_ context.Context, _ Caller, id string) (Event, error) {
	if id != knownEvent {
		return Event{}, notFound("event")
	}
	return Event{ID: id, Type: "order.created", Source: "shop", Seq: 7, Payload: RawJSON(`{"id":"` + id + `"}`)}, nil
}

func (m *memory) EventAttempts(_ context.Context, _ Caller, id string, p Page) ([]Attempt, string, error) {
	if id != knownEvent {
		return nil, "", notFound("event")
	}
	return m.attempts(p)
}

func (m *memory) Tail(ctx context.Context, _ Caller, filter TailFilter, f func(*TailEvent) error) error {
	if filter.Source != "" && filter.Source != "shop" {
		return notFound("source")
	}
	m.mu.Lock()
	next := len(m.events)
	m.mu.Unlock()
	if filter.From.Earliest {
		next = 0
	}
	for {
		m.mu.Lock()
		waiting, wake := m.events[next:], m.wake
		m.mu.Unlock()
		for _, e := range waiting {
			next++
			if err := f(&e); err != nil {
				return err
			}
		}
		if m.once {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		}
	}
}

// publish adds an event to what tails see.
func (m *memory) publish(e TailEvent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, e)
	close(m.wake)
	m.wake = make(chan struct{})
}

func (m *memory) Trigger(_ context.Context, _ Caller, eventType string) ([]TriggerResult, error) {
	if eventType != "order.created" {
		return nil, notFound("event type")
	}
	return []TriggerResult{{Endpoint: declaredEndpoint, TestResult: TestResult{EventID: knownEvent, Outcome: "accepted", Status: 200}}}, nil
}

func (m *memory) Status(context.Context, Caller) (Status, error) {
	if m.failing != nil {
		return Status{}, m.failing
	}
	return Status{Version: "test", StartedAt: time.Now()}, nil
}

func (m *memory) Sources(context.Context, Caller) ([]Source, error) {
	return []Source{{Name: "shop", State: "running", Address: "127.0.0.1:3306", NextSeq: 8}}, nil
}

func (m *memory) Source(ctx context.Context, c Caller, name string) (Source, error) {
	if name != "shop" {
		return Source{}, notFound("source")
	}
	all, err := m.Sources(ctx, c)
	return all[0], err
}

func (m *memory) StartSource(ctx context.Context, c Caller, name string) (Source, error) {
	return m.Source(ctx, c, name)
}

func (m *memory) SkipSource(ctx context.Context, c Caller, name string, g NewGap) (Source, error) {
	s, err := m.Source(ctx, c, name)
	s.Gaps = []Gap{{GTID: g.GTID, Position: g.Position, Reason: g.Reason, By: c.KeyID}}
	return s, err
}

func (m *memory) StopSource(ctx context.Context, c Caller, name string) (Source, error) {
	return m.Source(ctx, c, name)
}

func (m *memory) EventTypes(context.Context, Caller) ([]EventType, error) {
	return []EventType{{Name: "order.created", Table: "shop.orders", On: []string{"insert"}}}, nil
}

func (m *memory) EventType(ctx context.Context, c Caller, name string) (EventType, error) {
	if name != "order.created" {
		return EventType{}, notFound("event type")
	}
	all, err := m.EventTypes(ctx, c)
	return all[0], err
}

func (m *memory) Tenants(_ context.Context, _ Caller, p Page) ([]Tenant, string, error) {
	return cut([]Tenant{{ID: "acme"}, {ID: "umbrella", Endpoints: 1}}, p, func(t Tenant) string { return t.ID })
}

func (m *memory) Reload(context.Context, Caller) (Reload, error) {
	return Reload{At: time.Now(), Error: &Reason{Code: "config", Message: "a mistake"}}, nil
}

func (m *memory) Backup(_ context.Context, _ Caller, w io.Writer) error {
	_, err := io.WriteString(w, "backup")
	return err
}

func (m *memory) Authenticate(_ context.Context, key string) (Caller, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if key == m.master && key != "" {
		return Caller{KeyID: "master", Scope: ScopeAdmin}, true, nil
	}
	k, ok := m.keys[key]
	if !ok || k.ExpiresAt != nil && !k.ExpiresAt.After(time.Now()) {
		return Caller{}, false, nil
	}
	return Caller{KeyID: k.ID, Scope: k.Scope, Tenant: k.Tenant}, true, nil
}

func (m *memory) CreateKey(_ context.Context, _ Caller, n NewKey) (Key, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := Key{ID: m.id("key"), Name: n.Name, Scope: n.Scope, Tenant: n.Tenant, CreatedAt: time.Now()}
	if !n.ExpiresAt.IsZero() {
		k.ExpiresAt = &n.ExpiresAt
	}
	text := fmt.Sprintf("rhk_%024d", m.made)
	m.keys[text] = k
	return k, text, nil
}

func (m *memory) ListKeys(_ context.Context, _ Caller, p Page) ([]Key, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return cut(slices.Collect(maps.Values(m.keys)), p, func(k Key) string { return k.ID })
}

func (m *memory) DeleteKey(_ context.Context, _ Caller, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for text, k := range m.keys {
		if k.ID == id {
			delete(m.keys, text)
			return nil
		}
	}
	return notFound("key")
}

func (m *memory) BeginIdempotent(_ context.Context, c Caller, key string, request [32]byte) (*StoredAnswer, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, ok := m.answers[c.KeyID+" "+key]
	if !ok {
		m.answers[c.KeyID+" "+key] = &kept{request: request, answer: &StoredAnswer{}}
		return nil, false, nil
	}
	return before.answer, before.request == request, nil
}

func (m *memory) FinishIdempotent(_ context.Context, c Caller, key string, a *StoredAnswer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a == nil {
		delete(m.answers, c.KeyID+" "+key)
		return nil
	}
	m.answers[c.KeyID+" "+key].answer = a
	return nil
}
