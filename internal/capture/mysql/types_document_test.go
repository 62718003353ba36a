package mysql

import (
	"os"
	"strings"
	"testing"

	"github.com/rowhook/rowhook/internal/dbserver"
)

// The chapter on capture names each type and each character set.
func TestTypesAreDocumented(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../../docs/capture.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	words := []string{"uuid", "inet4", "inet6", "compressed"}
	for typ := range 256 {
		words = append(words, typeWords(byte(typ))...)
	}
	for _, w := range words {
		if !strings.Contains(page, strings.ToUpper(w)) {
			t.Errorf("docs/capture.md does not name the type %s", strings.ToUpper(w))
		}
	}
	for _, charset := range charsetsOf(dbserver.MySQL) {
		if !strings.Contains(page, charset+",") && !strings.Contains(page, charset+";") {
			t.Errorf("docs/capture.md does not name the character set %s", charset)
		}
	}
}
