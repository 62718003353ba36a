package api

import (
	"context"
	"net/url"
	"time"
)

type newKeyBody struct {
	Name      label      `json:"name" doc:"for people"`
	Scope     Scope      `json:"scope" enum:"read,manage,admin" doc:"what the key may do: read looks, manage changes endpoints and subscriptions, admin does everything"`
	Tenant    tenantName `json:"tenant,omitempty" doc:"what the key sees; without one it sees all tenants"`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"when it stops working; never if it is absent"`
}

type createKeyInput struct {
	Body newKeyBody
}

type keyInput struct {
	ID keyID `path:"id"`
}

// KeyWithSecret is a key whose text is shown, this once.
type KeyWithSecret struct {
	Key
	Secret string `json:"key" doc:"what requests carry, as Authorization: Bearer; it is not shown again"`
}

type createdKeyOutput struct {
	Location string `header:"Location"`
	Body     KeyWithSecret
}

func (s *Server) registerKeys() {
	register(s, "list-keys", func(ctx context.Context, c Caller, in *pageInput) (*pageOutput[Key], error) {
		p, err := in.page(ctx)
		if err != nil {
			return nil, err
		}
		items, next, err := s.backend.ListKeys(ctx, c, p)
		return paged(ctx, items, next, err)
	})
	register(s, "create-key", s.createKey)
	register(s, "delete-key", func(ctx context.Context, c Caller, in *keyInput) (*struct{}, error) {
		return nil, s.backend.DeleteKey(ctx, c, string(in.ID))
	})
}

func (s *Server) createKey(ctx context.Context, c Caller, in *createKeyInput) (*createdKeyOutput, error) {
	k := NewKey{Name: string(in.Body.Name), Scope: in.Body.Scope, Tenant: string(in.Body.Tenant)}
	if in.Body.ExpiresAt != nil {
		k.ExpiresAt = in.Body.ExpiresAt.UTC()
		if !k.ExpiresAt.After(time.Now()) {
			return nil, fieldProblem("body.expires_at", "has passed")
		}
	}
	if k.Tenant != "" && k.Scope == ScopeAdmin {
		return nil, fieldProblem("body.scope", "is more than a key of a tenant can have: read or manage")
	}
	key, text, err := s.backend.CreateKey(ctx, c, k)
	return &createdKeyOutput{Location: "/v1/keys/" + url.PathEscape(key.ID), Body: KeyWithSecret{key, text}}, err
}
