package mysql

import (
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/rowhook/rowhook/internal/change"
)

// textCoding is how the bytes of a character set become UTF-8.
type textCoding struct {
	charset string
	// op is opUTF8, opASCII, opLatin1 or opText for text, opBytes for the set binary.
	op decodeOp
	// next returns the first character of a text that is not empty, and its length; or noCharacter, and the length of what is none. It is
	// unset where op says it all.
	next func(v []byte) (r rune, n int)
	// ascii says that bytes below 0x80 stand for themselves wherever a character begins, and that a text of only such bytes is UTF-8 already.
	ascii bool
}

// codingOf returns how text of the collation is read, nil if the collation is unknown.
func codingOf(collation uint64, flavor change.Flavor) *textCoding {
	return codingNamed(charsetName(collation, flavor), flavor)
}

// codingNamed returns how text of the character set is read, nil if it is unknown.
func codingNamed(charset string, flavor change.Flavor) *textCoding {
	switch charset {
	case "utf8mb4", "utf8mb3":
		return &textCoding{charset: charset, op: opUTF8, ascii: true}
	case "ascii":
		return &textCoding{charset: charset, op: opASCII, ascii: true}
	case "binary":
		return &textCoding{charset: charset, op: opBytes}
	case "ucs2":
		return &textCoding{charset: charset, op: opText, next: nextUCS2}
	case "utf16":
		return &textCoding{charset: charset, op: opText, next: nextUTF16}
	case "utf16le":
		return &textCoding{charset: charset, op: opText, next: nextUTF16LE}
	case "utf32":
		return &textCoding{charset: charset, op: opText, next: nextUTF32}
	}
	table := charTableOf(charset, flavor)
	if table == nil {
		return nil
	}
	c := &textCoding{charset: charset, op: opText, next: table.next, ascii: table.ascii}
	if charset == "latin1" {
		c.op = opLatin1
	}
	return c
}

// toUTF8 appends v as UTF-8, and reports whether all of it are characters.
func (c *textCoding) toUTF8(p, v []byte) (out []byte, ok bool) {
	switch {
	case c.op == opLatin1:
		return appendLatin1(p, v), true
	case c.ascii && isASCII(v):
		return append(p, v...), true
	case c.op == opASCII:
		return p, false
	case c.op != opText:
		return append(p, v...), utf8.Valid(v)
	}
	for len(v) > 0 {
		r, n := c.next(v)
		if r == noCharacter {
			return p, false
		}
		p, v = utf8.AppendRune(p, r), v[n:]
	}
	return p, true
}

// invalid returns where in v the first bytes stand that are no character, and how many they are; none if all are.
func (c *textCoding) invalid(v []byte) (at, n int) {
	next := c.next
	if next == nil {
		next = nextUTF8
	}
	for at < len(v) {
		r, n := next(v[at:])
		if r == noCharacter || c.op == opASCII && v[at] >= utf8.RuneSelf {
			return at, n
		}
		at += n
	}
	return at, 0
}

func nextUTF8(v []byte) (r rune, n int) {
	if r, n = utf8.DecodeRune(v); r == utf8.RuneError && n == 1 {
		return noCharacter, 1
	}
	return r, n
}

// nextUCS2 reads a character of the first plane. Halves of a surrogate pair are none, which MariaDB lets into a column.
func nextUCS2(v []byte) (r rune, n int) {
	if len(v) < 2 {
		return noCharacter, len(v)
	}
	if r = rune(binary.BigEndian.Uint16(v)); utf16.IsSurrogate(r) {
		return noCharacter, 2
	}
	return r, 2
}

func nextUTF16(v []byte) (r rune, n int) { return nextPair(v, binary.BigEndian.Uint16) }

func nextUTF16LE(v []byte) (r rune, n int) { return nextPair(v, binary.LittleEndian.Uint16) }

func nextPair(v []byte, unit func([]byte) uint16) (r rune, n int) {
	if len(v) < 2 {
		return noCharacter, len(v)
	}
	if r = rune(unit(v)); !utf16.IsSurrogate(r) {
		return r, 2
	}
	if len(v) < 4 {
		return noCharacter, len(v)
	}
	if r = utf16.DecodeRune(r, rune(unit(v[2:]))); r == utf8.RuneError {
		return noCharacter, 2
	}
	return r, 4
}

func nextUTF32(v []byte) (r rune, n int) {
	if len(v) < 4 {
		return noCharacter, len(v)
	}
	u := binary.BigEndian.Uint32(v)
	if u > utf8.MaxRune || utf16.IsSurrogate(rune(u)) {
		return noCharacter, 4
	}
	return rune(u), 4
}

func isASCII(v []byte) bool {
	for len(v) >= 8 {
		if (uint64(v[0])|uint64(v[1])|uint64(v[2])|uint64(v[3])|uint64(v[4])|uint64(v[5])|uint64(v[6])|uint64(v[7]))&0x80 != 0 {
			return false
		}
		v = v[8:]
	}
	for _, c := range v {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// latin1ToUnicode is the upper half of MySQL's latin1: Windows-1252, with the five bytes that it leaves open as C1 controls.
var latin1ToUnicode = [32]rune{
	0x20ac, 0x0081, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0x008d, 0x017d, 0x008f,
	0x0090, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x009d, 0x017e, 0x0178,
}

// appendLatin1 appends v as UTF-8.
func appendLatin1(p, v []byte) []byte {
	for _, c := range v {
		switch {
		case c < utf8.RuneSelf:
			p = append(p, c)
		case c < 0xa0:
			p = utf8.AppendRune(p, latin1ToUnicode[c-0x80])
		default:
			p = append(p, 0xc0|c>>6, 0x80|c&0x3f)
		}
	}
	return p
}
