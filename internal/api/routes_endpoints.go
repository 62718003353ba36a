package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/rowhook/rowhook/webhook"
)

// defaultOverlap is how long an old secret signs beside the new one.
const defaultOverlap = "24h"

type endpointInput struct {
	ID endpointID `path:"id"`
}

type readEndpointInput struct {
	ID          endpointID `path:"id"`
	IfNoneMatch entityTags `header:"If-None-Match" doc:"answer 304 if it still has one of these entity tags"`
}

type deleteEndpointInput struct {
	ID      endpointID `path:"id"`
	IfMatch entityTag  `header:"If-Match" doc:"the entity tag that the change is for"`
}

type newEndpointBody struct {
	URL         endpointURL     `json:"url" doc:"where events are posted to; https unless the configuration allows http"`
	Tenant      tenantName      `json:"tenant,omitempty" doc:"whose it is; events of other tenants never reach it"`
	Description description     `json:"description,omitempty" doc:"for people"`
	Concurrency *int            `json:"concurrency,omitempty" minimum:"1" maximum:"256" doc:"requests in flight at once"`
	Timeout     *attemptTimeout `json:"timeout,omitempty" doc:"of one attempt, from connecting to the end of the answer: from 100ms to 2m"`
	QueueBytes  *int64          `json:"queue_bytes,omitempty" minimum:"65536" maximum:"67108864" doc:"payloads that wait in memory, in bytes"`
	Order       *string         `json:"order,omitempty" enum:"key,none" doc:"key keeps the order of each row's events"`
	Secret      signingSecret   `json:"secret,omitempty" doc:"what signs the requests; one is made if it is absent"`
}

type createEndpointInput struct {
	Body newEndpointBody
}

type endpointChangeBody struct {
	URL         *endpointURL    `json:"url,omitempty"`
	Description *description    `json:"description,omitempty"`
	Concurrency *int            `json:"concurrency,omitempty" minimum:"1" maximum:"256"`
	Timeout     *attemptTimeout `json:"timeout,omitempty" doc:"from 100ms to 2m"`
	QueueBytes  *int64          `json:"queue_bytes,omitempty" minimum:"65536" maximum:"67108864"`
	Order       *string         `json:"order,omitempty" enum:"key,none"`
}

// TransformSchema lets no change through that changes nothing.
func (endpointChangeBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return notEmpty(s)
}

func notEmpty(s *huma.Schema) *huma.Schema {
	one := 1
	s.MinProperties = &one
	return s
}

type updateEndpointInput struct {
	ID      endpointID `path:"id"`
	IfMatch entityTag  `header:"If-Match" doc:"the entity tag that the change is for"`
	Body    endpointChangeBody
}

type pauseBody struct {
	Reason label `json:"reason,omitempty" doc:"for whoever wonders later"`
}

type pauseEndpointInput struct {
	ID   endpointID `path:"id"`
	Body *pauseBody
}

type rotateBody struct {
	Secret  signingSecret   `json:"secret,omitempty" doc:"the new one; it is made if it is absent"`
	Overlap rotationOverlap `json:"overlap,omitempty" doc:"how long the old one signs too: from 0s to 168h"`
}

type rotateInput struct {
	ID      endpointID `path:"id"`
	IfMatch entityTag  `header:"If-Match" doc:"the entity tag that the change is for"`
	Body    *rotateBody
}

type testBody struct {
	Type typeName `json:"type,omitempty" doc:"the event type whose columns get made-up values; rowhook.test if it is absent"`
}

type testEndpointInput struct {
	ID   endpointID `path:"id"`
	Body *testBody
}

type listEndpointsInput struct {
	Tenant tenantName `query:"tenant" doc:"only those of this tenant"`
	PageQuery
}

type listAttemptsInput struct {
	ID endpointID `path:"id"`
	PageQuery
}

type listExceptionsInput struct {
	ID    endpointID `path:"id"`
	State string     `query:"state" enum:"waiting,behind,parked" doc:"only those in this state"`
	PageQuery
}

type endpointOutput struct {
	ETag string `header:"ETag" doc:"the version, for If-Match"`
	Body Endpoint
}

type readEndpointOutput struct {
	Status int
	ETag   string `header:"ETag" doc:"the version, for If-Match and If-None-Match"`
	Body   Endpoint
}

// EndpointWithSecret is an endpoint whose new secret is shown, this once.
type EndpointWithSecret struct {
	Endpoint
	Secret string `json:"secret" doc:"what signs from now on; it is not shown again"`
}

type createdEndpointOutput struct {
	Location string `header:"Location"`
	ETag     string `header:"ETag" doc:"the version, for If-Match"`
	Body     EndpointWithSecret
}

type rotatedOutput struct {
	ETag string `header:"ETag" doc:"the version, for If-Match"`
	Body EndpointWithSecret
}

func (s *Server) registerEndpoints() {
	register(s, "list-endpoints", func(ctx context.Context, c Caller, in *listEndpointsInput) (*pageOutput[Endpoint], error) {
		p, err := in.page(ctx)
		if err != nil {
			return nil, err
		}
		items, next, err := s.backend.ListEndpoints(ctx, c, string(in.Tenant), p)
		return paged(ctx, items, next, err)
	})
	register(s, "create-endpoint", s.createEndpoint)
	register(s, "get-endpoint", func(ctx context.Context, c Caller, in *readEndpointInput) (*readEndpointOutput, error) {
		e, err := s.backend.Endpoint(ctx, c, string(in.ID))
		return &readEndpointOutput{Status: notModified(in.IfNoneMatch, e.Version), ETag: etag(e.Version), Body: e}, err
	})
	register(s, "update-endpoint", s.updateEndpoint)
	register(s, "delete-endpoint", func(ctx context.Context, c Caller, in *deleteEndpointInput) (*struct{}, error) {
		version, err := ifMatch(in.IfMatch)
		if err != nil {
			return nil, err
		}
		return nil, s.backend.DeleteEndpoint(ctx, c, string(in.ID), version)
	})
	register(s, "pause-endpoint", func(ctx context.Context, c Caller, in *pauseEndpointInput) (*endpointOutput, error) {
		reason := ""
		if in.Body != nil {
			reason = string(in.Body.Reason)
		}
		return endpointAnswer(s.backend.PauseEndpoint(ctx, c, string(in.ID), reason))
	})
	register(s, "resume-endpoint", func(ctx context.Context, c Caller, in *endpointInput) (*endpointOutput, error) {
		return endpointAnswer(s.backend.ResumeEndpoint(ctx, c, string(in.ID)))
	})
	register(s, "rotate-secret", s.rotateSecret)
	register(s, "test-endpoint", func(ctx context.Context, c Caller, in *testEndpointInput) (*bodyOutput[TestResult], error) {
		eventType := ""
		if in.Body != nil {
			eventType = string(in.Body.Type)
		}
		return bodyAnswer(s.backend.TestEndpoint(ctx, c, string(in.ID), eventType))
	})
	s.registerEndpointLists()
}

func (s *Server) registerEndpointLists() {
	register(s, "list-endpoint-attempts", func(ctx context.Context, c Caller, in *listAttemptsInput) (*pageOutput[Attempt], error) {
		p, err := in.page(ctx)
		if err != nil {
			return nil, err
		}
		items, next, err := s.backend.EndpointAttempts(ctx, c, string(in.ID), p)
		return paged(ctx, items, next, err)
	})
	register(s, "list-endpoint-exceptions", func(ctx context.Context, c Caller, in *listExceptionsInput) (*pageOutput[Exception], error) {
		p, err := in.page(ctx)
		if err != nil {
			return nil, err
		}
		items, next, err := s.backend.EndpointExceptions(ctx, c, string(in.ID), in.State, p)
		return paged(ctx, items, next, err)
	})
}

func endpointAnswer(e Endpoint, err error) (*endpointOutput, error) {
	return &endpointOutput{ETag: etag(e.Version), Body: e}, err
}

// bodyOutput is an answer that is a body and nothing else.
type bodyOutput[T any] struct{ Body T }

func bodyAnswer[T any](v T, err error) (*bodyOutput[T], error) { return &bodyOutput[T]{Body: v}, err }

func (s *Server) createEndpoint(ctx context.Context, c Caller, in *createEndpointInput) (*createdEndpointOutput, error) {
	b := in.Body
	tenant, err := ownTenant(c, "body.tenant", string(b.Tenant))
	if err != nil {
		return nil, err
	}
	if err := checkSecret(b.Secret); err != nil {
		return nil, err
	}
	e, secret, err := s.backend.CreateEndpoint(ctx, c, NewEndpoint{
		Tenant: tenant, URL: string(b.URL), Description: string(b.Description), Concurrency: b.Concurrency, Timeout: b.Timeout.duration(),
		QueueBytes: b.QueueBytes, Order: b.Order, Secret: string(b.Secret),
	})
	return &createdEndpointOutput{
		Location: "/v1/endpoints/" + url.PathEscape(e.ID), ETag: etag(e.Version), Body: EndpointWithSecret{e, secret},
	}, err
}

func (s *Server) updateEndpoint(ctx context.Context, c Caller, in *updateEndpointInput) (*endpointOutput, error) {
	version, err := ifMatch(in.IfMatch)
	if err != nil {
		return nil, err
	}
	b := in.Body
	return endpointAnswer(s.backend.UpdateEndpoint(ctx, c, string(in.ID), version, EndpointChange{
		URL: (*string)(b.URL), Description: (*string)(b.Description), Concurrency: b.Concurrency, Timeout: b.Timeout.duration(),
		QueueBytes: b.QueueBytes, Order: b.Order,
	}))
}

func (s *Server) rotateSecret(ctx context.Context, c Caller, in *rotateInput) (*rotatedOutput, error) {
	version, err := ifMatch(in.IfMatch)
	if err != nil {
		return nil, err
	}
	b := rotateBody{}
	if in.Body != nil {
		b = *in.Body
	}
	if b.Overlap == "" {
		b.Overlap = defaultOverlap
	}
	if err := checkSecret(b.Secret); err != nil {
		return nil, err
	}
	overlap, err := time.ParseDuration(string(b.Overlap))
	if err != nil {
		return nil, fieldProblem("body.overlap", "is not a duration") // its pattern lets only durations through
	}
	e, secret, err := s.backend.RotateSecret(ctx, c, string(in.ID), version, string(b.Secret), overlap)
	return &rotatedOutput{ETag: etag(e.Version), Body: EndpointWithSecret{e, secret}}, err
}

// duration of what the pattern let through; nil stays nil.
func (t *attemptTimeout) duration() *time.Duration {
	if t == nil {
		return nil
	}
	d, err := time.ParseDuration(string(*t))
	if err != nil {
		panic("api: the pattern of timeouts lets through what is none") // a test compares the two
	}
	return &d
}

// ownTenant returns the tenant of what a caller makes: keys of a tenant make things of that tenant.
func ownTenant(c Caller, location, asked string) (string, error) {
	if c.Tenant != "" && asked != "" && asked != c.Tenant {
		p := forbidden("the key belongs to another tenant", "leave the tenant out: it is that of the key")
		p.Fields = []FieldProblem{{Location: location, Message: "is not the tenant of the key"}}
		return "", p
	}
	if c.Tenant != "" {
		return c.Tenant, nil
	}
	return asked, nil
}

// checkSecret refuses secrets that cannot sign, without quoting them.
func checkSecret(secret signingSecret) error {
	if secret == "" {
		return nil
	}
	if _, err := webhook.ParseSecret(string(secret)); err != nil {
		p := fieldProblem("body.secret", "cannot sign: "+strings.TrimPrefix(err.Error(), "webhook: "))
		p.Hint = "leave it out and one is made, or make one with: echo whsec_$(openssl rand -base64 32)"
		p.Status = http.StatusUnprocessableEntity
		return p
	}
	return nil
}
