package config

import (
	"regexp"
	"strings"
)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand replaces each ${NAME} of text by encode of the variable's value; $${
// stands for ${ itself. encode is given what stands before the variable
// and what follows it too, and may be nil. It is false, and the error is noted,
// if a variable is not set.
func (r *reader) expand(v value, text string, encode func(before, after, value string) string) (string, bool) {
	var out strings.Builder
	for rest := text; ; {
		before, after, found := strings.Cut(rest, "${")
		literal, escaped := strings.CutSuffix(before, "$")
		if found && escaped {
			out.WriteString(literal + "${")
			rest = after
			continue
		}
		out.WriteString(before)
		if !found {
			return out.String(), true
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed || !envName.MatchString(name) {
			r.fail(v, "write ${NAME} for a variable, or $${ for the characters ${", "has a ${ that does not name an environment variable")
			return "", false
		}
		val, ok := r.env(name)
		if !ok {
			r.fail(v, "export "+name+"=…", "the environment variable %s is not set", name)
			return "", false
		}
		if encode != nil {
			val = encode(text[:len(text)-len(after)-len("${")], tail, val)
		}
		out.WriteString(val)
		rest = tail
	}
}
