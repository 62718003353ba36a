// Package sakila reads the files of the Sakila sample database that lie beside it, whose licence stands at the head of schema.sql.
package sakila

import "strings"

// Pieces cuts a script of the mysql client into what can be sent in one call. The server finds the ends of statements itself
// where the delimiter is the semicolon; DELIMITER, a word of the client's, it does not know.
func Pieces(text string) []string {
	const semicolon = ";"
	delimiter := semicolon
	var pieces []string
	var piece strings.Builder
	flush := func() {
		parts := []string{piece.String()}
		if delimiter != semicolon {
			parts = strings.Split(piece.String(), delimiter)
		}
		for _, p := range parts {
			if p = strings.TrimSpace(p); p != "" {
				pieces = append(pieces, p)
			}
		}
		piece.Reset()
	}
	for line := range strings.Lines(text) {
		if next, ok := strings.CutPrefix(line, "DELIMITER "); ok {
			flush()
			delimiter = strings.TrimSpace(next)
			continue
		}
		piece.WriteString(line)
	}
	flush()
	return pieces
}
