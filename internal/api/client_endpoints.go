package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// List asks for one page of a list. The zero List is the first page, of the server's usual length.
type List struct {
	// Cursor is NextCursor of the page before.
	Cursor string
	// Limit of the items, from 1 to 200; 0 is 50.
	Limit int
}

// Items is one page of a list.
type Items[T any] struct {
	Items []T `json:"items"`
	// NextCursor is empty on the last page.
	NextCursor string `json:"next_cursor"`
}

func (l List) query() url.Values {
	q := url.Values{}
	if l.Cursor != "" {
		q.Set("cursor", l.Cursor)
	}
	if l.Limit != 0 {
		q.Set("limit", strconv.Itoa(l.Limit))
	}
	return q
}

// with sets a parameter that is not empty.
func with(q url.Values, name, value string) url.Values {
	if value != "" {
		q.Set(name, value)
	}
	return q
}

// ask sends a request and returns its answer.
func ask[T any](ctx context.Context, c *Client, q call) (T, error) {
	var out T
	err := c.do(ctx, q, &out)
	return out, err
}

func endpointPath(id, action string) string {
	if action != "" {
		action = "/" + action
	}
	return "/v1/endpoints/" + url.PathEscape(id) + action
}

// CreateEndpoint makes an endpoint and returns it with its secret. The same idempotency key gives the same answer again for 24
// hours; it may be empty.
func (c *Client) CreateEndpoint(ctx context.Context, e NewEndpoint, idempotencyKey string) (EndpointWithSecret, error) {
	body := newEndpointBody{
		URL: endpointURL(e.URL), Tenant: tenantName(e.Tenant), Description: description(e.Description), Concurrency: e.Concurrency,
		Timeout: timeoutText(e.Timeout), QueueBytes: e.QueueBytes, Order: e.Order, Secret: signingSecret(e.Secret),
	}
	return ask[EndpointWithSecret](ctx, c, call{method: http.MethodPost, path: "/v1/endpoints", body: body, key: idempotencyKey})
}

func timeoutText(d *time.Duration) *attemptTimeout {
	if d == nil {
		return nil
	}
	t := attemptTimeout(d.String())
	return &t
}

// Endpoint returns an endpoint.
func (c *Client) Endpoint(ctx context.Context, id string) (Endpoint, error) {
	return ask[Endpoint](ctx, c, call{method: http.MethodGet, path: endpointPath(id, "")})
}

// ListEndpoints returns endpoints, ordered by id; a tenant, if set, keeps out others.
func (c *Client) ListEndpoints(ctx context.Context, tenant string, l List) (Items[Endpoint], error) {
	return ask[Items[Endpoint]](ctx, c, call{method: http.MethodGet, path: "/v1/endpoints", query: with(l.query(), "tenant", tenant)})
}

// UpdateEndpoint changes what is not nil; ifMatch is the version that the change is for, 0 any.
func (c *Client) UpdateEndpoint(ctx context.Context, id string, ifMatch uint64, ch EndpointChange) (Endpoint, error) {
	body := endpointChangeBody{
		URL: (*endpointURL)(ch.URL), Description: (*description)(ch.Description), Concurrency: ch.Concurrency,
		Timeout: timeoutText(ch.Timeout), QueueBytes: ch.QueueBytes, Order: ch.Order,
	}
	return ask[Endpoint](ctx, c, call{method: http.MethodPatch, path: endpointPath(id, ""), body: body, ifMatch: ifMatch})
}

// DeleteEndpoint deletes an endpoint and what waits for it.
func (c *Client) DeleteEndpoint(ctx context.Context, id string, ifMatch uint64) error {
	return c.do(ctx, call{method: http.MethodDelete, path: endpointPath(id, ""), ifMatch: ifMatch}, nil)
}

// PauseEndpoint returns once nothing is in flight any more.
func (c *Client) PauseEndpoint(ctx context.Context, id, reason string) (Endpoint, error) {
	return ask[Endpoint](ctx, c, call{method: http.MethodPost, path: endpointPath(id, "pause"), body: pauseBody{Reason: label(reason)}})
}

// ResumeEndpoint also enables one that was disabled.
func (c *Client) ResumeEndpoint(ctx context.Context, id string) (Endpoint, error) {
	return ask[Endpoint](ctx, c, call{method: http.MethodPost, path: endpointPath(id, "resume")})
}

// RotateSecret signs with both secrets until overlap, in whole seconds up to a week, has passed. An empty secret makes one.
func (c *Client) RotateSecret(ctx context.Context, id string, ifMatch uint64, secret string, overlap time.Duration, idempotencyKey string) (EndpointWithSecret, error) {
	body := rotateBody{Secret: signingSecret(secret), Overlap: rotationOverlap(strconv.FormatInt(int64(overlap/time.Second), 10) + "s")}
	return ask[EndpointWithSecret](ctx, c, call{method: http.MethodPost, path: endpointPath(id, "rotate-secret"), body: body, ifMatch: ifMatch, key: idempotencyKey})
}

// TestEndpoint sends a test event, of the type rowhook.test if eventType is empty, and returns what came of it.
func (c *Client) TestEndpoint(ctx context.Context, id, eventType string) (TestResult, error) {
	return ask[TestResult](ctx, c, call{method: http.MethodPost, path: endpointPath(id, "test"), body: testBody{Type: typeName(eventType)}})
}

// EndpointAttempts returns attempts, newest first.
func (c *Client) EndpointAttempts(ctx context.Context, id string, l List) (Items[Attempt], error) {
	return ask[Items[Attempt]](ctx, c, call{method: http.MethodGet, path: endpointPath(id, "attempts"), query: l.query()})
}

// EndpointExceptions returns what waits or is parked; state is "waiting", "behind", "parked" or empty for all.
func (c *Client) EndpointExceptions(ctx context.Context, id, state string, l List) (Items[Exception], error) {
	return ask[Items[Exception]](ctx, c, call{method: http.MethodGet, path: endpointPath(id, "exceptions"), query: with(l.query(), "state", state)})
}
