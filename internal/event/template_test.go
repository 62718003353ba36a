package event

import (
	"strings"
	"testing"

	"github.com/rowhook/rowhook/internal/change"
)

func TestTemplateErrorsHaveAnOffset(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"a}": 1, "a{": 1, "a{b": 1, "{}": 0, "x{ a}": 1, "{a{b}": 0, "{{}": 2} {
		_, err := parseTemplate(text)
		if err == nil || err.offset != want {
			t.Errorf("%q: got %v, want an error at %d", text, err, want)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"sheets/{sheet_id}", "{{literal}} {a}{b}", "}}{{", "{", "}", "{a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tpl, err := parseTemplate(s)
		if err != nil {
			return
		}
		var b strings.Builder
		for _, p := range tpl.parts {
			if p.column != "" {
				b.WriteString("{" + p.column + "}")
				continue
			}
			b.WriteString(strings.NewReplacer("{", "{{", "}", "}}").Replace(p.literal))
		}
		if b.String() != s {
			t.Errorf("%q became %q", s, b.String())
		}
	})
}

func TestGlob(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		glob, s string
		want    bool
	}{
		{"*", "", true}, {"*", "abc", true}, {"a*", "abc", true}, {"*c", "abc", true}, {"a*c", "ac", true}, {"a*c", "abcd", false},
		{"*b*", "abc", true}, {"abc", "abc", true}, {"abc", "abd", false}, {"a*b*c", "aXbYbZc", true}, {"", "", true}, {"", "a", false}, {"a**", "a", true},
	} {
		if got := change.Glob(tc.glob, tc.s); got != tc.want {
			t.Errorf("Glob(%q, %q) = %v", tc.glob, tc.s, got)
		}
	}
}
