package event

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// idVersion is the first byte of what is hashed. Another rule for ids needs another version, and other test vectors.
const idVersion = 1

// What identifies the transaction within the source.
const (
	byGTID = 1
	byFile = 2
)

const (
	idPrefix = "evt_"
	idBytes  = 20
	idLength = len(idPrefix) + idBytes*8/5
)

// idEncoding keeps the order of the bytes, so that ids sort by commit time.
var idEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// Identity is the place of an event in its source, from which its id follows.
type Identity struct {
	// Source is the source's name, Generation the number that its configuration gives it; another generation means other ids.
	Source     string
	Generation uint64
	// GTID of the transaction as text; if it is empty, File, FileCreated (seconds) and Offset of the transaction's start stand for it.
	GTID        string
	File        string
	FileCreated uint32
	Offset      uint64
	// CommitTime in microseconds of the Unix epoch.
	CommitTime int64
	// Schema and Table, and the row's place among the rows of that table in the transaction.
	Schema, Table string
	TableOrdinal  uint64
	Type          string
	// Move is MoveOut or MoveIn for the delete and the insert of a row's move to another tenant, which have ids of their own; the
	// update has that of any event of the type.
	Move Move `json:",omitzero"`
}

// ID returns "evt_" and 32 characters of base32hex in lower case: 48 bits of commit time in milliseconds, 32 of the ordinal
// and 80 of a SHA-256 over everything else. It is the same for ever.
func (i Identity) ID() string {
	b := i.appendTable(i.appendTransaction(nil))
	return string(appendID(nil, appendRow(b, i.TableOrdinal, i.Type, i.Move), i.CommitTime, i.TableOrdinal))
}

func (i *Identity) appendTransaction(b []byte) []byte {
	b = appendCounted(append(b, idVersion), i.Source)
	b = binary.BigEndian.AppendUint64(b, i.Generation)
	if i.GTID != "" {
		return appendCounted(append(b, byGTID), i.GTID)
	}
	b = appendCounted(append(b, byFile), i.File)
	b = binary.BigEndian.AppendUint32(b, i.FileCreated)
	return binary.BigEndian.AppendUint64(b, i.Offset)
}

func (i *Identity) appendTable(b []byte) []byte {
	return appendCounted(appendCounted(b, i.Schema), i.Table)
}

// appendRow writes the type's name with a suffix for a side of a move; no name of a type has a slash.
func appendRow(b []byte, tableOrdinal uint64, typ string, move Move) []byte {
	b = binary.BigEndian.AppendUint64(b, tableOrdinal)
	suffix := ""
	switch move {
	case MoveOut:
		suffix = "/out"
	case MoveIn:
		suffix = "/in"
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(typ)+len(suffix)))
	return append(append(b, typ...), suffix...)
}

// appendCounted writes the length first, so that no two lists of texts give the same bytes.
func appendCounted(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

func appendID(dst, hashed []byte, commitTime int64, tableOrdinal uint64) []byte {
	sum := sha256.Sum256(hashed)
	var raw [idBytes]byte
	binary.BigEndian.PutUint64(raw[:], uint64(max(commitTime, 0)/1000)<<16)
	binary.BigEndian.PutUint32(raw[6:], uint32(tableOrdinal))
	copy(raw[10:], sum[:10])
	return idEncoding.AppendEncode(append(dst, idPrefix...), raw[:])
}

// ErrNotID is returned for text that is not the id of an event.
var ErrNotID = errors.New("not an event id")

// ParseID returns what an id says of its event: the commit time in milliseconds of the Unix epoch, and the low 32 bits of the
// row's place among the rows of its table in the transaction.
func ParseID(id string) (commitMilliseconds int64, tableOrdinal uint32, err error) {
	text, ok := strings.CutPrefix(id, idPrefix)
	if !ok || len(id) != idLength {
		return 0, 0, fmt.Errorf("%w: %.64q; it looks like %s and 32 of 0-9 and a-v", ErrNotID, id, idPrefix)
	}
	var raw [idBytes]byte
	if _, err := idEncoding.Decode(raw[:], []byte(text)); err != nil {
		return 0, 0, fmt.Errorf("%w: %.64q; it looks like %s and 32 of 0-9 and a-v", ErrNotID, id, idPrefix)
	}
	return int64(binary.BigEndian.Uint64(raw[:]) >> 16), binary.BigEndian.Uint32(raw[6:]), nil
}
