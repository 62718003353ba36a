package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"
)

type sourceInput struct {
	Name sourceName `path:"name"`
}

type newGapBody struct {
	GTID     gtidText `json:"gtid,omitempty" doc:"the GTID of the transaction"`
	Position binlogAt `json:"position,omitempty" doc:"file:offset, where it has no GTID"`
	Reason   label    `json:"reason" doc:"why, for those who find the gap"`
}

type skipInput struct {
	Name sourceName `path:"name"`
	Body newGapBody
}

type pageInput struct{ PageQuery }

func (s *Server) registerOperations() {
	register(s, "get-status", func(ctx context.Context, c Caller, _ *struct{}) (*bodyOutput[Status], error) {
		return bodyAnswer(s.backend.Status(ctx, c))
	})
	register(s, "list-sources", func(ctx context.Context, c Caller, _ *struct{}) (*pageOutput[Source], error) {
		all, err := s.backend.Sources(ctx, c)
		return paged(ctx, all, "", err)
	})
	register(s, "get-source", func(ctx context.Context, c Caller, in *sourceInput) (*bodyOutput[Source], error) {
		return bodyAnswer(s.backend.Source(ctx, c, string(in.Name)))
	})
	register(s, "start-source", func(ctx context.Context, c Caller, in *sourceInput) (*bodyOutput[Source], error) {
		return bodyAnswer(s.backend.StartSource(ctx, c, string(in.Name)))
	})
	register(s, "stop-source", func(ctx context.Context, c Caller, in *sourceInput) (*bodyOutput[Source], error) {
		return bodyAnswer(s.backend.StopSource(ctx, c, string(in.Name)))
	})
	register(s, "skip-transaction", func(ctx context.Context, c Caller, in *skipInput) (*bodyOutput[Source], error) {
		if (in.Body.GTID == "") == (in.Body.Position == "") {
			return nil, fieldProblem("body.gtid", "or body.position is needed, and not both")
		}
		return bodyAnswer(s.backend.SkipSource(ctx, c, string(in.Name), NewGap{string(in.Body.GTID), string(in.Body.Position), string(in.Body.Reason)}))
	})
	register(s, "list-tenants", func(ctx context.Context, c Caller, in *pageInput) (*pageOutput[Tenant], error) {
		p, err := in.page(ctx)
		if err != nil {
			return nil, err
		}
		items, next, err := s.backend.Tenants(ctx, c, p)
		return paged(ctx, items, next, err)
	})
	register(s, "reload", func(ctx context.Context, c Caller, _ *struct{}) (*bodyOutput[Reload], error) {
		return bodyAnswer(s.backend.Reload(ctx, c))
	})
	register(s, "backup", func(_ context.Context, c Caller, _ *struct{}) (*huma.StreamResponse, error) {
		return s.stream(mediaTar, func(ctx context.Context, w *streamWriter) error { return s.backend.Backup(ctx, c, w) }), nil
	})
}
