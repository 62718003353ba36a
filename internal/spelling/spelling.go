// Package spelling finds what a mistyped word was meant to be. It knows no words of its own.
package spelling

import "strings"

// Nearest returns the candidate that word is most likely a slip of, or "" if none is near: about a third of its letters may differ,
// and two of a short word. Case does not count; of equally near ones the first wins.
func Nearest(word string, candidates []string) string {
	best, least := "", min(len(word), 24)/3+2
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// tooLong is longer than any key or name; beyond it nothing is compared, which keeps the cost down.
const tooLong = 64

// distance counts the letters to add, drop, replace or swap with their neighbour to make b of a.
func distance(a, b string) int {
	if len(a) > tooLong || len(b) > tooLong {
		return tooLong
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
