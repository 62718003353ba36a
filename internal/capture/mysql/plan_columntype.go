package mysql

import (
	"fmt"
	"strings"

	"github.com/rowhook/rowhook/internal/change"
)

// columnType returns the text for change.Column.Type: what information_schema says now, unless that is another type than the row
// was written with.
func columnType(c *mappedColumn, now string, flavor change.Flavor) string {
	word := baseWord(now)
	if c.isMariaDBJSON(word, flavor) || c.disguised(flavor) || word == "vector" && flavor == change.MariaDB && c.isVarbinary() {
		return now
	}
	for _, w := range typeWords(c.typ) {
		if w != word || c.compressed() != strings.Contains(now, compressedComment) {
			continue
		}
		if !isNumeric(c) || c.typ == typeYear || c.unsigned == strings.Contains(now, "unsigned") {
			return now
		}
	}
	return c.describe(flavor)
}

// isMariaDBJSON reports whether the column is what JSON means to MariaDB: a LONGTEXT.
func (c *mappedColumn) isMariaDBJSON(word string, flavor change.Flavor) bool {
	return word == "json" && flavor == change.MariaDB && c.typ == typeBlob && c.meta[0] == 4
}

// compressedComment is how MariaDB shows that a column is compressed.
const compressedComment = " /*M!100301 COMPRESSED*/"

func (c *mappedColumn) compressed() bool {
	return c.typ == typeVarcharCompressed || c.typ == typeBlobCompressed
}

// typeWords lists the words that information_schema uses for a type of the binlog.
func typeWords(typ byte) []string {
	switch typ {
	case typeString:
		return []string{"char", "binary"}
	case typeVarchar, typeVarString, typeVarcharCompressed:
		return []string{"varchar", "varbinary"}
	case typeBlob, typeBlobCompressed:
		return []string{"tinytext", "text", "mediumtext", "longtext", "tinyblob", "blob", "mediumblob", "longblob"}
	case typeGeometry:
		return []string{"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geomcollection", "geometrycollection"}
	}
	if w := typeWord(typ); w != "" {
		return []string{w}
	}
	return nil
}

func typeWord(typ byte) string {
	switch typ {
	case typeTiny:
		return "tinyint"
	case typeShort:
		return "smallint"
	case typeInt24:
		return "mediumint"
	case typeLong:
		return "int"
	case typeLongLong:
		return "bigint"
	case typeFloat:
		return "float"
	case typeDouble:
		return "double"
	case typeNewDecimal:
		return "decimal"
	case typeDate, typeNewDate:
		return "date"
	case typeTime, typeTime2:
		return "time"
	case typeDatetime, typeDatetime2:
		return "datetime"
	case typeTimestamp, typeTimestamp2:
		return "timestamp"
	case typeYear:
		return "year"
	case typeBit:
		return "bit"
	case typeEnum:
		return "enum"
	case typeSet:
		return "set"
	case typeJSON:
		return "json"
	case typeVector:
		return "vector"
	}
	return ""
}

// describe makes the text of the type from what the binlog says.
func (c *mappedColumn) describe(flavor change.Flavor) string {
	word := typeWord(c.typ)
	switch c.typ {
	case typeNewDecimal:
		word = fmt.Sprintf("decimal(%d,%d)", c.meta[0], c.meta[1])
	case typeBit:
		word = fmt.Sprintf("bit(%d)", int(c.meta[1])*8+int(c.meta[0]))
	case typeTime2, typeDatetime2, typeTimestamp2:
		if c.meta[0] > 0 {
			word = fmt.Sprintf("%s(%d)", word, c.meta[0])
		}
	case typeEnum, typeSet:
		word += "(" + c.quotedMembers(flavor) + ")"
	case typeGeometry:
		word = "geometry"
	case typeString, typeVarchar, typeVarString, typeBlob:
		word = c.describeString(flavor)
	case typeVarcharCompressed, typeBlobCompressed:
		word = c.describeString(flavor) + compressedComment
	}
	if c.unsigned && c.typ != typeYear {
		word += " unsigned"
	}
	return word
}

func (c *mappedColumn) describeString(flavor change.Flavor) string {
	binary := c.collation == collationBinary
	if c.typ == typeBlob || c.typ == typeBlobCompressed {
		word := "text"
		if binary {
			word = "blob"
		}
		return [...]string{"", "tiny", "", "medium", "long"}[min(c.meta[0], 4)] + word
	}
	word := "char"
	if binary {
		word = "binary"
	}
	if c.typ != typeString {
		word = "var" + word
	}
	return fmt.Sprintf("%s(%d)", word, c.length()/bytesPerCharacter(charsetName(c.collation, flavor)))
}

func (c *mappedColumn) quotedMembers(flavor change.Flavor) string {
	var b strings.Builder
	for i, m := range c.members {
		if i > 0 {
			b.WriteByte(',')
		}
		if coding := codingOf(c.collation, flavor); coding != nil {
			m, _ = coding.toUTF8(nil, m)
		}
		b.WriteString("'" + strings.ReplaceAll(string(m), "'", "''") + "'")
	}
	return b.String()
}

// oldTemporalComment is how MariaDB shows that a column has the format from before 10.1.2.
const oldTemporalComment = "/* mariadb-5.3 */"

// unsupportedColumn says what stands against a column, by its type and its character set as the server names them. The decoder
// decides by the binlog's own words; this is the same list seen from the other side.
func unsupportedColumn(flavor change.Flavor, typ, charset string) string {
	low, word := strings.ToLower(typ), baseWord(typ)
	special := flavor == change.MariaDB && mariadbType(word)
	switch {
	case charset != "" && charset != "NULL" && charset != "utf8" && codingNamed(charset, flavor) == nil:
		return "and this version does not know the character set " + charset
	case !special && !plainType(word), special && word != "vector" && low != word:
		return "which this version does not know"
	case strings.Contains(low, oldTemporalComment) && strings.Contains(low, "("):
		return "in the format from before MariaDB 10.1.2, whose length the binlog does not tell"
	}
	return ""
}
