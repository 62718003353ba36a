package config

import "strings"

// nearest returns the candidate that word is most likely a slip of, or "" if
// none is near: at most a third of its letters differ, and at least one may.
func nearest(word string, candidates []string) string {
	best, least := "", max(1, min(len(word), 24)/3)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), c); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance counts the letters to add, drop, replace or swap with their
// neighbour to make b of a.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 { // no key or name is so long; keeps the cost down
		return 64
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			same := 1
			if a[i] == b[j] {
				same = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+same)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// didYouMean returns the hint for a word that is not among the valid ones.
func didYouMean(word string, valid []string) string {
	if near := nearest(word, valid); near != "" {
		return "did you mean " + near + "?"
	}
	if len(valid) == 0 {
		return ""
	}
	return "valid here: " + strings.Join(valid, ", ")
}
