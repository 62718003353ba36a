package mysql

import (
	"fmt"
	"unicode/utf8"

	"github.com/rowhook/rowhook/internal/change"
)

// textCoding is how the bytes of a text column become UTF-8.
type textCoding uint8

const (
	codingUnsupported textCoding = iota
	codingUTF8
	codingASCII
	codingLatin1
	codingBinary
)

// collationBinary is the one collation of bytes that are no text.
const collationBinary = 63

// codingOf returns how text of the collation is read.
func codingOf(collation uint64, flavor change.Flavor) textCoding {
	switch charsetName(collation, flavor) {
	case "utf8mb4", "utf8mb3":
		return codingUTF8
	case "ascii":
		return codingASCII
	case "latin1":
		return codingLatin1
	case "binary":
		return codingBinary
	default:
		return codingUnsupported
	}
}

// charsetName returns the character set of a collation, by the numbers that MySQL and MariaDB give them.
func charsetName(id uint64, flavor change.Flavor) string {
	if flavor == change.MariaDB && id > 1024 && id < 2048 {
		id -= 1024 // the NO PAD twin of an older collation
	}
	switch {
	case id == collationBinary:
		return "binary"
	case id == 33 || id == 83 || id == 76 || id >= 192 && id <= 223:
		return "utf8mb3"
	case id == 45 || id == 46 || id >= 224 && id <= 247:
		return "utf8mb4"
	case id == 11 || id == 65:
		return "ascii"
	}
	if name := oldCharset(id); name != "" {
		return name
	}
	if flavor == change.MariaDB {
		return mariadbCharset(id)
	}
	if id >= 255 && id <= 323 {
		return "utf8mb4"
	}
	return fmt.Sprintf("collation %d", id)
}

// mariadbCharset names the character sets of MariaDB's own collations: Croatian ones, and the Unicode 14 ones.
func mariadbCharset(id uint64) string {
	switch {
	case id >= 576 && id <= 578, id >= 2048 && id <= 2303:
		return "utf8mb3"
	case id >= 608 && id <= 610, id >= 2304 && id <= 2559:
		return "utf8mb4"
	case id >= 640 && id <= 642, id >= 2560 && id <= 2815:
		return "ucs2"
	case id >= 672 && id <= 674, id >= 2816 && id <= 3071:
		return "utf16"
	case id >= 736 && id <= 738, id >= 3072 && id <= 3327:
		return "utf32"
	}
	return fmt.Sprintf("collation %d", id)
}

// oldCharset names the character sets whose collations have the same numbers on both servers.
func oldCharset(id uint64) string {
	switch id {
	case 5, 8, 15, 31, 47, 48, 49, 94:
		return "latin1"
	case 2, 9, 21, 27, 77:
		return "latin2"
	case 30, 78:
		return "latin5"
	case 20, 41, 42, 79:
		return "latin7"
	case 26, 34, 44, 66, 99:
		return "cp1250"
	case 14, 23, 50, 51, 52:
		return "cp1251"
	case 57, 67:
		return "cp1256"
	case 29, 58, 59:
		return "cp1257"
	case 4, 80:
		return "cp850"
	case 40, 81:
		return "cp852"
	case 36, 68:
		return "cp866"
	case 7, 74:
		return "koi8r"
	case 22, 75:
		return "koi8u"
	case 25, 70:
		return "greek"
	case 16, 71:
		return "hebrew"
	case 38, 43:
		return "macce"
	case 39, 53:
		return "macroman"
	case 32, 64:
		return "armscii8"
	case 92, 93:
		return "geostd8"
	case 3, 69:
		return "dec8"
	case 6, 72:
		return "hp8"
	case 37, 73:
		return "keybcs2"
	case 10, 82:
		return "swe7"
	case 18, 89:
		return "tis620"
	}
	return wideCharset(id)
}

// wideCharset names the character sets of more than one byte that are not UTF-8.
func wideCharset(id uint64) string {
	switch {
	case id == 1 || id == 84:
		return "big5"
	case id == 13 || id == 88:
		return "sjis"
	case id == 95 || id == 96:
		return "cp932"
	case id == 12 || id == 91:
		return "ujis"
	case id == 97 || id == 98:
		return "eucjpms"
	case id == 19 || id == 85:
		return "euckr"
	case id == 24 || id == 86:
		return "gb2312"
	case id == 28 || id == 87:
		return "gbk"
	case id >= 248 && id <= 250:
		return "gb18030"
	case id == 35 || id == 90 || id >= 128 && id <= 151 || id == 159:
		return "ucs2"
	case id == 54 || id == 55 || id >= 101 && id <= 124:
		return "utf16"
	case id == 56 || id == 62:
		return "utf16le"
	case id == 60 || id == 61 || id >= 160 && id <= 183:
		return "utf32"
	}
	return ""
}

// bytesPerCharacter is the most bytes that the servers reserve for a character when they turn a length into bytes.
func bytesPerCharacter(charset string) int {
	switch charset {
	case "utf8mb4":
		return 4
	case "utf8mb3":
		return 3
	default:
		return 1
	}
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

// toUTF8 appends v, a text of the given coding, and reports whether it is valid.
func (t textCoding) toUTF8(p, v []byte) ([]byte, bool) {
	switch t {
	case codingUTF8:
		return append(p, v...), utf8.Valid(v)
	case codingASCII:
		return append(p, v...), isASCII(v)
	case codingLatin1:
		return appendLatin1(p, v), true
	case codingBinary:
		return append(p, v...), utf8.Valid(v)
	default:
		return p, false
	}
}
