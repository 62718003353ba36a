package api

import (
	"context"
	"net/http"
	"net/url"
)

// subscriptionPath writes the slash of a declared id as %2F.
func subscriptionPath(id, action string) string {
	if action != "" {
		action = "/" + action
	}
	return "/v1/subscriptions/" + url.PathEscape(id) + action
}

// CreateSubscription makes a subscription; its Starts say where it begins. The idempotency key may be empty.
func (c *Client) CreateSubscription(ctx context.Context, s NewSubscription, idempotencyKey string) (Subscription, error) {
	body := newSubscriptionBody{
		Endpoint: endpointID(s.Endpoint), Types: bounded[typeGlob](s.Types), Subject: subjectPattern(s.Subject),
		Description: description(s.Description), From: fromBody{s.From},
	}
	return ask[Subscription](ctx, c, call{method: http.MethodPost, path: "/v1/subscriptions", body: body, key: idempotencyKey})
}

// bounded is the reverse of texts.
func bounded[T ~string](in []string) []T {
	out := make([]T, len(in))
	for i, t := range in {
		out[i] = T(t)
	}
	return out
}

// Subscription returns a subscription.
func (c *Client) Subscription(ctx context.Context, id string) (Subscription, error) {
	return ask[Subscription](ctx, c, call{method: http.MethodGet, path: subscriptionPath(id, "")})
}

// ListSubscriptions returns subscriptions, ordered by id; an endpoint, if set, keeps out those of others.
func (c *Client) ListSubscriptions(ctx context.Context, endpoint string, l List) (Items[Subscription], error) {
	return ask[Items[Subscription]](ctx, c, call{method: http.MethodGet, path: "/v1/subscriptions", query: with(l.query(), "endpoint", endpoint)})
}

// UpdateSubscription changes what is not nil; ifMatch is the version that the change is for, 0 any.
func (c *Client) UpdateSubscription(ctx context.Context, id string, ifMatch uint64, ch SubscriptionChange) (Subscription, error) {
	body := subscriptionChangeBody{Description: (*description)(ch.Description), Subject: (*subjectPattern)(ch.Subject)}
	if ch.Types != nil {
		all := bounded[typeGlob](*ch.Types)
		body.Types = &all
	}
	return ask[Subscription](ctx, c, call{method: http.MethodPatch, path: subscriptionPath(id, ""), body: body, ifMatch: ifMatch})
}

// DeleteSubscription deletes a subscription.
func (c *Client) DeleteSubscription(ctx context.Context, id string, ifMatch uint64) error {
	return c.do(ctx, call{method: http.MethodDelete, path: subscriptionPath(id, ""), ifMatch: ifMatch}, nil)
}

// PauseSubscription holds back what commits from now on.
func (c *Client) PauseSubscription(ctx context.Context, id string) (Subscription, error) {
	return ask[Subscription](ctx, c, call{method: http.MethodPost, path: subscriptionPath(id, "pause")})
}

// ResumeSubscription sends what was held back, and goes on.
func (c *Client) ResumeSubscription(ctx context.Context, id string) (Subscription, error) {
	return ask[Subscription](ctx, c, call{method: http.MethodPost, path: subscriptionPath(id, "resume")})
}
