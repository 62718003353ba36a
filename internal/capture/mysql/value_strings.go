package mysql

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/rowhook/rowhook/internal/change"
)

// planString plans CHAR, VARCHAR, TEXT and their binary twins, and the types that look like them in the binlog.
func (rc *rowColumn) planString(c *mappedColumn, now string, flavor change.Flavor) (change.Kind, string) {
	switch c.typ {
	case typeString, typeVarchar, typeVarString, typeVarcharCompressed:
		rc.prefix = 1
		if c.length() > 255 {
			rc.prefix = 2
		}
	case typeBlob, typeBlobCompressed:
		if _, why := rc.long(c, opSkip, 0); why != "" {
			return 0, why
		}
	default:
		return 0, fmt.Sprintf("its type has the number %d in the binlog, which is unknown", c.typ)
	}
	if c.disguised(flavor) {
		return rc.planDisguised(c, now)
	}
	word := baseWord(now)
	if flavor == change.MariaDB && word == "vector" && c.isVarbinary() {
		rc.op = opVector
		return change.Vector, ""
	}
	if word != "" && !plainType(word) && !mariadbType(word) {
		return 0, fmt.Sprintf("type %s is not known to this version", now)
	}
	kind, why := rc.planText(c, c.isMariaDBJSON(word, flavor), flavor)
	if why == "" && (c.typ == typeVarcharCompressed || c.typ == typeBlobCompressed) {
		unpacked := *rc
		rc.op, rc.unpacked = opCompressed, &unpacked
	}
	return kind, why
}

// plainType reports whether the word of a COLUMN_TYPE is a type that the binlog tells apart from others: then a different one there
// means that the column was changed since. The others hide in the binlog as CHAR, VARCHAR or TEXT.
func plainType(word string) bool {
	for typ := range 256 {
		for _, w := range typeWords(byte(typ)) {
			if w == word {
				return true
			}
		}
	}
	return false
}

func (rc *rowColumn) planText(c *mappedColumn, json bool, flavor change.Flavor) (change.Kind, string) {
	if c.collation == unknownCollation {
		return 0, "the binlog does not tell its character set; run SET GLOBAL binlog_row_metadata=FULL"
	}
	kind := change.Text
	if json {
		kind = change.JSON
	}
	coding := codingOf(c.collation, flavor)
	if coding == nil {
		return 0, fmt.Sprintf("its character set (%s) is not known to this version", charsetName(c.collation, flavor))
	}
	rc.op, rc.coding = coding.op, coding
	if coding.op == opBytes {
		kind = change.Bytes
		if c.typ == typeString {
			rc.op, rc.size = opPaddedBytes, uint32(c.length())
		}
	}
	return kind, ""
}

// planLabels plans an ENUM or a SET.
func (rc *rowColumn) planLabels(c *mappedColumn, flavor change.Flavor) (change.Kind, string) {
	size, most := uint32(c.meta[1]), 65535
	rc.op = opEnum
	if c.typ == typeSet {
		rc.op, most = opSet, 64
	}
	if size < 1 || size > 8 || c.typ == typeEnum && size > 2 {
		return 0, fmt.Sprintf("%d bytes for an ENUM or a SET", size)
	}
	rc.size = size
	if len(c.members) == 0 || len(c.members) > most || c.collation == unknownCollation {
		return 0, "the binlog does not tell its labels; run SET GLOBAL binlog_row_metadata=FULL"
	}
	coding := codingOf(c.collation, flavor)
	if coding == nil {
		return 0, fmt.Sprintf("its character set (%s) is not known to this version", charsetName(c.collation, flavor))
	}
	rc.members = make([][]byte, len(c.members))
	for i, m := range c.members {
		label, ok := coding.toUTF8(nil, m)
		if !ok {
			return 0, fmt.Sprintf("label %d holds bytes that are no character of %s", i+1, coding.charset)
		}
		rc.members[i] = label
	}
	return change.Text, ""
}

// encodeLabels puts tag and length before each label of an ENUM; number 0 is the empty label of a value that was refused.
func (rc *rowColumn) encodeLabels() {
	values := make([][]byte, len(rc.members)+1)
	values[0] = change.AppendBytes(nil, rc.tag>>3, nil, false)
	for i, label := range rc.members {
		values[i+1] = change.AppendBytes(nil, rc.tag>>3, label, false)
	}
	rc.members = values
}

// appendEnum appends the label whose number is v, from 1.
func (rc *rowColumn) appendEnum(p, v []byte) ([]byte, bool) {
	n := littleEndian(v)
	if n >= uint64(len(rc.members)) {
		return p, false
	}
	return append(p, rc.members[n]...), true
}

// appendSet appends the labels whose bits are set, with commas between them.
func (rc *rowColumn) appendSet(p, v []byte) ([]byte, bool) {
	bits := littleEndian(v)
	if len(rc.members) < 64 && bits>>len(rc.members) != 0 {
		return p, false
	}
	p, at := rc.openValue(p)
	first := len(p)
	for _, label := range rc.members {
		if bits&1 != 0 {
			if len(p) > first {
				p = append(p, ',')
			}
			p = append(p, label...)
		}
		bits >>= 1
	}
	return change.CloseValue(p, at), true
}

func (rc *rowColumn) appendBytes(p, v []byte) []byte {
	p = appendTag(p, rc.tag)
	if len(v) < 0x80 {
		p = append(p, byte(len(v)))
	} else {
		p = protowire.AppendVarint(p, uint64(len(v)))
	}
	return append(p, v...)
}

// appendPadded appends a BINARY, of which the binlog has cut off the zero bytes at the end.
func (rc *rowColumn) appendPadded(p, v []byte) ([]byte, bool) {
	if len(v) > int(rc.size) {
		return p, false
	}
	p = appendTag(p, rc.tag)
	p = protowire.AppendVarint(p, uint64(rc.size))
	p = append(p, v...)
	for range int(rc.size) - len(v) {
		p = append(p, 0)
	}
	return p, true
}

// openValue begins a value whose length is not known yet; change.CloseValue ends it.
func (rc *rowColumn) openValue(p []byte) ([]byte, int) {
	p = append(appendTag(p, rc.tag), 0)
	return p, len(p) - 1
}

// appendText appends a text of another character set.
func (rc *rowColumn) appendText(p, v []byte) ([]byte, bool) {
	p, at := rc.openValue(p)
	p, ok := rc.coding.toUTF8(p, v)
	return change.CloseValue(p, at), ok
}

func (rc *rowColumn) appendLatin1(p, v []byte) []byte {
	if isASCII(v) {
		return rc.appendBytes(p, v)
	}
	p, at := rc.openValue(p)
	return change.CloseValue(appendLatin1(p, v), at)
}
