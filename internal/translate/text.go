package translate

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// errNotUTF8 never becomes a replacement character: that would change the value in silence.
var errNotUTF8 = fmt.Errorf("%w: the text is not UTF-8", ErrNotExact)

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string.
func appendString(p []byte, s string) ([]byte, error) {
	p = append(p, '"')
	start := len(p)
	p = append(p, s...)
	if plainPrefix(p[start:]) == len(s) {
		return append(p, '"'), nil
	}
	if !utf8.ValidString(s) {
		return nil, errNotUTF8
	}
	p = p[:start]
	for i := 0; i < len(s); i++ {
		p = appendEscaped(p, s[i])
	}
	return append(p, '"'), nil
}

// appendText appends b as a JSON string.
func appendText(p, b []byte) ([]byte, error) {
	p = append(p, '"')
	checked := false
	for len(b) > 0 {
		n := plainPrefix(b)
		p = append(p, b[:n]...)
		b = b[n:]
		if len(b) == 0 {
			break
		}
		if b[0] < utf8.RuneSelf {
			p, b = appendEscaped(p, b[0]), b[1:]
			continue
		}
		// What was passed so far is ASCII: the rest starts at a character.
		if !checked && !utf8.Valid(b) {
			return nil, errNotUTF8
		}
		checked = true
		n = 1
		for n < len(b) && b[n] >= utf8.RuneSelf {
			n++
		}
		p, b = append(p, b[:n]...), b[n:]
	}
	return append(p, '"'), nil
}

// plainPrefix returns how many leading bytes are ASCII and stand for themselves in a JSON string.
func plainPrefix(b []byte) int {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		if special(binary.LittleEndian.Uint64(b[i:])) {
			return i + plainBytes(b[i:])
		}
	}
	// The last word overlaps the one before it.
	if i < len(b) && len(b) >= 8 && !special(binary.LittleEndian.Uint64(b[len(b)-8:])) {
		return len(b)
	}
	return i + plainBytes(b[i:])
}

// special reports whether one of the eight bytes is below a space, a quote, a backslash, or beyond ASCII.
func special(w uint64) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	quote, slash := w^(ones*'"'), w^(ones*'\\')
	// A subtraction sets the high bit of the byte it borrows for.
	return (w|(w-ones*' ')|(quote-ones)|(slash-ones))&highs != 0
}

func plainBytes(b []byte) int {
	for i, c := range b {
		if c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return i
		}
	}
	return len(b)
}

func appendEscaped(p []byte, c byte) []byte {
	switch {
	case c == '"' || c == '\\':
		return append(p, '\\', c)
	case c >= ' ':
		return append(p, c)
	case c == '\n':
		return append(p, '\\', 'n')
	case c == '\r':
		return append(p, '\\', 'r')
	case c == '\t':
		return append(p, '\\', 't')
	default:
		return append(p, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
}
