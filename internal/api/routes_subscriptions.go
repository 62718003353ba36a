package api

import (
	"context"
	"net/url"

	"github.com/danielgtaylor/huma/v2"
)

type subscriptionInput struct {
	ID subscriptionID `path:"id"`
}

type readSubscriptionInput struct {
	ID          subscriptionID `path:"id"`
	IfNoneMatch entityTags     `header:"If-None-Match" doc:"answer 304 if it still has one of these entity tags"`
}

type deleteSubscriptionInput struct {
	ID      subscriptionID `path:"id"`
	IfMatch entityTag      `header:"If-Match" doc:"the entity tag that the change is for"`
}

type newSubscriptionBody struct {
	Endpoint    endpointID     `json:"endpoint" doc:"who gets the events"`
	Types       []typeGlob     `json:"types" minItems:"1" maxItems:"100" uniqueItems:"true" nullable:"false" doc:"names of event types, or patterns such as order.*"`
	Subject     subjectPattern `json:"subject,omitempty" doc:"only events about this; * stands for any characters"`
	Description description    `json:"description,omitempty" doc:"for people"`
	From        fromBody       `json:"from,omitempty"`
}

type createSubscriptionInput struct {
	Body newSubscriptionBody
}

type subscriptionChangeBody struct {
	Types       *[]typeGlob     `json:"types,omitempty" minItems:"1" maxItems:"100" uniqueItems:"true" nullable:"false"`
	Subject     *subjectPattern `json:"subject,omitempty" doc:"the empty text is any subject"`
	Description *description    `json:"description,omitempty"`
}

// TransformSchema lets no change through that changes nothing.
func (subscriptionChangeBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return notEmpty(s)
}

type updateSubscriptionInput struct {
	ID      subscriptionID `path:"id"`
	IfMatch entityTag      `header:"If-Match" doc:"the entity tag that the change is for"`
	Body    subscriptionChangeBody
}

type listSubscriptionsInput struct {
	Endpoint endpointID `query:"endpoint" doc:"only those of this endpoint"`
	PageQuery
}

type subscriptionOutput struct {
	ETag string `header:"ETag" doc:"the version, for If-Match"`
	Body Subscription
}

type readSubscriptionOutput struct {
	Status int
	ETag   string `header:"ETag" doc:"the version, for If-Match and If-None-Match"`
	Body   Subscription
}

type createdSubscriptionOutput struct {
	Location string `header:"Location"`
	ETag     string `header:"ETag" doc:"the version, for If-Match"`
	Body     Subscription
}

func (s *Server) registerSubscriptions() {
	register(s, "list-subscriptions", func(ctx context.Context, c Caller, in *listSubscriptionsInput) (*pageOutput[Subscription], error) {
		p, err := in.page(ctx)
		if err != nil {
			return nil, err
		}
		items, next, err := s.backend.ListSubscriptions(ctx, c, string(in.Endpoint), p)
		return paged(ctx, items, next, err)
	})
	register(s, "create-subscription", func(ctx context.Context, c Caller, in *createSubscriptionInput) (*createdSubscriptionOutput, error) {
		b := in.Body
		sub, err := s.backend.CreateSubscription(ctx, c, NewSubscription{
			Endpoint: string(b.Endpoint), Description: string(b.Description), Types: texts(b.Types), Subject: string(b.Subject), From: b.From.From,
		})
		return &createdSubscriptionOutput{Location: "/v1/subscriptions/" + url.PathEscape(sub.ID), ETag: etag(sub.Version), Body: sub}, err
	})
	register(s, "get-subscription", func(ctx context.Context, c Caller, in *readSubscriptionInput) (*readSubscriptionOutput, error) {
		sub, err := s.backend.Subscription(ctx, c, string(in.ID))
		return &readSubscriptionOutput{Status: notModified(in.IfNoneMatch, sub.Version), ETag: etag(sub.Version), Body: sub}, err
	})
	register(s, "update-subscription", s.updateSubscription)
	register(s, "delete-subscription", func(ctx context.Context, c Caller, in *deleteSubscriptionInput) (*struct{}, error) {
		version, err := ifMatch(in.IfMatch)
		if err != nil {
			return nil, err
		}
		return nil, s.backend.DeleteSubscription(ctx, c, string(in.ID), version)
	})
	register(s, "pause-subscription", func(ctx context.Context, c Caller, in *subscriptionInput) (*subscriptionOutput, error) {
		return subscriptionAnswer(s.backend.PauseSubscription(ctx, c, string(in.ID)))
	})
	register(s, "resume-subscription", func(ctx context.Context, c Caller, in *subscriptionInput) (*subscriptionOutput, error) {
		return subscriptionAnswer(s.backend.ResumeSubscription(ctx, c, string(in.ID)))
	})
}

func (s *Server) updateSubscription(ctx context.Context, c Caller, in *updateSubscriptionInput) (*subscriptionOutput, error) {
	version, err := ifMatch(in.IfMatch)
	if err != nil {
		return nil, err
	}
	ch := SubscriptionChange{Description: (*string)(in.Body.Description), Subject: (*string)(in.Body.Subject)}
	if in.Body.Types != nil {
		all := texts(*in.Body.Types)
		ch.Types = &all
	}
	return subscriptionAnswer(s.backend.UpdateSubscription(ctx, c, string(in.ID), version, ch))
}

func subscriptionAnswer(sub Subscription, err error) (*subscriptionOutput, error) {
	return &subscriptionOutput{ETag: etag(sub.Version), Body: sub}, err
}

// texts returns texts with bounds as plain ones.
func texts[T ~string](in []T) []string {
	out := make([]string, len(in))
	for i, t := range in {
		out[i] = string(t)
	}
	return out
}
