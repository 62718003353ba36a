package mysql

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"

	"github.com/rowhook/rowhook/internal/change"
)

// pieces is a connection whose peer sent b and closed it; reads return at most step bytes.
type pieces struct {
	net.Conn
	b    []byte
	step int
}

func (c *pieces) SetReadDeadline(time.Time) error { return nil }

func (c *pieces) Read(b []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), c.step)], c.b)
	c.b = c.b[n:]
	return n, nil
}

// framed cuts payloads into packets as a server does.
func framed(seq byte, payloads ...[]byte) []byte {
	var out []byte
	for _, p := range payloads {
		for last := false; !last; {
			n := min(len(p), maxPacket)
			last = n < maxPacket
			out = append(out, byte(n), byte(n>>8), byte(n>>16), seq)
			out = append(out, p[:n]...)
			p = p[n:]
			seq++
		}
	}
	return out
}

// seen is events that keeps what it was given.
type seenEvents struct {
	events   [][]byte
	payloads int
	beats    int
}

func (s *seenEvents) connected(bool)  {}
func (s *seenEvents) heard(time.Time) { s.beats++ }
func (s *seenEvents) ended() error    { return nil }
func (s *seenEvents) event(raw []byte) error {
	s.events = append(s.events, bytes.Clone(raw))
	return nil
}

func (s *seenEvents) largePayload(header []byte, body io.Reader) error {
	s.payloads++
	n, err := io.Copy(io.Discard, body)
	if size := int64(binary.LittleEndian.Uint32(header[9:])); err == nil && n != size-headerSize {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// sized is an event of that many bytes, in the packet that carries it.
func sized(kind byte, size int) []byte {
	return append([]byte{packetEvent}, event(kind, bytes.Repeat([]byte{kind, 1, 2}, size/3+1)[:size-headerSize])...)
}

func TestPacketsAreJoined(t *testing.T) {
	t.Parallel()
	var sent [][]byte
	for _, size := range []int{headerSize, 100, packetBuffer - 1, packetBuffer, packetBuffer + 1, maxPacket - 2, maxPacket - 1, maxPacket, maxPacket + 1, 2*maxPacket - 1, 40 << 20, 77} {
		sent = append(sent, sized(evQuery, size))
	}
	for _, step := range []int{1 << 30, 1000} {
		got := &seenEvents{}
		err := receive(newPackets(&pieces{b: framed(250, sent...), step: step}, time.Second, 250), got)
		if !errors.Is(err, io.EOF) {
			t.Fatalf("step %d: %v", step, err)
		}
		if len(got.events) != len(sent) || got.beats == 0 {
			t.Fatalf("step %d: %d events, %d sent", step, len(got.events), len(sent))
		}
		for i := range sent {
			if !bytes.Equal(got.events[i], sent[i][1:]) {
				t.Errorf("step %d: event %d of %d bytes arrived as %d bytes", step, i, len(sent[i])-1, len(got.events[i]))
			}
		}
	}
}

// A payload over the limit is not held, one below is.
func TestLargePayloadsAreStreamed(t *testing.T) {
	t.Parallel()
	got := &seenEvents{}
	sent := framed(1, sized(evTransactionPayload, maxHeldPayload+1), sized(evTransactionPayload, 1<<20), sized(evXID, 27))
	if err := receive(newPackets(&pieces{b: sent, step: 1 << 30}, time.Second, 1), got); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if got.payloads != 1 || len(got.events) != 2 {
		t.Errorf("%d streamed, %d held", got.payloads, len(got.events))
	}
}

func TestPacketsRefuse(t *testing.T) {
	t.Parallel()
	short := sized(evXID, 27)
	short[10]++ // the event says that it is longer
	long := sized(evQuery, 300<<10)
	longer := bytes.Clone(long)
	longer[10]++
	cutPayload := sized(evTransactionPayload, maxHeldPayload+100)
	for _, c := range []struct {
		name, want string
		sent       []byte
	}{
		{"end", "EOF", nil},
		{"end in a header", "unexpected EOF", framed(1, sized(evXID, 27))[:2]},
		{"reset in mid-event", "unexpected EOF", framed(1, sized(evXID, 27))[:20]},
		{"reset in a large event", "unexpected EOF", framed(1, long)[:290<<10]},
		{"reset between the parts of an event", "unexpected EOF", framed(1, sized(evQuery, maxPacket+9))[:maxPacket+4]},
		{"reset in a streamed payload", "unexpected EOF", framed(1, cutPayload)[:maxHeldPayload-100]},
		{"number", "packet number 9 arrived, 1 was due", framed(9, sized(evXID, 27))},
		{"number of a part", "packet number 7", append(framed(1, sized(evQuery, maxPacket+9))[:maxPacket+4], 10, 0, 0, 7)},
		{"empty", "empty packet", framed(1, nil)},
		{"no event", "0x41 is no event", framed(1, []byte("A"))},
		{"no large event", "0x41 is no event", framed(1, bytes.Repeat([]byte("A"), 1<<20))},
		{"longer than its packet", "says that it has", framed(1, short)},
		{"larger than its packets", "says that it has", framed(1, longer)},
		{"the end", "ended the stream", framed(1, []byte{packetEOF, 0, 0, 0, 0})},
		{"an error that is cut off", "cut off", framed(1, []byte{packetError, 1})},
	} {
		err := receive(newPackets(&pieces{b: c.sent, step: 1 << 30}, time.Second, 1), &seenEvents{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", c.name, err, c.want)
		}
	}
	refusal := append([]byte{packetError, 0xd4, 4}, "#HY000purged"...)
	err := receive(newPackets(&pieces{b: framed(1, refusal), step: 3}, time.Second, 1), &seenEvents{})
	var e *mysql.MyError
	if !errors.As(err, &e) || e.Code != errBinlogUnreadable || e.Message != "purged" || e.State != "HY000" {
		t.Errorf("an error of the server: %v", err)
	}
}

// A peer that falls silent without a word is noticed, also within an event.
func TestSilenceEndsTheConnection(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string][]byte{
		"at once": nil, "in a header": framed(1, sized(evXID, 27))[:3], "in an event": framed(1, sized(evXID, 27))[:9],
		"in a large event": framed(1, sized(evQuery, 300<<10))[:280<<10],
	} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer ours.Close()
			if len(sent) > 0 {
				go func() { _, _ = theirs.Write(sent) }()
			}
			began := time.Now()
			err := receive(newPackets(ours, 15*time.Second, 1), &seenEvents{})
			if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "heartbeat") || took != 15*time.Second {
				t.Errorf("%s: %v after %v", name, err, took)
			}
		})
	}
}

// Memory for an event comes with its bytes, not with its promises, and goes when it is not needed any more.
func TestPacketsBoundMemory(t *testing.T) {
	t.Parallel()
	promise := sized(evQuery, packetBuffer+100)
	binary.LittleEndian.PutUint32(promise[10:], 1<<30)
	p := newPackets(&pieces{b: framed(1, promise), step: 1 << 30}, time.Second, 1)
	if err := receive(p, &seenEvents{}); err == nil {
		t.Error("an event that is shorter than it says was taken")
	}
	if cap(p.large) > trusted {
		t.Errorf("%d bytes for an event of %d", cap(p.large), len(promise))
	}
	many := [][]byte{sized(evQuery, 1<<20)}
	for range keepLarge + 1 {
		many = append(many, sized(evXID, 27))
	}
	p = newPackets(&pieces{b: framed(1, many...), step: 1 << 30}, time.Second, 1)
	if err := receive(p, &seenEvents{}); !errors.Is(err, io.EOF) || p.large != nil {
		t.Errorf("%v; %d bytes are kept", err, cap(p.large))
	}
}

func FuzzPackets(f *testing.F) {
	f.Add(framed(1, sized(evXID, 27), sized(evQuery, 3000)), uint16(7))
	f.Add(framed(1, append([]byte{packetError, 0xd4, 4}, "#HY000purged"...)), uint16(1))
	f.Add([]byte{0xff, 0xff, 0xff, 1, 0, 1, 2, 3, 4, evTransactionPayload, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0x3f, 0, 0, 0, 0, 0, 0}, uint16(100))
	f.Add([]byte{0xff, 0xff, 0xff, 1, 0, 1, 2, 3, 4, evQuery, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0x3f, 0, 0, 0, 0, 0, 0}, uint16(100))
	f.Fuzz(func(t *testing.T, sent []byte, step uint16) {
		p := newPackets(&pieces{b: sent, step: max(1, int(step))}, time.Second, 1)
		got := &seenEvents{}
		if err := receive(p, got); err == nil {
			t.Fatal("it ended without a reason")
		}
		total := 0
		for _, e := range got.events {
			total += len(e)
		}
		if total > len(sent) || cap(p.large) > trusted {
			t.Fatalf("%d bytes of events from %d bytes; %d are kept", total, len(sent), cap(p.large))
		}
	})
}

// summed is an event with its checksum.
func summed(kind byte, body []byte) []byte {
	e := event(kind, append(bytes.Clone(body), 0, 0, 0, 0))
	binary.LittleEndian.PutUint32(e[len(e)-checksumSize:], crc32.ChecksumIEEE(e[:len(e)-checksumSize]))
	return e
}

// An event that is not what the server wrote goes nowhere, and the connection is tried again: it may have been damaged on the way.
func TestChecksumsAreVerified(t *testing.T) {
	t.Parallel()
	good := [][]byte{summed(evMariaGTID, mariaGTID(1, 0)), summed(evXID, make([]byte, 8))}
	m := &marks{}
	st := testStream(change.MariaDB, m)
	st.connected(true)
	for _, e := range good {
		if err := st.event(e); err != nil {
			t.Fatal(err)
		}
	}
	for bit := range 8 * len(good[1]) {
		bad := bytes.Clone(good[1])
		bad[bit/8] ^= 1 << (bit % 8)
		if bit/8 == 4 || bit/8 >= 9 && bit/8 < 13 { // its type and length have other checks
			continue
		}
		st := testStream(change.MariaDB, &marks{})
		st.connected(true)
		if err := st.event(good[0]); err != nil {
			t.Fatal(err)
		}
		err := st.event(bad)
		if st, stops := errors.AsType[*StopError](err); err == nil || stops {
			t.Fatalf("bit %d is wrong: %v, %v", bit, err, st)
		}
	}
	if len(m.lines) != 2 {
		t.Errorf("marks %q", m.lines)
	}
}

// A payload that is decoded as it arrives is committed only if its checksum is right.
func TestStreamedPayloadIsCommittedAfterItsChecksum(t *testing.T) {
	t.Parallel()
	payload := summed(evTransactionPayload, payloadBody(t, event(evQuery, queryBody("app", "BEGIN")), event(evXID, make([]byte, 8))))
	gtid := summed(evGTID, append(append([]byte{0}, make([]byte, 15)...), 1, 7, 0, 0, 0, 0, 0, 0, 0))
	feed := func(payload []byte) (*marks, error) {
		m := &marks{}
		st := testStream(change.MySQL, m)
		st.connected(true)
		if err := st.event(gtid); err != nil {
			t.Fatal(err)
		}
		return m, st.largePayload(payload[:headerSize], bytes.NewReader(payload[headerSize:]))
	}
	if m, err := feed(payload); err != nil || len(m.lines) != 2 {
		t.Errorf("%v; marks %q", err, m.lines)
	}
	damaged := bytes.Clone(payload)
	damaged[len(damaged)-1] ^= 1
	if m, err := feed(damaged); err == nil || !strings.Contains(err.Error(), "checksum") || len(m.lines) != 0 {
		t.Errorf("damaged: %v; marks %q", err, m.lines)
	}
	for cut := headerSize; cut < len(payload); cut++ {
		if m, err := feed(payload[:cut]); err == nil || len(m.lines) != 0 {
			t.Errorf("%d of %d bytes: %v; marks %q", cut, len(payload), err, m.lines)
		}
	}
}
