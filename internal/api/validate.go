package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/rowhook/rowhook/internal/spelling"
)

// checker holds values to the schemas of the OpenAPI document, so that what it says is what is enforced. It differs from huma's own
// in that it names the field itself, knows null from absent and small from capital letters, and never quotes a value: it may be a
// secret.
type checker struct {
	schemas  huma.Registry
	patterns *patterns
	fields   []FieldProblem
}

// patterns are the compiled regular expressions of the document.
type patterns struct{ all sync.Map }

func (p *patterns) match(pattern, s string) bool {
	re, ok := p.all.Load(pattern)
	if !ok {
		re, _ = p.all.LoadOrStore(pattern, regexp.MustCompile(pattern))
	}
	return re.(*regexp.Regexp).MatchString(s)
}

func (c *checker) fail(at, format string, args ...any) {
	if len(c.fields) < maxFieldProblems {
		c.fields = append(c.fields, FieldProblem{Location: at, Message: fmt.Sprintf(format, args...)})
	}
}

func (c *checker) value(s *huma.Schema, at string, v any) {
	for s.Ref != "" {
		s = c.schemas.SchemaFromRef(s.Ref)
	}
	if len(s.AnyOf) > 0 {
		c.anyOf(s, at, v)
		return
	}
	switch s.Type {
	case huma.TypeObject:
		c.object(s, at, v)
	case huma.TypeArray:
		c.list(s, at, v)
	case huma.TypeString:
		c.text(s, at, v)
	case huma.TypeInteger:
		c.integer(s, at, v)
	case huma.TypeBoolean:
		if _, ok := v.(bool); !ok {
			c.fail(at, "is %s; write true or false", kind(v))
		}
	default:
		panic("api: a request has a field of type " + s.Type) // no operation has one
	}
}

// anyOf looks at the alternatives of the value's kind; if that is one, what is wrong with it is told.
func (c *checker) anyOf(s *huma.Schema, at string, v any) {
	var fields []FieldProblem
	tried := 0
	for _, sub := range s.AnyOf {
		_, isText := v.(string)
		_, isObject := v.(map[string]any)
		if isText && sub.Type != huma.TypeString || isObject && sub.Type != huma.TypeObject || !isText && !isObject {
			continue
		}
		trial := checker{schemas: c.schemas, patterns: c.patterns}
		trial.value(sub, at, v)
		if len(trial.fields) == 0 {
			return
		}
		fields = trial.fields
		tried++
	}
	if tried == 1 {
		c.fields = append(c.fields, fields...)
		return
	}
	c.fail(at, "is %s that is not one of: %s", kind(v), s.Description)
}

func (c *checker) object(s *huma.Schema, at string, v any) {
	m, ok := v.(map[string]any)
	if !ok {
		c.fail(at, "is %s; write an object", kind(v))
		return
	}
	for _, name := range s.Required {
		if _, ok := m[name]; !ok {
			c.fail(at+"."+name, "is missing")
		}
	}
	known := slices.Sorted(maps.Keys(s.Properties))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		inner := at + "." + shortName(name)
		if p, ok := s.Properties[name]; ok {
			c.value(p, inner, m[name])
		} else if more, ok := s.AdditionalProperties.(*huma.Schema); ok {
			c.propertyName(s, inner, name)
			c.value(more, inner, m[name])
		} else {
			c.fail(inner, "is not known here; %s", didYouMean(name, known))
		}
	}
	if s.MinProperties != nil && len(m) < *s.MinProperties {
		c.fail(at, "is empty; it has at least %d of: %s", *s.MinProperties, strings.Join(known, ", "))
	}
	if s.MaxProperties != nil && len(m) > *s.MaxProperties {
		c.fail(at, "has more than %d members", *s.MaxProperties)
	}
}

// propertyName checks the name of a member that is chosen by the caller.
func (c *checker) propertyName(s *huma.Schema, at, name string) {
	if names, ok := s.Extensions["propertyNames"].(*huma.Schema); ok {
		c.text(names, at, name)
	}
}

func (c *checker) list(s *huma.Schema, at string, v any) {
	l, ok := v.([]any)
	if !ok {
		c.fail(at, "is %s; write a list", kind(v))
		return
	}
	if s.MinItems != nil && len(l) < *s.MinItems {
		c.fail(at, "has less than %d items", *s.MinItems)
	}
	if s.MaxItems != nil && len(l) > *s.MaxItems {
		c.fail(at, "has more than %d items", *s.MaxItems)
		return
	}
	seen := map[string]bool{}
	for i, item := range l {
		inner := fmt.Sprintf("%s[%d]", at, i)
		c.value(s.Items, inner, item)
		if text, ok := item.(string); ok && s.UniqueItems && seen[text] {
			c.fail(inner, "stands there twice")
		} else if ok {
			seen[text] = true
		}
	}
}

func (c *checker) text(s *huma.Schema, at string, v any) {
	t, ok := v.(string)
	if !ok {
		c.fail(at, "is %s; write text", kind(v))
		return
	}
	if m := unusable(t); m != "" {
		c.fail(at, "%s", m)
		return
	}
	if s.Pattern != "" && len(t) > 0 && !c.patterns.match(s.Pattern, t) {
		c.fail(at, "is not %s", s.PatternDescription)
		return
	}
	switch n := utf8.RuneCountInString(t); {
	case s.MinLength != nil && n < *s.MinLength && n == 0:
		c.fail(at, "is empty")
	case s.MinLength != nil && n < *s.MinLength:
		c.fail(at, "is too short: at least %d characters", *s.MinLength)
	case s.MaxLength != nil && n > *s.MaxLength:
		c.fail(at, "is too long: at most %d characters", *s.MaxLength)
	case len(s.Enum) > 0 && !slices.Contains(s.Enum, any(t)):
		c.fail(at, "is not one of: %s", enumText(s.Enum))
	case s.Format == "date-time" && !isTime(t):
		c.fail(at, "is not a time such as 2026-01-02T15:04:05Z")
	}
}

// integer takes numbers as they stand in JSON, and texts from parameters as json.Number.
func (c *checker) integer(s *huma.Schema, at string, v any) {
	number, ok := v.(json.Number)
	if !ok {
		c.fail(at, "is %s; write a whole number", kind(v))
		return
	}
	least, most := bounds(s)
	n, err := strconv.ParseInt(number.String(), 10, 64)
	if err != nil && strings.ContainsAny(number.String(), ".eE") {
		c.fail(at, "is not written as a whole number, without point and exponent")
		return
	}
	if err != nil || n < least || n > most {
		c.fail(at, "is not from %d to %d", least, most)
	}
}

func bounds(s *huma.Schema) (least, most int64) {
	least, most = math.MinInt64, math.MaxInt64
	if s.Minimum != nil {
		least = int64(*s.Minimum)
	}
	if s.Maximum != nil {
		most = int64(*s.Maximum)
	}
	return least, most
}

func isTime(s string) bool {
	_, err := time.Parse(time.RFC3339, s)
	return err == nil
}

func enumText(all []any) string {
	var texts []string
	for _, e := range all {
		texts = append(texts, fmt.Sprint(e))
	}
	return strings.Join(texts, ", ")
}

func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case string:
		return "text"
	case []any:
		return "a list"
	default:
		return "an object"
	}
}

// didYouMean names the candidate that a word is most likely a slip of, or all.
func didYouMean(word string, valid []string) string {
	near := spelling.Nearest(word, valid)
	switch {
	case near != "":
		return "did you mean " + near + "?"
	case len(valid) == 0:
		return "none is"
	}
	return "known are: " + strings.Join(valid, ", ")
}
