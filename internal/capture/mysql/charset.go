package mysql

import (
	"fmt"

	"github.com/rowhook/rowhook/internal/change"
)

// collationBinary is the one collation of bytes that are no text.
const collationBinary = 63

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

// mariadbCharset names the character sets of MariaDB's own collations: Croatian ones, the Unicode 14 ones, and, since 11.4, those that
// bear the numbers of MySQL's.
func mariadbCharset(id uint64) string {
	switch {
	case id >= 576 && id <= 579, id >= 2048 && id <= 2303:
		return "utf8mb3"
	case id >= 255 && id <= 323, id >= 608 && id <= 611, id >= 2304 && id <= 2559:
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
	case "utf8mb4", "utf16", "utf16le", "utf32", "gb18030":
		return 4
	case "utf8mb3", "ujis", "eucjpms":
		return 3
	case "ucs2", "big5", "gbk", "gb2312", "sjis", "cp932", "euckr":
		return 2
	default:
		return 1
	}
}
