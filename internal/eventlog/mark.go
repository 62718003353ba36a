package eventlog

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rowhook/rowhook/internal/change"
)

const (
	// markHeader is the header of every message of a log.
	markHeader = "Rowhook-Block"
	// sealHeader is that of a segment's last message: the number of the segment that follows. Its mark is of no changes and no
	// bytes, and says with which seq the log goes on.
	sealHeader = "Rowhook-Seal"
	// appendedHeader is that of the messages of an imported block: when it was appended first, in microseconds of the Unix epoch.
	appendedHeader = "Rowhook-Appended"
)

const markVersion = 1

// mark says which block a message carries, and which part of it. As text it is
//
//	version first-seq changes part/parts bytes writer
//
// and frozen: "1 4711 12 1/1 8391 5f3a9c0e11d2b847".
type mark struct {
	firstSeq uint64
	changes  uint32
	// part counts from 1; bytes is the size of the whole block.
	part, parts uint32
	bytes       uint64
	// writer is a random name of the one that appended, by which it knows its own messages.
	writer string
	// seal is the number in the header of a seal, 0 in a block's mark; appended is the time in the header of an imported block, else 0.
	// They have no place in the text.
	seal     uint64
	appended int64
}

func (m mark) String() string {
	return fmt.Sprintf("%d %d %d %d/%d %d %s", markVersion, m.firstSeq, m.changes, m.part, m.parts, m.bytes, m.writer)
}

// precedes says whether n is the part of the same block that comes right after m.
func (m mark) precedes(n mark) bool {
	n.part--
	return m == n
}

func (m mark) nextSeq() uint64 { return m.firstSeq + uint64(m.changes) }

func parseMark(s string) (mark, error) {
	bad := func() (mark, error) { return mark{}, fmt.Errorf("bad %s header %q", markHeader, s) }
	f := strings.Split(s, " ")
	if len(f) != 6 || len(f[5]) != writerLen {
		return bad()
	}
	if f[0] != strconv.Itoa(markVersion) {
		return mark{}, fmt.Errorf("version %.10q of the %s header, this release reads %d", f[0], markHeader, markVersion)
	}
	part, parts, ok := strings.Cut(f[3], "/")
	if !ok {
		return bad()
	}
	m := mark{writer: f[5]}
	var n [5]uint64
	for i, t := range []struct {
		text string
		bits int
	}{{f[1], 64}, {f[2], 32}, {part, 32}, {parts, 32}, {f[4], 64}} {
		v, err := strconv.ParseUint(t.text, 10, t.bits)
		if err != nil || strconv.FormatUint(v, 10) != t.text {
			return bad()
		}
		n[i] = v
	}
	m.firstSeq, m.changes, m.part, m.parts, m.bytes = n[0], uint32(n[1]), uint32(n[2]), uint32(n[3]), n[4]
	if m.firstSeq == 0 || m.nextSeq() < m.firstSeq || m.part == 0 || m.part > m.parts {
		return bad()
	}
	return m, nil
}

// parseSeal reads the header of a seal; a message without one is none.
func parseSeal(s string) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n < 2 || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("bad %s header %q", sealHeader, s)
	}
	return n, nil
}

// parseAppended reads the header of an imported block; a message without one was appended when the server says.
func parseAppended(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	us, err := strconv.ParseInt(s, 10, 64)
	if err != nil || us <= 0 || strconv.FormatInt(us, 10) != s {
		return 0, fmt.Errorf("bad %s header %q", appendedHeader, s)
	}
	return us, nil
}

// cut returns the marks and the parts of a block; the parts alias it.
func cut(block []byte, h change.Header, writer string, limit int) ([]mark, [][]byte) {
	parts := max(1, (len(block)+limit-1)/limit)
	marks, pieces := make([]mark, parts), make([][]byte, parts)
	for i := range parts {
		marks[i] = mark{firstSeq: h.FirstSeq, changes: h.Changes, part: uint32(i + 1), parts: uint32(parts), bytes: uint64(len(block)), writer: writer}
		pieces[i] = block[i*limit : min(len(block), (i+1)*limit)]
	}
	return marks, pieces
}
