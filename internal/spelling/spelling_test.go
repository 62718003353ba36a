package spelling

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	words := []string{"table", "tables", "exclude_columns", "on"}
	for word, want := range map[string]string{
		"tabel": "table", "Table": "table", "tabls": "table", "exclude_colums": "exclude_columns", "no": "on", "": "", "retention": "",
		"tbale": "table", "colour": "", strings.Repeat("x", 65): "", strings.Repeat("x", 1<<20): "",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("%.20q is near %q, want %q", word, got, want)
		}
	}
	if got := Nearest("x", nil); got != "" {
		t.Errorf("nothing is near %q", got)
	}
}
