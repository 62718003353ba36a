package event

import (
	"encoding/binary"
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/rowhook/rowhook/internal/change"
)

// Order keys are hashed with XXH64 over the source, the table and the key's values. Types take no part, so that the events of
// different types about one row stay in order. The hash is stored with exceptions: its rule is frozen by test vectors. Two keys
// that share a hash only wait for each other.

// Classes of values in a key; integers have one class each for what fits int64, because the type of a column may change.
const (
	classNull   = 0
	classInt    = 1
	classUint   = 2
	classDouble = 3
	classBytes  = 4
)

func appendKeyTable(b []byte, source, schema, table string) []byte {
	return appendCounted(appendCounted(appendCounted(b, source), schema), table)
}

// appendKey appends the values of the key; it returns the index of a column that the image did not carry, or -1.
func appendKey(b []byte, row []change.Value, key []int) ([]byte, int) {
	for _, i := range key {
		if row[i].State == change.Absent {
			return b, i
		}
		b = appendKeyValue(b, row[i])
	}
	return b, -1
}

func appendKeyValue(b []byte, v change.Value) []byte {
	if v.State == change.Null {
		return append(b, classNull)
	}
	switch v.Kind {
	case change.Int:
		return binary.BigEndian.AppendUint64(append(b, classInt), uint64(v.Int()))
	case change.Uint:
		class := byte(classInt)
		if v.Uint() > math.MaxInt64 {
			class = classUint
		}
		return binary.BigEndian.AppendUint64(append(b, class), v.Uint())
	case change.Float:
		return binary.BigEndian.AppendUint64(append(b, classDouble), math.Float64bits(float64(v.Float())))
	case change.Double:
		return binary.BigEndian.AppendUint64(append(b, classDouble), math.Float64bits(v.Double()))
	default:
		b = binary.BigEndian.AppendUint32(append(b, classBytes), uint32(len(v.Bytes())))
		return append(b, v.Bytes()...)
	}
}

// hashKey never returns 0, which stands for "no other key".
func hashKey(b []byte) uint64 { return max(xxhash.Sum64(b), 1) }
