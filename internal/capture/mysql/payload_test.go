package mysql

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
)

// passing is a Feed that has every row already.
type passing struct {
	marks
	rows int
}

func (p *passing) BeginRows(change.Op, *change.Table) (*change.Builder, uint64, error) {
	return nil, math.MaxUint64, nil
}

func (p *passing) Dropped() error { p.rows++; return nil }

// hugePayload is a compressed transaction of n copies of the recorded rows event.
func hugePayload(t *testing.T, n int) []byte {
	t.Helper()
	tableMap, rows := recordedEvents(t, dbserver.MySQL)
	body := bytes.NewBuffer([]byte{2, 1, payloadZstd, 0})
	z, err := zstd.NewWriter(body, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	write := func(e []byte) {
		if _, err := z.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	write(event(evQuery, queryBody("app", "BEGIN")))
	e := event(eventUpdateRowsV2, rows)
	write(event(evTableMap, tableMap))
	for range n {
		write(e)
	}
	write(event(evXID, make([]byte, 8)))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return summed(evTransactionPayload, body.Bytes())
}

// A compressed transaction of 200 MB is decoded in the memory of a few events, held or streamed, and again for the next one. It does
// not run beside other tests, whose memory it would count.
func TestPayloadsAreNotInflatedWhole(t *testing.T) {
	const copies, most = 25_000, 24 << 20
	payload := hugePayload(t, copies)
	gtid := summed(evGTID, binary.LittleEndian.AppendUint64(make([]byte, 17), 7))
	feed := &passing{}
	st := testStream(change.MySQL, feed)
	st.connected(true)
	for _, c := range []struct {
		name string
		feed func() error
	}{
		{"held", func() error { return st.event(payload) }},
		{"streamed", func() error { return st.largePayload(payload[:headerSize], bytes.NewReader(payload[headerSize:])) }},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		feed.rows, feed.lines = 0, nil
		if err := st.event(gtid); err != nil {
			t.Fatal(err)
		}
		if err := c.feed(); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > most {
			t.Errorf("%s: %d bytes were allocated, and more than %d are too many", c.name, got, most)
		}
		if len(feed.lines) != 2 || feed.rows < 2*copies {
			t.Errorf("%s: marks %q, %d rows", c.name, feed.lines, feed.rows)
		}
	}
	if sum := crc32.ChecksumIEEE(payload[:len(payload)-checksumSize]); sum != binary.LittleEndian.Uint32(payload[len(payload)-checksumSize:]) {
		t.Error("the payload was written to")
	}
}
