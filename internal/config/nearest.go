package config

import (
	"strings"

	"github.com/rowhook/rowhook/internal/spelling"
)

// didYouMean returns the hint for a word that is not among the valid ones.
func didYouMean(word string, valid []string) string {
	if near := spelling.Nearest(word, valid); near != "" {
		return "did you mean " + near + "?"
	}
	if len(valid) == 0 {
		return ""
	}
	return "valid here: " + strings.Join(valid, ", ")
}
