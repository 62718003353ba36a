package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"
)

type eventInput struct {
	ID eventID `path:"id"`
}

type listEventAttemptsInput struct {
	ID eventID `path:"id"`
	PageQuery
}

type tailInput struct {
	Type    []typeGlob     `query:"type,explode" maxItems:"100" doc:"only events of these types, or patterns such as order.*; repeatable"`
	Subject subjectPattern `query:"subject" doc:"only events about this; * stands for any characters"`
	Tenant  tenantName     `query:"tenant" doc:"only events of this tenant"`
	Source  sourceName     `query:"source" doc:"only events of this source"`
	From    tailFrom       `query:"from" doc:"now, earliest, a time, or source:seq[,source:seq]; now if it is absent"`
}

type typeInput struct {
	Name typeName `path:"name"`
}

// TriggerResults are what came of a triggered event at each endpoint that wants it.
type TriggerResults struct {
	Results []TriggerResult `json:"results"`
}

func (s *Server) registerEvents() {
	register(s, "tail-events", s.tailEvents)
	register(s, "get-event", func(ctx context.Context, c Caller, in *eventInput) (*bodyOutput[Event], error) {
		return bodyAnswer(s.backend.Event(ctx, c, string(in.ID)))
	})
	register(s, "list-event-attempts", func(ctx context.Context, c Caller, in *listEventAttemptsInput) (*pageOutput[Attempt], error) {
		p, err := in.page(ctx)
		if err != nil {
			return nil, err
		}
		items, next, err := s.backend.EventAttempts(ctx, c, string(in.ID), p)
		return paged(ctx, items, next, err)
	})
	register(s, "list-types", func(ctx context.Context, c Caller, _ *struct{}) (*pageOutput[EventType], error) {
		all, err := s.backend.EventTypes(ctx, c)
		return paged(ctx, all, "", err)
	})
	register(s, "get-type", func(ctx context.Context, c Caller, in *typeInput) (*bodyOutput[EventType], error) {
		return bodyAnswer(s.backend.EventType(ctx, c, string(in.Name)))
	})
	register(s, "trigger-type", func(ctx context.Context, c Caller, in *typeInput) (*bodyOutput[TriggerResults], error) {
		all, err := s.backend.Trigger(ctx, c, string(in.Name))
		return bodyAnswer(TriggerResults{all}, err)
	})
}

func (s *Server) tailEvents(_ context.Context, c Caller, in *tailInput) (*huma.StreamResponse, error) {
	tenant, err := ownTenant(c, "query.tenant", string(in.Tenant))
	if err != nil {
		return nil, err
	}
	from, err := ParseFrom(string(in.From))
	if err != nil {
		return nil, fieldProblem("query.from", "is none of: now, earliest, a time of the calendar, source:seq with each source once")
	}
	filter := TailFilter{Types: texts(in.Type), Subject: string(in.Subject), Tenant: tenant, Source: string(in.Source), From: from}
	return s.stream(mediaNDJSON, func(ctx context.Context, w *streamWriter) error {
		return w.tail(ctx, func(f func(*TailEvent) error) error { return s.backend.Tail(ctx, c, filter, f) })
	}), nil
}
