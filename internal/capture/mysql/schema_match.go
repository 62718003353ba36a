package mysql

import (
	"fmt"
	"strings"

	"github.com/rowhook/rowhook/internal/change"
)

// complete names the columns of a TABLE_MAP that does not. Everything that both say must agree, or nothing is certain.
func (m *tableMap) complete(t *tableSchema) error {
	if len(m.columns) != len(t.columns) {
		return m.differs("the binlog has %d columns, the server shows %d", len(m.columns), len(t.columns))
	}
	for i := range m.columns {
		c, s := &m.columns[i], &t.columns[i]
		if m.nullable(i) != s.nullable {
			return m.differs("column %s may be NULL in one and not in the other", s.name)
		}
		if err := m.completeColumn(c, s); err != nil {
			return err
		}
	}
	m.key = t.key
	return nil
}

func (m *tableMap) differs(format string, args ...any) error {
	return fmt.Errorf("table %s.%s: %w: %s", m.schema, m.name, errUncertain, fmt.Sprintf(format, args...))
}

func (m *tableMap) completeColumn(c *mappedColumn, s *schemaColumn) error {
	c.name = s.name
	unsigned := strings.Contains(s.typ, " unsigned")
	switch {
	case !isNumeric(c) || c.typ == typeYear:
	case m.signs && c.unsigned != unsigned:
		return m.differs("column %s is unsigned in one and not in the other", s.name)
	default:
		c.unsigned = unsigned
	}
	if m.hasCharset(c) {
		if c.collation != unknownCollation && charsetName(c.collation, m.flavor) != charsetName(s.collation, m.flavor) {
			return m.differs("column %s has the character set %s in the binlog and %s now", s.name,
				charsetName(c.collation, m.flavor), charsetName(s.collation, m.flavor))
		}
		c.collation = s.collation
	}
	if isEnumOrSet(c) {
		if err := m.completeMembers(c, s); err != nil {
			return err
		}
	}
	if !c.fits(s.typ, m.flavor) {
		return m.differs("column %s is %s in the binlog and %s now", s.name, c.describe(m.flavor), s.typ)
	}
	return nil
}

// fits reports whether a column of this type and size may be what information_schema calls it.
func (c *mappedColumn) fits(now string, flavor change.Flavor) bool {
	word := baseWord(now)
	switch {
	case flavor == change.MariaDB && c.typ == typeString && (word == "uuid" || word == "inet6"):
		return c.length() == 16
	case flavor == change.MariaDB && c.typ == typeString && word == "inet4":
		return c.length() == 4
	case word == "vector":
		return c.typ == typeVector || flavor == change.MariaDB && c.typ == typeVarchar
	case c.typ == typeBlobCompressed || c.typ == typeVarcharCompressed:
		return strings.Contains(now, "COMPRESSED")
	}
	known := false
	for _, w := range typeWords(c.typ) {
		known = known || w == word
	}
	if !known {
		return false
	}
	switch c.typ {
	case typeNewDecimal, typeBit, typeTime2, typeDatetime2, typeTimestamp2, typeString, typeVarchar, typeVarString, typeBlob:
		plain, _, _ := strings.Cut(now, " ")
		want, _, _ := strings.Cut(c.describe(flavor), " ")
		return strings.EqualFold(plain, want)
	}
	return true
}

// completeMembers reads the labels out of enum('a','b'). Its row images hold ordinals.
func (m *tableMap) completeMembers(c *mappedColumn, s *schemaColumn) error {
	labels, ok := parseLabels(s.typ)
	if !ok || s.charset == "binary" {
		return m.differs("the labels of column %s cannot be told from %s", s.name, s.typ)
	}
	if want := labelBytes(c.typ, len(labels)); int(c.meta[1]) != want {
		return m.differs("values of column %s have %d bytes in the binlog, those of %s have %d", s.name, c.meta[1], s.typ, want)
	}
	c.members, c.collation = labels, utf8Collation
	return nil
}

// utf8Collation is that of labels as information_schema tells them, utf8mb4_general_ci.
const utf8Collation = 45

// labelBytes is how many bytes a value takes.
func labelBytes(typ byte, labels int) int {
	if typ == typeEnum {
		if labels < 256 {
			return 1
		}
		return 2
	}
	n := (labels + 7) / 8
	if n > 4 {
		return 8
	}
	return n
}

// parseLabels reads what information_schema makes of labels. Two characters are not certain there: a backslash may be one, or begin an
// escape, and a question mark stands for every character outside the server's own character set, too.
func parseLabels(typ string) (out [][]byte, ok bool) {
	_, rest, found := strings.Cut(typ, "(")
	rest, closed := strings.CutSuffix(rest, ")")
	if !found || !closed || strings.ContainsAny(rest, `\?`) {
		return nil, false
	}
	for rest != "" {
		if rest[0] != '\'' {
			return nil, false
		}
		var label []byte
		i := 1
		for ; i < len(rest); i++ {
			if rest[i] == '\'' {
				if i+1 == len(rest) || rest[i+1] != '\'' {
					break
				}
				i++
			}
			label = append(label, rest[i])
		}
		if i >= len(rest) {
			return nil, false
		}
		out = append(out, label)
		if rest = rest[i+1:]; rest == "" {
			break
		}
		if rest[0] != ',' || len(rest) == 1 {
			return nil, false
		}
		rest = rest[1:]
	}
	return out, len(out) > 0
}
