package eventlog

import (
	"strings"
	"testing"
)

// segmentBytes makes the segments of a test small if TestSegments runs it.
func segmentBytes(tb testing.TB) int64 {
	switch {
	case strings.HasPrefix(tb.Name(), "TestSegments/small/"):
		return 64 << 10
	case strings.HasPrefix(tb.Name(), "TestSegments/single/"):
		return 1
	}
	return defaultSegmentBytes
}

// What holds for a log of one segment holds for one of many, and of one for each block.
func TestSegments(t *testing.T) {
	t.Parallel()
	for _, size := range []string{"small", "single"} {
		t.Run(size, func(t *testing.T) {
			for name, test := range map[string]func(*testing.T){
				"Reopen": TestReopen, "Fence": TestFence, "RacingWriters": TestRacingWriters, "BadAppends": TestBadAppends,
				"UnknownOutcome": TestUnknownOutcome, "Parts": TestParts, "PartsResumed": TestPartsResumed, "Readers": TestReaders,
				"ReaderStops": TestReaderStops, "Expired": TestExpired, "Kill": TestKill, "DiskFull": TestDiskFull,
			} {
				t.Run(name, test)
			}
		})
	}
}

// Names and descriptions are frozen: every later release finds the segments by them.
func TestSegmentVector(t *testing.T) {
	t.Parallel()
	st := &stream{srv: &Server{}, source: "a_00000001", id: "0123456789abcdef"}
	g := newSegment(st.source, 12, 4711, 42)
	if g.name != "log_a_00000001_00000012" || g.subject != "log.a_00000001.00000012" {
		t.Fatalf("%+v", g)
	}
	c := g.config(st)
	if got, err := parseSegment(st.source, c); err != nil || got != g || c.FirstSeq != 4712 || c.Metadata[firstKey] != "42" {
		t.Fatalf("%+v, %v, %+v", got, err, c)
	}
	if s, ok := sourceOf(g.name); !ok || s != st.source {
		t.Fatalf("source %q", s)
	}
	for _, name := range []string{"", "log_", "log_a", "log__00000001", "log_a_0000001", "log_a_0000000x", "a_00000001", "log_00000001"} {
		if s, ok := sourceOf(name); ok {
			t.Errorf("%q is a segment of %q", name, s)
		}
	}
	for key, bad := range map[string]string{numberKey: "13", firstKey: "x"} {
		c := g.config(st)
		c.Metadata[key] = bad
		if _, err := parseSegment(st.source, c); err == nil {
			t.Errorf("%s %q was taken", key, bad)
		}
	}
	for s, want := range map[string]uint64{"": 0, "2": 2, "12": 12} {
		if n, err := parseSeal(s); err != nil || n != want {
			t.Errorf("seal %q: %d %v", s, n, err)
		}
	}
	for _, s := range []string{"0", "1", "+2", "02", "x"} {
		if n, err := parseSeal(s); err == nil {
			t.Errorf("seal %q: %d", s, n)
		}
	}
}

// Segments may be deleted, messages may not.
func TestProtected(t *testing.T) {
	t.Parallel()
	s := open(t, options(t))
	l := openLog(t, s)
	appendBlock(t, l, 1, 1, 1, 10)
	js, err := s.engine.js.Stream(t.Context(), l.st.segs[0].name)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteMsg(t.Context(), 1); err == nil {
		t.Errorf("delete a message: %v", err)
	}
	if err := js.Purge(t.Context()); err == nil {
		t.Errorf("purge: %v", err)
	}
	next(t, l.NewReader(1))
}
