package mysql

import (
	"encoding/binary"
	"math/bits"

	"github.com/rowhook/rowhook/internal/change"
)

// Types of binlog events.
const (
	evQuery              = 2
	evStop               = 3
	evRotate             = 4
	evFormatDescription  = 15
	evXID                = 16
	evExecuteLoad        = 18
	evTableMap           = 19
	evWriteRowsV1        = 23
	evDeleteRowsV1       = 25
	evIncident           = 26
	evHeartbeat          = 27
	evWriteRows          = 30
	evDeleteRows         = 32
	evGTID               = 33
	evAnonymousGTID      = 34
	evXAPrepare          = 38
	evPartialUpdateRows  = 39
	evTransactionPayload = 40
	evHeartbeatV2        = 41
	evGTIDTagged         = 42
	evMariaGTID          = 162
	evMariaQueryZip      = 165
	evMariaWriteRowsZip  = 166
	evMariaDeleteRowsZip = 168
)

// harmless reports event types that carry no change and no end of a transaction.
func harmless(t byte) bool {
	switch t {
	case 0, evStop, // unknown (a placeholder)
		5, 13, 14, // variables of a statement; the statement itself is what matters
		9, 17, // blocks of a LOAD DATA statement; its end (18) is what matters
		28, 29, 35, 36, 37, // ignorable, query text, previous GTIDs, group replication
		160, 161, 163, 164: // query text, checkpoint, GTID list, start of encryption (the server sends plain events)
		return true
	}
	return false
}

// isRows reports the types that a Decoder takes.
func isRows(t byte) bool {
	return t >= evWriteRowsV1 && t <= evDeleteRowsV1 || t >= evWriteRows && t <= evDeleteRows || t == evPartialUpdateRows ||
		t >= evMariaWriteRowsZip && t <= evMariaDeleteRowsZip
}

const (
	headerSize   = 19
	checksumSize = 4

	flagArtificial = 0x20 // made for this connection, not in the file
	flagIgnorable  = 0x80
)

// eventHeader begins every event.
type eventHeader struct {
	timestamp uint32 // seconds of the Unix epoch
	kind      byte
	serverID  uint32
	size      uint32
	logPos    uint32 // end of the event in the file, modulo 2^32; 0 if the server does not say
	flags     uint16
}

func parseHeader(b []byte) (eventHeader, error) {
	if len(b) < headerSize {
		return eventHeader{}, malformedEvent("event of %d bytes", len(b))
	}
	h := eventHeader{
		timestamp: binary.LittleEndian.Uint32(b),
		kind:      b[4],
		serverID:  binary.LittleEndian.Uint32(b[5:]),
		size:      binary.LittleEndian.Uint32(b[9:]),
		logPos:    binary.LittleEndian.Uint32(b[13:]),
		flags:     binary.LittleEndian.Uint16(b[17:]),
	}
	if h.size < headerSize {
		return h, malformedEvent("event of type %d says that it has %d bytes", h.kind, h.size)
	}
	return h, nil
}

// endOffset is where an event ends that begins at or after the offset before: the server says it modulo 2^32 only, or not at all.
func endOffset(before uint64, h eventHeader) uint64 {
	guess := before + uint64(h.size)
	if h.logPos == 0 {
		return guess
	}
	end := guess&^0xffffffff | uint64(h.logPos)
	switch {
	case end+1<<31 < guess:
		end += 1 << 32
	case end > guess+1<<31 && end >= 1<<32:
		end -= 1 << 32
	}
	return end
}

// parseFormat returns whether the events that follow end in a checksum. The event itself always has room for one.
func parseFormat(body []byte) (checksummed bool, err error) {
	const fixed = 2 + 50 + 4 + 1
	if len(body) < fixed+1+checksumSize {
		return false, malformedEvent("FORMAT_DESCRIPTION of %d bytes", len(body))
	}
	switch alg := body[len(body)-checksumSize-1]; alg {
	case 0, 255:
		return false, nil
	case 1:
		return true, nil
	default:
		return false, malformedEvent("checksum algorithm %d is unknown", alg)
	}
}

func parseRotate(body []byte) (file string, pos uint64, err error) {
	if len(body) < 9 {
		return "", 0, malformedEvent("ROTATE of %d bytes", len(body))
	}
	return string(body[8:]), binary.LittleEndian.Uint64(body), nil
}

// gtidEvent begins a transaction.
type gtidEvent struct {
	gtid change.GTID
	// commitTime at the first server, in microseconds; 0 if the event does not say.
	commitTime int64
	// standalone: one statement follows, and no COMMIT. Only MariaDB says so.
	standalone bool
	prepared   bool // what follows is the first half of an XA transaction. Only MariaDB says so.
}

func parseGTID(body []byte) (gtidEvent, error) {
	const fixed, logical, timestamp = 1 + 16 + 8, 1 + 8 + 8, 7
	if len(body) < fixed {
		return gtidEvent{}, malformedEvent("GTID of %d bytes", len(body))
	}
	e := gtidEvent{gtid: change.GTID{Flavor: change.MySQL, UUID: [16]byte(body[1:17]), N: binary.LittleEndian.Uint64(body[17:])}}
	// Servers before 5.7 and 8.0 end earlier.
	if rest := body[fixed:]; len(rest) >= logical+timestamp && rest[0] == 2 {
		const hasOriginal = 1 << 55
		rest = rest[logical:]
		t := littleEndian(rest[:timestamp])
		if t&hasOriginal != 0 {
			if len(rest) < 2*timestamp {
				return e, malformedEvent("GTID of %d bytes lacks its original commit time", len(body))
			}
			t = littleEndian(rest[timestamp : 2*timestamp])
		}
		e.commitTime = int64(t)
	}
	return e, nil
}

// parseMariaGTID reads a MariaDB GTID; its server is the one in the event's header.
func parseMariaGTID(h eventHeader, body []byte) (gtidEvent, error) {
	const standalone, preparedXA = 1, 64
	if len(body) < 13 {
		return gtidEvent{}, malformedEvent("GTID of %d bytes", len(body))
	}
	g := change.GTID{
		Flavor: change.MariaDB, N: binary.LittleEndian.Uint64(body), Domain: binary.LittleEndian.Uint32(body[8:]), Server: h.serverID,
	}
	return gtidEvent{gtid: g, standalone: body[12]&standalone != 0, prepared: body[12]&preparedXA != 0}, nil
}

// Fields of a tagged GTID event.
const (
	tagUUID            = 1
	tagNumber          = 2
	tagTag             = 3
	tagSequence        = 5
	tagImmediateTime   = 6
	tagOriginalTime    = 7
	maxTagLength       = 32
	tagHighestWeNeeded = tagOriginalTime
)

// parseTaggedGTID reads the self-describing format of GTID_TAGGED: version, size, last field that must be known, then numbered fields
// in ascending order.
func parseTaggedGTID(body []byte) (gtidEvent, error) {
	r := varReader{b: body}
	r.uint() // version
	r.uint() // size
	r.uint() // last field that must not be ignored
	e := gtidEvent{gtid: change.GTID{Flavor: change.MySQL}}
	for len(r.b) > 0 && !r.failed {
		id := r.uint()
		if id > tagHighestWeNeeded {
			break
		}
		switch id {
		case tagUUID:
			for i := range e.gtid.UUID {
				e.gtid.UUID[i] = byte(r.uint())
			}
		case tagNumber:
			e.gtid.N = uint64(r.int())
		case tagTag:
			e.gtid.Tag = r.text(maxTagLength)
		case tagImmediateTime, tagOriginalTime:
			e.commitTime = int64(r.uint())
		default: // flags, last committed, sequence number
			r.int()
		}
	}
	if r.failed || e.gtid.N == 0 || int64(e.gtid.N) < 0 {
		return gtidEvent{}, malformedEvent("GTID_TAGGED of %d bytes", len(body))
	}
	return e, nil
}

// varReader reads MySQL's variable-length integers: the count of trailing one bits in the first byte says how many bytes follow.
type varReader struct {
	b      []byte
	failed bool
}

func (r *varReader) uint() uint64 {
	if len(r.b) == 0 {
		r.failed = true
		return 0
	}
	n := bits.TrailingZeros8(^r.b[0]) + 1
	if len(r.b) < n {
		r.failed, r.b = true, nil
		return 0
	}
	var v uint64
	if n == 9 { // the first byte is all ones, and none of the value
		v = littleEndian(r.b[1:9])
	} else {
		v = littleEndian(r.b[:n]) >> n
	}
	r.b = r.b[n:]
	return v
}

// int reads the signed form, whose lowest bit is the sign.
func (r *varReader) int() int64 {
	v := r.uint()
	if v&1 != 0 {
		return -1 - int64(v>>1)
	}
	return int64(v >> 1)
}

func (r *varReader) text(limit uint64) string {
	n := r.uint()
	if r.failed || n > limit || n > uint64(len(r.b)) {
		r.failed, r.b = true, nil
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

// parseQuery returns the default schema and the text of a statement.
func parseQuery(body []byte) (schema string, text []byte, err error) {
	name, text, err := queryParts(body)
	return string(name), text, err
}

func queryParts(body []byte) (schema, text []byte, err error) {
	const fixed = 4 + 4 + 1 + 2 + 2
	if len(body) < fixed {
		return nil, nil, malformedEvent("QUERY of %d bytes", len(body))
	}
	schemaLen := int(body[8])
	at := fixed + int(binary.LittleEndian.Uint16(body[11:]))
	if len(body) < at+schemaLen+1 {
		return nil, nil, malformedEvent("QUERY of %d bytes is cut off", len(body))
	}
	return body[at : at+schemaLen], body[at+schemaLen+1:], nil
}
