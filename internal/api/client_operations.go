package api

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Status returns the process at a glance.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return ask[Status](ctx, c, call{method: http.MethodGet, path: "/v1/status"})
}

// Sources returns the sources.
func (c *Client) Sources(ctx context.Context) ([]Source, error) {
	all, err := ask[Items[Source]](ctx, c, call{method: http.MethodGet, path: "/v1/sources"})
	return all.Items, err
}

func sourcePath(name, action string) string {
	return "/v1/sources/" + url.PathEscape(name) + action
}

// Source returns a source.
func (c *Client) Source(ctx context.Context, name string) (Source, error) {
	return ask[Source](ctx, c, call{method: http.MethodGet, path: sourcePath(name, "")})
}

// StartSource follows a stopped source again.
func (c *Client) StartSource(ctx context.Context, name string) (Source, error) {
	return ask[Source](ctx, c, call{method: http.MethodPost, path: sourcePath(name, "/start")})
}

// StopSource stops following a source.
func (c *Client) StopSource(ctx context.Context, name string) (Source, error) {
	return ask[Source](ctx, c, call{method: http.MethodPost, path: sourcePath(name, "/stop")})
}

// SkipSource gives up the transaction that a source stopped at.
func (c *Client) SkipSource(ctx context.Context, name string, g NewGap) (Source, error) {
	body := newGapBody{GTID: gtidText(g.GTID), Position: binlogAt(g.Position), Reason: label(g.Reason)}
	return ask[Source](ctx, c, call{method: http.MethodPost, path: sourcePath(name, "/skip"), body: body})
}

// EventTypes returns the event types in force.
func (c *Client) EventTypes(ctx context.Context) ([]EventType, error) {
	all, err := ask[Items[EventType]](ctx, c, call{method: http.MethodGet, path: "/v1/types"})
	return all.Items, err
}

// EventType returns an event type.
func (c *Client) EventType(ctx context.Context, name string) (EventType, error) {
	return ask[EventType](ctx, c, call{method: http.MethodGet, path: "/v1/types/" + url.PathEscape(name)})
}

// Trigger sends an event of the type with made-up values to every endpoint that wants it.
func (c *Client) Trigger(ctx context.Context, eventType string) ([]TriggerResult, error) {
	all, err := ask[TriggerResults](ctx, c, call{method: http.MethodPost, path: "/v1/types/" + url.PathEscape(eventType) + "/trigger"})
	return all.Results, err
}

// Tenants returns the tenants.
func (c *Client) Tenants(ctx context.Context, l List) (Items[Tenant], error) {
	return ask[Items[Tenant]](ctx, c, call{method: http.MethodGet, path: "/v1/tenants", query: l.query()})
}

// Reload reads the configuration and the event types again. What is wrong with them is in the answer, not in the error.
func (c *Client) Reload(ctx context.Context) (Reload, error) {
	return ask[Reload](ctx, c, call{method: http.MethodPost, path: "/v1/reload"})
}

// CreateKey makes an API key and returns it with its text. The idempotency key may be empty.
func (c *Client) CreateKey(ctx context.Context, k NewKey, idempotencyKey string) (KeyWithSecret, error) {
	body := newKeyBody{Name: label(k.Name), Scope: k.Scope, Tenant: tenantName(k.Tenant)}
	if !k.ExpiresAt.IsZero() {
		at := k.ExpiresAt.UTC().Truncate(time.Second)
		body.ExpiresAt = &at
	}
	return ask[KeyWithSecret](ctx, c, call{method: http.MethodPost, path: "/v1/keys", body: body, key: idempotencyKey})
}

// ListKeys returns the API keys, without their texts.
func (c *Client) ListKeys(ctx context.Context, l List) (Items[Key], error) {
	return ask[Items[Key]](ctx, c, call{method: http.MethodGet, path: "/v1/keys", query: l.query()})
}

// DeleteKey makes a key useless at once.
func (c *Client) DeleteKey(ctx context.Context, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/keys/" + url.PathEscape(id)}, nil)
}
