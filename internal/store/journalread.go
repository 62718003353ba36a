package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strings"

	"github.com/rowhook/rowhook/internal/deliver"
)

// A segment is its header and records after it. A record is its mark, the length of the send and a CRC-32C of length and send, both
// little-endian, and the send. The mark is what a reader looks for behind damage.
const (
	segmentMagic  = "rowhook sends "
	segmentHeader = segmentMagic + "1\n"
	recordMark    = "\xf5\xe7SD"
	recordHeader  = len(recordMark) + 8
)

// recoverBatch is how many recovered sends are in memory at once.
const recoverBatch = 1000

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendRecord(b []byte, send *deliver.Send) ([]byte, error) {
	at := len(b)
	b = append(b, recordMark...)
	b = append(b, make([]byte, 8)...)
	b = deliver.AppendSend(b, send)
	n := len(b) - at - recordHeader
	if n > maxSendBytes {
		return b, fmt.Errorf("the send of event %s to endpoint %.100s takes %d bytes, %d are allowed", send.EventID, send.Endpoint, n, maxSendBytes)
	}
	head := b[at+len(recordMark):]
	binary.LittleEndian.PutUint32(head, uint32(n))
	binary.LittleEndian.PutUint32(head[4:], recordSum(head))
	return b, nil
}

// recordSum returns the sum of a record whose length begins head. The sum's own place is left out.
func recordSum(head []byte) uint32 {
	return crc32.Update(crc32.Checksum(head[:4], castagnoli), castagnoli, head[8:])
}

// Recovery says what was found of earlier processes.
type Recovery struct {
	Sends int
	// TornBytes is the length of ends that were being written when the process died. Their requests had not left.
	TornBytes int64
	// Damaged are places that hold no send, with sends after them. What stood there is not known.
	Damaged []Damage
}

// Damage is a damaged place in a segment of the journal.
type Damage struct {
	File          string
	Offset, Bytes int64
}

// Recover calls f with every send that earlier processes may have made without recording its result, in the order they were
// written, at most a thousand at a time in a slice that is used again. Most have an attempt in the store: MissingAttempts keeps the others.
// Calling it again gives the same until Forget.
func (j *Journal) Recover(f func([]deliver.Send) error) (Recovery, error) {
	j.mu.Lock()
	old := j.old
	j.mu.Unlock()
	var r Recovery
	batch := make([]deliver.Send, 0, recoverBatch)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		r.Sends += len(batch)
		err := f(batch)
		batch = batch[:0]
		return err
	}
	for _, path := range old {
		b, err := os.ReadFile(path)
		if err != nil {
			return r, fmt.Errorf("read the send journal: %w", classify(path, err))
		}
		torn, damaged, err := readSegment(b, func(s deliver.Send) error {
			if batch = append(batch, s); len(batch) == recoverBatch {
				return flush()
			}
			return nil
		})
		if err != nil {
			return r, fmt.Errorf("read the send journal %s: %w", path, err)
		}
		r.TornBytes += torn
		for _, d := range damaged {
			d.File = path
			r.Damaged = append(r.Damaged, d)
		}
	}
	if err := flush(); err != nil {
		return r, fmt.Errorf("recover sends: %w", err)
	}
	return r, nil
}

// readSegment calls f for each send. Bytes that are no record are skipped up to the next record: with one behind them they are
// damage, at the end of the segment they are a torn write. A segment or a send of another version is an error.
func readSegment(b []byte, f func(deliver.Send) error) (torn int64, damaged []Damage, err error) {
	at, err := checkHeader(b)
	if err != nil {
		return 0, nil, err
	}
	bad := -1 // where the bytes that are no record begin
	if at == 0 {
		bad = 0
	}
	for at < len(b) {
		send, n, err := readRecord(b[at:])
		if errors.Is(err, deliver.ErrVersion) {
			return 0, nil, fmt.Errorf("offset %d: %w", at, err)
		}
		if err != nil {
			if bad < 0 {
				bad = at
			}
			next := bytes.Index(b[at+1:], []byte(recordMark))
			if next < 0 {
				break
			}
			at += 1 + next
			continue
		}
		if bad >= 0 {
			damaged = append(damaged, Damage{Offset: int64(bad), Bytes: int64(at - bad)})
			bad = -1
		}
		if err := f(send); err != nil {
			return 0, nil, err
		}
		at += n
	}
	if bad >= 0 {
		torn = int64(len(b) - bad)
	}
	return torn, damaged, nil
}

// checkHeader returns where the records begin: 0 if the header is damaged or torn.
func checkHeader(b []byte) (int, error) {
	if bytes.HasPrefix(b, []byte(segmentHeader)) {
		return len(segmentHeader), nil
	}
	rest, ok := bytes.CutPrefix(b, []byte(segmentMagic))
	if version, _, whole := strings.Cut(string(rest[:min(len(rest), 8)]), "\n"); ok && whole && isNumber(version) {
		return 0, fmt.Errorf("%w: the segment has version %s, this release reads 1: use the release that wrote it, or a newer one",
			deliver.ErrVersion, version)
	}
	return 0, nil
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

var errNoRecord = errors.New("no record")

// readRecord reads the record at the beginning of b and returns its length.
func readRecord(b []byte) (deliver.Send, int, error) {
	if len(b) < recordHeader || string(b[:len(recordMark)]) != recordMark {
		return deliver.Send{}, 0, errNoRecord
	}
	head := b[len(recordMark):]
	n := binary.LittleEndian.Uint32(head)
	if n > maxSendBytes || int(n) > len(head)-8 {
		return deliver.Send{}, 0, errNoRecord
	}
	head = head[:8+n]
	if binary.LittleEndian.Uint32(head[4:]) != recordSum(head) {
		return deliver.Send{}, 0, errNoRecord
	}
	send, err := deliver.UnmarshalSend(head[8:])
	return send, recordHeader + int(n), err
}
