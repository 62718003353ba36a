package change

import "testing"

func TestGlob(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"*", "", true}, {"*", "sheets/42", true}, {"sheets/*", "sheets/42/rows/7", true},
		{"sheets/?", "sheets/4", true}, {"sheets/?", "sheets/42", false}, {"a*b*c", "a-b-b-c", true},
		{"a*b*c", "a-c-b", false}, {"rental.*", "rental", false}, {"*.*", "a.b", true}, {"abc", "ab", false},
		{"[a]", "a", false}, {"**", "x", true}, {"*a", "aaaaaaaaab", false},
	} {
		if got := Glob(tc.pattern, tc.s); got != tc.want {
			t.Errorf("Glob(%q, %q) = %t", tc.pattern, tc.s, got)
		}
	}
}
