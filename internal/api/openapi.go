package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
)

const securityScheme = "key"

// apiConfig is what huma is told of the API as a whole.
func apiConfig(version string) huma.Config {
	registry := huma.NewMapRegistry("#/components/schemas/", schemaName)
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Rowhook", Version: version,
				Description: "The control API: endpoints, subscriptions, events, attempts, sources, event types and keys. See docs/api.md.",
			},
			Components: &huma.Components{
				Schemas: registry, Responses: problemResponses(registry),
				SecuritySchemes: map[string]*huma.SecurityScheme{securityScheme: {Type: "http", Scheme: "bearer", BearerFormat: "rhk_…", Description: "An API key; not asked for on the Unix socket."}},
			},
		},
		Formats:       map[string]huma.Format{jsonMediaType: huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: jsonMediaType,
		Transformers:  []huma.Transformer{transform},
	}
}

// schemaName gives types the names that they have in the document.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	if name == "ProblemDocument" {
		return "Problem"
	}
	return name
}

// problemResponses are the answers that operations share.
func problemResponses(registry huma.Registry) map[string]*huma.Response {
	schema := registry.Schema(reflect.TypeFor[problemDocument](), true, "")
	out := map[string]*huma.Response{}
	for _, code := range []int{400, 401, 403, 404, 406, 409, 410, 412, 413, 415, 422, 429, 500, 503} {
		out[strconv.Itoa(code)] = &huma.Response{Description: http.StatusText(code), Content: map[string]*huma.MediaType{problemMediaType: {Schema: schema}}}
	}
	return out
}

// tagOf groups operations by the first word of their path.
func tagOf(path string) string {
	word, _, _ := strings.Cut(strings.TrimPrefix(path, "/v1/"), "/")
	return word
}

// document is the OpenAPI document in its two forms; YAML is made when somebody asks.
type document struct {
	json []byte
	yaml func() []byte
}

// newDocument writes the document of the API, which changes no more.
func newDocument(o *huma.OpenAPI) document {
	tidy(o)
	compact, err := json.Marshal(o)
	if err != nil {
		panic(err) // made of our own types
	}
	var b bytes.Buffer
	if err := json.Indent(&b, compact, "", "  "); err != nil {
		panic(err) // it was just written
	}
	b.WriteByte('\n')
	return document{json: b.Bytes(), yaml: sync.OnceValue(func() []byte {
		yaml, err := o.YAML()
		if err != nil {
			panic(err) // what became JSON
		}
		return yaml
	})}
}

// tidy takes out what huma puts in for APIs in general: its own model of errors, and lists that may be null. Answers may have more
// members in later versions; requests may not.
func tidy(o *huma.OpenAPI) {
	all := o.Components.Schemas.Map()
	delete(all, "ErrorModel")
	delete(all, "ErrorDetail")
	requests := map[string]bool{}
	for _, item := range o.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Patch, item.Delete} {
			if op != nil && op.RequestBody != nil {
				requests[strings.TrimPrefix(op.RequestBody.Content[jsonMediaType].Schema.Ref, "#/components/schemas/")] = true
			}
		}
	}
	for name, s := range all {
		if !requests[name] {
			s.AdditionalProperties = nil
		}
		for _, p := range s.Properties {
			if p.Type == huma.TypeArray {
				p.Nullable = false
			}
		}
	}
	for _, item := range o.Paths {
		if item.Get != nil {
			for _, p := range item.Get.Parameters {
				p.Schema.Nullable = false
			}
		}
	}
}

// serve answers requests for the document, and reports whether it was one. It needs no key: it says nothing that the source
// code does not.
func (d document) serve(s *Server, a *answer, r *http.Request) bool {
	var body []byte
	media := jsonMediaType
	switch r.URL.Path {
	case "/openapi.json":
		body = d.json
	case "/openapi.yaml":
		body, media = d.yaml(), "application/yaml"
	default:
		return false
	}
	visitOf(r.Context()).pattern = r.URL.Path
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.refuse(a, r, &refusal{
			Problem: Problem{Status: http.StatusMethodNotAllowed, Code: codeMethodNotAllowed, Detail: "this path is not for that method", Hint: "it takes GET, HEAD"},
			header:  http.Header{"Allow": {"GET, HEAD"}},
		})
		return true
	}
	a.Header().Set("Content-Type", media)
	a.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = a.Write(body) // whoever asked may be gone
	return true
}
