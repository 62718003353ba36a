package mysql

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/rowhook/rowhook/internal/change"
)

// Sizes of MariaDB's types that the binlog shows as BINARY.
const (
	uuidSize, inet6Size = 16, 16
	inet4Size           = 4
)

// mariadbType reports whether the word of a COLUMN_TYPE is a type of MariaDB that the binlog shows as another.
func mariadbType(word string) bool {
	switch word {
	case "uuid", "inet4", "inet6", "vector":
		return true
	}
	return false
}

// isVarbinary reports whether the column is bytes of any length up to a limit, as MariaDB's VECTOR is in the binlog.
func (c *mappedColumn) isVarbinary() bool {
	return (c.typ == typeVarchar || c.typ == typeVarString) && c.collation == collationBinary
}

// disguised reports whether the column, a BINARY in the binlog, may be a UUID, INET4 or INET6 as well: MariaDB writes all of them alike.
func (c *mappedColumn) disguised(flavor change.Flavor) bool {
	return flavor == change.MariaDB && c.typ == typeString && c.collation == collationBinary && (c.length() == uuidSize || c.length() == inet4Size)
}

// hiddenHash begins the names of the columns in which MariaDB keeps the hashes of UNIQUE keys over long values.
const hiddenHash = "DB_ROW_HASH_"

// hidden reports whether the column is one that MariaDB has added for itself: it is in the binlog, but in no SELECT, and not among the
// types that information_schema knows.
func (c *mappedColumn) hidden(types map[string]string, flavor change.Flavor) bool {
	_, shown := types[c.name]
	return flavor == change.MariaDB && !shown && c.typ == typeLongLong && strings.HasPrefix(c.name, hiddenHash)
}

// planDisguised plans a BINARY that may be something else. Only information_schema can tell; if what it says is neither, the table is not
// any more what it was when the row was written.
func (rc *rowColumn) planDisguised(c *mappedColumn, now string) (change.Kind, string) {
	size := c.length()
	rc.size = uint32(size)
	switch typ := strings.ToLower(now); {
	case typ == fmt.Sprintf("binary(%d)", size):
		rc.op = opPaddedBytes
		return change.Bytes, ""
	case typ == "uuid" && size == uuidSize:
		rc.op = opUUID
	case typ == "inet6" && size == inet6Size:
		rc.op = opInet6
	case typ == "inet4" && size == inet4Size:
		rc.op = opInet4
	case now == "":
		return 0, fmt.Sprintf("the binlog shows BINARY(%d) for UUID and INET too, and the column is not there any more to tell which it was", size)
	default:
		return 0, fmt.Sprintf("the binlog shows BINARY(%d) for UUID and INET too, and the column, which is %s now, cannot tell which it was", size, now)
	}
	return change.Text, ""
}

// appendDisguised appends a UUID or an address as the server prints it. The binlog has cut off the zero bytes at the end.
func (rc *rowColumn) appendDisguised(p, v []byte) ([]byte, bool) {
	if len(v) > int(rc.size) {
		return p, false
	}
	var b [16]byte
	copy(b[:], v)
	p, at := rc.openValue(p)
	switch rc.op {
	case opUUID:
		p = appendUUID(p, b)
	case opInet4:
		p = netip.AddrFrom4([4]byte(b[:4])).AppendTo(p)
	default:
		p = appendInet6(p, b)
	}
	p[at] = byte(len(p) - at - 1)
	return p, true
}

func appendUUID(p []byte, b [16]byte) []byte {
	for i, end := range [...]int{4, 6, 8, 10, 16} {
		if i > 0 {
			p = append(p, '-')
		}
		p = hex.AppendEncode(p, b[[...]int{0, 4, 6, 8, 10}[i]:end])
	}
	return p
}

// appendInet6 appends an address as MariaDB prints it: the first of the longest runs of zero words is left out, even if it is of one
// word only, and an address of version 4 behind it stands as one.
func appendInet6(p []byte, b [16]byte) []byte {
	var words [8]uint16
	for i := range words {
		words[i] = binary.BigEndian.Uint16(b[2*i:])
	}
	at, n := zeroRun(words)
	for i := 0; i < len(words); i++ {
		switch {
		case i == at && n > 0:
			if i == 0 {
				p = append(p, ':')
			}
			p = append(p, ':')
			i += n - 1
		case i == 6 && at == 0 && (n == 6 || n == 5 && words[5] == 0xffff):
			return netip.AddrFrom4([4]byte(b[12:])).AppendTo(p)
		default:
			p = strconv.AppendUint(p, uint64(words[i]), 16)
			if i < 7 {
				p = append(p, ':')
			}
		}
	}
	return p
}

// zeroRun returns where the first of the longest runs of zeros begins, and its length.
func zeroRun(words [8]uint16) (at, n int) {
	run := 0
	for i, w := range words {
		if w != 0 {
			run = 0
			continue
		}
		if run++; run > n {
			at, n = i+1-run, run
		}
	}
	return at, n
}
