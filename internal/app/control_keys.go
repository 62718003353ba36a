package app

import (
	"context"
	"net/http"
	"time"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/store"
)

// Authenticate returns whose key it is. What is stored decides, and an unknown scope is none.
func (c *control) Authenticate(ctx context.Context, key string) (api.Caller, bool, error) {
	k, ok, err := c.app.store.Authenticate(ctx, key)
	if err != nil || !ok {
		return api.Caller{}, false, err
	}
	return api.Caller{KeyID: k.ID, Scope: api.Scope(k.Scope), Tenant: k.Tenant}, true, nil
}

// operatorOnly refuses callers of a tenant: keys are the operator's.
func operatorOnly(who api.Caller) error {
	if who.Tenant == "" {
		return nil
	}
	return &api.Problem{Status: http.StatusForbidden, Code: "forbidden", Detail: "keys of a tenant cannot see or change keys", Hint: "ask the operator"}
}

// CreateKey makes a key.
func (c *control) CreateKey(ctx context.Context, who api.Caller, k api.NewKey) (api.Key, string, error) {
	if err := operatorOnly(who); err != nil {
		return api.Key{}, "", err
	}
	switch k.Scope {
	case api.ScopeRead, api.ScopeManage:
	case api.ScopeAdmin:
		if k.Tenant != "" {
			return api.Key{}, "", invalid("body.scope", "is more than a key of a tenant can have: read or manage")
		}
	default:
		return api.Key{}, "", invalid("body.scope", "is none of read, manage and admin")
	}
	if !k.ExpiresAt.IsZero() && !k.ExpiresAt.After(time.Now()) {
		return api.Key{}, "", invalid("body.expires_at", "has passed")
	}
	r := store.KeyRecord{Name: k.Name, Scope: string(k.Scope), Tenant: k.Tenant, ExpiresAt: k.ExpiresAt.UTC().Truncate(time.Millisecond)}
	text, err := c.app.store.CreateKey(ctx, &r)
	if err != nil {
		return api.Key{}, "", err
	}
	return keyView(&r), text, nil
}

// ListKeys is ordered by id.
func (c *control) ListKeys(ctx context.Context, who api.Caller, p api.Page) ([]api.Key, string, error) {
	if err := operatorOnly(who); err != nil {
		return nil, "", err
	}
	limit := pageSize(p)
	page, err := c.app.store.Keys(ctx, p.After, limit+1)
	if err != nil {
		return nil, "", err
	}
	next := ""
	if len(page) > limit {
		page = page[:limit]
		next = page[limit-1].ID
	}
	out := make([]api.Key, len(page))
	for i := range page {
		out[i] = keyView(&page[i])
	}
	return out, next, nil
}

func keyView(r *store.KeyRecord) api.Key {
	out := api.Key{ID: r.ID, Name: r.Name, Scope: api.Scope(r.Scope), Tenant: r.Tenant, CreatedAt: r.CreatedAt}
	if !r.ExpiresAt.IsZero() {
		out.ExpiresAt = &r.ExpiresAt
	}
	if !r.LastUsedAt.IsZero() {
		out.LastUsedAt = &r.LastUsedAt
	}
	return out
}

// DeleteKey removes a key. No request that begins after it returns can use it.
func (c *control) DeleteKey(ctx context.Context, who api.Caller, id string) error {
	if err := operatorOnly(who); err != nil {
		return err
	}
	return answered(c.app.store.DeleteKey(ctx, id), "key")
}

// BeginIdempotent asks the store, in which the answers of each key are apart.
func (c *control) BeginIdempotent(ctx context.Context, who api.Caller, key string, request [32]byte) (*api.StoredAnswer, bool, error) {
	a, same, err := c.app.store.BeginAnswer(ctx, who.KeyID, key, request)
	if err != nil || a == nil {
		return nil, same, err
	}
	return &api.StoredAnswer{Status: a.Status, Headers: a.Headers, Body: a.Body}, same, nil
}

// FinishIdempotent is not given up when the caller goes: what was done would be done again.
func (c *control) FinishIdempotent(ctx context.Context, who api.Caller, key string, a *api.StoredAnswer) error {
	ctx, cancel := toTheEnd(ctx)
	defer cancel()
	if a == nil {
		return c.app.store.FinishAnswer(ctx, who.KeyID, key, nil)
	}
	return c.app.store.FinishAnswer(ctx, who.KeyID, key, &store.Answer{Status: a.Status, Headers: a.Headers, Body: a.Body})
}
