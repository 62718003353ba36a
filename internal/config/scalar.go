package config

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// raw returns the text of a scalar before variables are put in, and whether it
// is text rather than a number or the like. It is false if v is no scalar.
func (r *reader) raw(v value) (text string, isText, ok bool) {
	switch n := v.node.(type) {
	case *ast.StringNode:
		return n.Value, true, true
	case *ast.LiteralNode:
		return n.Value.Value, true, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, false, true
	}
	r.fail(v, "it takes: "+r.keys[v.path].Value, "wants one value, not %s", describe(v.node))
	return "", false, false
}

// word returns the text of a scalar of any kind, with variables put in.
func (r *reader) word(v value) (string, bool) {
	text, _, ok := r.raw(v)
	if !ok {
		return "", false
	}
	return r.expand(v, text, nil)
}

// text returns a text that is not empty. A number has to be quoted, as YAML
// would change 007 and 1e3 otherwise.
func (r *reader) text(v value) string {
	text, isText, ok := r.raw(v)
	if !ok {
		return ""
	}
	if !isText {
		r.fail(v, `write it in quotes: "`+text+`"`, "wants text, not %s", describe(v.node))
		return ""
	}
	out, ok := r.expand(v, text, nil)
	if ok && out == "" {
		r.fail(v, "remove the key, or give it a value", "is empty")
	}
	return out
}

// quoted returns v's text as it stands in the file, for messages: what a
// variable stands for may be a secret.
func (r *reader) quoted(v value) string {
	text, _, _ := r.raw(v)
	if len(text) > maxExcerpt {
		text = strings.ToValidUTF8(text[:maxExcerpt], "") + "…"
	}
	return strconv.Quote(text)
}

// name returns a text of certain characters.
func (r *reader) name(v value, valid *regexp.Regexp) string {
	text := r.text(v)
	if text == "" || valid.MatchString(text) {
		return text
	}
	hint := "it takes: " + r.keys[v.path].Value
	if lower := strings.ToLower(text); r.quoted(v) == strconv.Quote(text) && valid.MatchString(lower) {
		hint = "write " + lower
	}
	r.fail(v, hint, "%s is not a name", r.quoted(v))
	return ""
}

// choice returns one of several words.
func choice[T ~string](r *reader, v value, valid ...T) T {
	text, ok := r.word(v)
	if !ok || slices.Contains(valid, T(text)) {
		return T(text)
	}
	words := make([]string, len(valid))
	for i, w := range valid {
		words[i] = string(w)
	}
	r.fail(v, didYouMean(text, words), "%s is not one of %s", r.quoted(v), strings.Join(words, ", "))
	return ""
}

// boolean returns true or false.
func (r *reader) boolean(v value) bool {
	text, ok := r.word(v)
	if ok && text != "true" && text != "false" {
		r.fail(v, "write true or false", "%s is neither true nor false", r.quoted(v))
	}
	return text == "true"
}

// integer returns a decimal number between least and most.
func (r *reader) integer(v value, least, most int64) int64 {
	text, ok := r.word(v)
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		r.fail(v, fmt.Sprintf("write a number from %d to %d", least, most), "%s is not a whole number", r.quoted(v))
	case n < least || n > most:
		r.fail(v, "", "%s is not between %d and %d", r.quoted(v), least, most)
	}
	return n
}

// duration returns a time span between least and most.
func (r *reader) duration(v value, least, most time.Duration) time.Duration {
	text, ok := r.word(v)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		r.fail(v, durationHint(text), "%s is not a duration", r.quoted(v))
	case d < least || d > most:
		r.fail(v, "", "%s is not between %s and %s", r.quoted(v), Duration(least), Duration(most))
	}
	return d
}

// durationHint says how to write what was probably meant.
func durationHint(text string) string {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return fmt.Sprintf("write a day as 24h: %dh", n*24)
		}
	}
	if _, err := strconv.ParseUint(text, 10, 32); err == nil {
		return "add a unit: " + text + "s, " + text + "m or " + text + "h"
	}
	return "write it like 500ms, 5s, 1h30m; the units are ms, s, m and h"
}

// Duration writes a duration as it would stand in the file: 2h, not 2h0m0s.
func Duration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

var sizeForm = regexp.MustCompile(`^([0-9]+) ?([A-Za-z]*)$`)

// size returns a number of bytes between least and most.
func (r *reader) size(v value, least, most int64) int64 {
	text, ok := r.word(v)
	if !ok {
		return 0
	}
	n, known := parseSize(text)
	switch {
	case !known:
		r.fail(v, sizeHint(text), "%s is not a size", r.quoted(v))
	case n < least || n > most:
		r.fail(v, "", "%s is not between %s and %s", r.quoted(v), Size(least), Size(most))
	}
	return n
}

// parseSize reads a number of bytes. What does not fit is the largest number.
func parseSize(text string) (int64, bool) {
	parts := sizeForm.FindStringSubmatch(text)
	if parts == nil {
		return 0, false
	}
	shift, known := map[string]int{"": 0, "B": 0, "KiB": 10, "MiB": 20, "GiB": 30}[parts[2]]
	if !known {
		return 0, false
	}
	n, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || n > math.MaxInt64>>shift {
		return math.MaxInt64, true
	}
	return n << shift, true
}

// sizeHint says how to write what was probably meant.
func sizeHint(text string) string {
	if parts := sizeForm.FindStringSubmatch(text); parts != nil {
		unit := strings.ToUpper(parts[2])
		if unit != "" && strings.Contains("KMG", unit[:1]) {
			return "write " + parts[1] + unit[:1] + "iB"
		}
	}
	return "write it like 65536, 64KiB, 4MiB or 1GiB"
}

// Size writes a number of bytes as it would stand in the file.
func Size(n int64) string {
	units := []string{"", "KiB", "MiB", "GiB"}
	unit := 0
	for n != 0 && n%1024 == 0 && unit < len(units)-1 {
		n, unit = n/1024, unit+1
	}
	return strconv.FormatInt(n, 10) + units[unit]
}
