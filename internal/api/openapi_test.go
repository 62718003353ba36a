package api

import (
	"bytes"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

var update = flag.Bool("update", false, "write docs/openapi.json anew")

const documentPath = "../../docs/openapi.json"

// The document in docs is the one that the code gives, but for the version of the program.
func TestDocument(t *testing.T) {
	t.Parallel()
	got := New(Options{Backend: newMemory(), Version: "1"}).document.json
	if *update {
		if err := os.WriteFile(documentPath, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(documentPath)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/openapi.json is not what the code gives (%v); run: go test ./internal/api -run '^TestDocument$' -update", err)
	}
}

// Every text in a request has an end, every number a range, every list a length: in the document, which is what is enforced.
func TestEverythingHasBounds(t *testing.T) {
	t.Parallel()
	o := newWorld(t).server.api.OpenAPI()
	c := boundsCheck{t: t, schemas: o.Components.Schemas}
	for path, item := range o.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			for _, p := range op.Parameters {
				c.check(path+" "+p.Name, p.Schema)
			}
			if op.RequestBody != nil {
				c.check(op.OperationID, op.RequestBody.Content[jsonMediaType].Schema)
			}
		}
	}
	if c.seen < 60 {
		t.Errorf("only %d fields were looked at", c.seen)
	}
}

type boundsCheck struct {
	t       *testing.T
	schemas huma.Registry
	seen    int
}

func (c *boundsCheck) check(at string, s *huma.Schema) {
	for s.Ref != "" {
		s = c.schemas.SchemaFromRef(s.Ref)
	}
	c.seen++
	for _, sub := range s.AnyOf {
		c.check(at, sub)
	}
	switch s.Type {
	case huma.TypeString:
		if len(s.Enum) == 0 && s.Format != "date-time" && (s.MaxLength == nil || s.Pattern == "") {
			c.t.Errorf("%s: no length or pattern", at)
		}
	case huma.TypeInteger:
		if s.Minimum == nil || s.Maximum == nil {
			c.t.Errorf("%s: no range", at)
		}
	case huma.TypeArray:
		if s.MaxItems == nil {
			c.t.Errorf("%s: no length", at)
		}
		c.check(at+"[]", s.Items)
	case huma.TypeObject:
		for name, p := range s.Properties {
			c.check(at+"."+name, p)
		}
		if more, ok := s.AdditionalProperties.(*huma.Schema); ok {
			c.check(at+".*", more)
		} else if s.AdditionalProperties != false {
			c.t.Errorf("%s: takes what it does not know", at)
		}
	case "":
		if len(s.AnyOf) == 0 {
			c.t.Errorf("%s: no type", at)
		}
	}
}

// docs/api.md has every route with its scope, and every code that this package or the process answers with.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, r := range routes() {
		who := string(r.scope)
		if r.operator {
			who += ", operator"
		}
		if row := fmt.Sprintf("| `%s %s` | %s |", r.method, r.path, who); !strings.Contains(page, row) {
			t.Errorf("no row begins: %s", row)
		}
	}
	if got := len(regexp.MustCompile("(?m)^\\| `(GET|POST|PATCH|DELETE) /v1").FindAllString(page, -1)); got != len(routes()) {
		t.Errorf("%d routes are documented, there are %d", got, len(routes()))
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| [0-9]{3} \\|").FindAllStringSubmatch(page, -1) {
		documented = append(documented, m[1])
	}
	known := codes(t)
	for _, code := range known {
		if !slices.Contains(documented, code) {
			t.Errorf("the code %q is not documented", code)
		}
	}
	for _, code := range documented {
		if !slices.Contains(known, code) {
			t.Errorf("the code %q is documented, nothing answers with it", code)
		}
	}
}

// The examples in docs/api.md work, one after another, and every route has one.
func TestExamples(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.backend.once = true
	made := map[string]string{} // the last id that was made, by its prefix
	tried := map[string]bool{}
	for _, m := range regexp.MustCompile("(?ms)^```http\n(.*?)^```").FindAllStringSubmatch(string(b), -1) {
		text := regexp.MustCompile(`\b(ep|sub|key)_[a-z0-9]+`).ReplaceAllStringFunc(m[1], func(id string) string {
			prefix, _, _ := strings.Cut(id, "_")
			return made[prefix]
		})
		head, body, _ := strings.Cut(text, "\n\n")
		lines := strings.Split(strings.TrimSpace(head), "\n")
		method, target, _ := strings.Cut(lines[0], " ")
		r := w.ask(method, target, strings.TrimSpace(body), lines[1:]...)
		if r.status >= 400 {
			t.Errorf("%s: %d %s", lines[0], r.status, r.body)
		}
		at := r.header.Get("Location")
		if id := at[strings.LastIndexByte(at, '/')+1:]; id != "" {
			prefix, _, _ := strings.Cut(id, "_")
			made[prefix] = id
		}
		_, pattern := w.server.mux.Handler(httptest.NewRequestWithContext(t.Context(), method, target, nil))
		tried[pattern] = true
	}
	for _, r := range routes() {
		if !tried[r.method+" "+r.path] {
			t.Errorf("%s %s has no example", r.method, r.path)
		}
	}
}

// codes are those of this package and those of the process.
func codes(t *testing.T) []string {
	t.Helper()
	var out []string
	read := func(pattern string, files ...string) {
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(b), -1) {
				out = append(out, m[1])
			}
		}
	}
	read(`(?m)^\tcode[A-Z]\w+ += "([a-z_]+)"`, "problem.go")
	process, err := filepath.Glob("../app/*.go")
	if err != nil {
		t.Fatal(err)
	}
	read(`(?:Problem\{[^}]*Code: +|\bconflict\()"([a-z_]+)"`, slices.DeleteFunc(process, func(f string) bool { return strings.HasSuffix(f, "_test.go") })...)
	slices.Sort(out)
	return slices.Compact(out)
}
