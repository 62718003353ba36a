package api

import (
	"context"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// adapter puts the checks of this package before the operations of huma.
type adapter struct{ s *Server }

// Handle adds an operation.
func (a adapter) Handle(op *huma.Operation, handler func(huma.Context)) {
	rt := a.s.routes[op.OperationID]
	a.s.mux.HandleFunc(op.Method+" "+op.Path, a.s.admit(rt, op, func(w http.ResponseWriter, r *http.Request) {
		handler(humago.NewContext(op, r, w))
	}))
}

// ServeHTTP is what huma asks of an adapter.
func (a adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.s.serve(false, w, r) }

// register adds the operation of the table that has this id.
func register[I, O any](s *Server, id string, h func(ctx context.Context, c Caller, in *I) (*O, error)) {
	rt, ok := s.routes[id]
	if !ok {
		panic("api: no route " + id)
	}
	huma.Register(s.api, s.operation(rt), func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, visitOf(ctx).caller, in)
		if err != nil {
			return nil, s.failure(ctx, err)
		}
		if out != nil {
			fillLists(reflect.ValueOf(out).Elem())
		}
		return out, nil
	})
}

// operation is what the OpenAPI document says of a route beside its types.
func (s *Server) operation(rt route) huma.Operation {
	op := huma.Operation{
		OperationID: rt.id, Method: rt.method, Path: rt.path, Summary: rt.summary, DefaultStatus: rt.status, Tags: []string{tagOf(rt.path)},
		Security:  []map[string][]string{{securityScheme: {string(rt.scope)}}},
		Responses: map[string]*huma.Response{}, Extensions: map[string]any{"x-scope": string(rt.scope), "x-operator-only": rt.operator},
		// This package reads and checks bodies; no deadline of huma's may stay on the connection.
		BodyReadTimeout: -1, SkipValidateParams: true, SkipValidateBody: true,
	}
	for _, code := range answers(rt) {
		op.Responses[strconv.Itoa(code)] = &huma.Response{Ref: "#/components/responses/" + strconv.Itoa(code)}
	}
	if rt.tagged {
		op.Responses["304"] = &huma.Response{Description: http.StatusText(http.StatusNotModified)}
	}
	if rt.streams() {
		op.Responses["200"] = &huma.Response{Description: "A stream", Content: map[string]*huma.MediaType{rt.produces: {Schema: streamSchema(rt)}}}
	}
	if rt.repeatable() {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: headerIdempotencyKey, In: "header", Schema: idempotencyKey("").Schema(nil),
			Description: "makes the request repeatable for 24 h: the answer to the first is given again",
		})
	}
	return op
}

// answers are the statuses of problems that a route may answer with.
func answers(rt route) []int {
	out := []int{400, 401, 403, 404, 406, 422, 429, 500, 503}
	if rt.produces == mediaNDJSON {
		out = append(out, 410)
	}
	if rt.method != http.MethodGet {
		out = append(out, 409, 412, 413, 415)
	}
	return out
}

func streamSchema(rt route) *huma.Schema {
	if rt.produces == mediaTar {
		return &huma.Schema{Type: huma.TypeString, Format: "binary"}
	}
	return &huma.Schema{Type: huma.TypeString, Description: "Lines, each a JSON document (TailEvent) or empty; an empty one at least every 15 s says that the connection lives."}
}

// fillLists makes empty lists of nil ones, which JSON would call null.
func fillLists(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			fillLists(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fillLists(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.IsNil() && v.CanSet() && v.Type().Elem().Kind() != reflect.Uint8 {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		for i := range v.Len() {
			fillLists(v.Index(i))
		}
	default:
	}
}
