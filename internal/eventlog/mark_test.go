package eventlog

import (
	"bytes"
	"testing"

	"github.com/rowhook/rowhook/internal/change"
)

// The header is frozen: every later release reads it.
func TestMarkVector(t *testing.T) {
	t.Parallel()
	const text = "1 4711 12 2/3 8391 5f3a9c0e11d2b847"
	want := mark{firstSeq: 4711, changes: 12, part: 2, parts: 3, bytes: 8391, writer: "5f3a9c0e11d2b847"}
	if got, err := parseMark(text); err != nil || got != want || got.String() != text {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, bad := range []string{
		"", "1", "2 4711 12 2/3 8391 5f3a9c0e11d2b847", "1 0 12 2/3 8391 5f3a9c0e11d2b847", "1 4711 12 0/3 8391 5f3a9c0e11d2b847",
		"1 4711 12 4/3 8391 5f3a9c0e11d2b847", "1 4711 12 3 8391 5f3a9c0e11d2b847", "1 4711 4294967296 2/3 8391 5f3a9c0e11d2b847",
		"1 18446744073709551615 12 2/3 8391 5f3a9c0e11d2b847", "1 4711 12 2/3 8391 5f3a", "1 +4711 12 2/3 8391 5f3a9c0e11d2b847",
	} {
		if m, err := parseMark(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, m)
		}
	}
}

// So are the other two.
func TestHeaderVectors(t *testing.T) {
	t.Parallel()
	if got, err := parseAppended("1769866620123456"); err != nil || got != 1769866620123456 {
		t.Errorf("%d, %v", got, err)
	}
	if got, err := parseSeal("17"); err != nil || got != 17 {
		t.Errorf("%d, %v", got, err)
	}
	if sealHeader != "Rowhook-Seal" || appendedHeader != "Rowhook-Appended" || markHeader != "Rowhook-Block" {
		t.Error("the names of the headers are not what they were")
	}
	for _, bad := range []string{"0", "-1", "+1", "01", " 1", "x", "9223372036854775808"} {
		if got, err := parseAppended(bad); err == nil {
			t.Errorf("%q was read as %d", bad, got)
		}
	}
}

func FuzzMark(f *testing.F) {
	f.Add("1 4711 12 2/3 8391 5f3a9c0e11d2b847")
	f.Add("1 1 0 1/1 0 0000000000000000")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := parseMark(s)
		if err != nil {
			return
		}
		if m.String() != s || m.part == 0 || m.part > m.parts || m.firstSeq == 0 {
			t.Fatalf("%q was read as %+v", s, m)
		}
	})
}

func FuzzCut(f *testing.F) {
	f.Add([]byte("0123456789"), 3)
	f.Add([]byte{}, 1)
	f.Fuzz(func(t *testing.T, b []byte, limit int) {
		if limit < 1 {
			return
		}
		limit = min(limit, 1<<20)
		marks, parts := cut(b, change.Header{FirstSeq: 1}, "0000000000000000", limit)
		if !bytes.Equal(bytes.Join(parts, nil), b) || len(marks) != len(parts) {
			t.Fatal("the parts are not the block")
		}
		for i := range marks {
			if i > 0 && !marks[i-1].precedes(marks[i]) || len(parts[i]) > limit {
				t.Fatalf("part %d of %d does not follow", i+1, len(marks))
			}
		}
	})
}

func TestPoints(t *testing.T) {
	t.Parallel()
	var p points
	for i := range uint64(100_000) {
		p.addSparse(i+1, (i+1)*10)
	}
	if len(p.sorted) > maxPoints {
		t.Fatalf("%d points", len(p.sorted))
	}
	for seq := uint64(10); seq < 1_000_000; seq += 997 {
		// The first message whose nextSeq is beyond seq.
		want := seq/10 + 1
		lo, hi := p.narrow(1, 100_000, seq)
		if lo > want || hi < want || hi-lo > 256 {
			t.Fatalf("seq %d: [%d, %d], the message is %d", seq, lo, hi, want)
		}
	}
}
