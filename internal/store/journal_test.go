package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/deliver"
)

func send(n int) deliver.Send {
	return deliver.Send{Source: testSource, Endpoint: testEndpoint, Seq: uint64(n), Type: "rental.updated", EventID: eventID(n),
		Epoch: 3, Attempt: 1, TimeUS: 1_790_000_000_000_000 + int64(n)}
}

func openJournal(t testing.TB, dir string) *Journal {
	t.Helper()
	j, err := OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func appendSends(t testing.TB, j *Journal, sends ...deliver.Send) uint64 {
	t.Helper()
	mark, err := j.Append(sends...)
	if err != nil {
		t.Fatal(err)
	}
	return mark
}

func recovered(t *testing.T, j *Journal) ([]deliver.Send, Recovery) {
	t.Helper()
	var out []deliver.Send
	r, err := j.Recover(func(sends []deliver.Send) error {
		out = append(out, sends...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Sends != len(out) {
		t.Errorf("%d sends, the report says %d", len(out), r.Sends)
	}
	return out, r
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestJournalRecovers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// A file that looks a little like a segment is none of ours.
	if err := os.WriteFile(filepath.Join(dir, "sends-1.journal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	j := openJournal(t, dir)
	appendSends(t, j, send(1), send(2))
	appendSends(t, j, send(3))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	want := []deliver.Send{send(1), send(2), send(3)}
	for range 2 { // it may crash before it has dealt with them
		j = openJournal(t, dir)
		got, r := recovered(t, j)
		if d := cmp.Diff(want, got); d != "" || r.TornBytes != 0 || r.Damaged != nil {
			t.Error(r, d)
		}
		want = append(want, send(10+len(want)))
		appendSends(t, j, want[len(want)-1])
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	j = openJournal(t, dir)
	mark := appendSends(t, j, send(99))
	if err := j.Forget(); err != nil {
		t.Fatal(err)
	}
	if got, _ := recovered(t, j); len(got) != 0 {
		t.Error("not forgotten", got)
	}
	if err := j.Settle(mark, 1); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if files := segments(t, dir); len(files) != 1 {
		t.Errorf("a settled journal leaves %v", files)
	}
	if _, err := j.Append(send(1)); err == nil {
		t.Error("appended to a closed journal")
	}
}

func TestJournalKeepsOnlyUnsettledSegments(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := openJournal(t, dir)
	// The first send hangs; the others are settled at once, over several segments.
	hanging := appendSends(t, j, send(0))
	last, n := hanging, 0
	for last < hanging+4 {
		n++
		last = appendSends(t, j, send(n))
		if err := j.Settle(last, 1); err != nil {
			t.Fatal(err)
		}
	}
	if files := segments(t, dir); len(files) != 2 {
		t.Errorf("after %d sends: %v", n, files)
	}
	if j.bytes > 2*segmentBytes {
		t.Errorf("%d bytes", j.bytes)
	}
	if err := j.Settle(hanging, 1); err != nil {
		t.Fatal(err)
	}
	if files := segments(t, dir); len(files) != 1 {
		t.Errorf("after all are settled: %v", files)
	}
	for _, err := range []error{j.Settle(hanging, 1), j.Settle(last, 1), j.Settle(last, -1), j.Settle(last+7, 0)} {
		if err == nil {
			t.Error("settled more than was sent")
		}
	}
}

func TestJournalIsBounded(t *testing.T) {
	t.Parallel()
	j := openJournal(t, t.TempDir())
	j.limit = 1000
	var marks []uint64
	var err error
	for err == nil {
		var mark uint64
		if mark, err = j.Append(send(1)); err == nil {
			marks = append(marks, mark)
		}
	}
	if !errors.Is(err, ErrFull) || len(marks) < 5 || j.bytes > 1000 {
		t.Fatalf("%d sends, %d bytes: %v", len(marks), j.bytes, err)
	}
	if _, err := j.Append(deliver.Send{Endpoint: strings.Repeat("x", maxSendBytes)}); err == nil {
		t.Error("appended a send that cannot be read back")
	}
}

func TestJournalConcurrently(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := openJournal(t, dir)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 400 {
				mark, err := j.Append(send(1000*w+2*i), send(1000*w+2*i+1))
				if err == nil && i%4 != 0 {
					err = j.Settle(mark, 2)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	got, r := recovered(t, openJournal(t, dir))
	if r.TornBytes != 0 || r.Damaged != nil {
		t.Error(r)
	}
	seen := map[uint64]int{}
	for _, s := range got {
		seen[s.Seq]++
	}
	for w := range 8 {
		for i := range 400 {
			if seq := uint64(1000*w + 2*i); i%4 == 0 && (seen[seq] != 1 || seen[seq+1] != 1) {
				t.Errorf("send %d was recovered %d times", seq, seen[seq])
			}
		}
	}
}

// segmentOf returns a segment with n sends and where each record begins.
func segmentOf(t testing.TB, n int) (b []byte, at []int) {
	t.Helper()
	b = []byte(segmentHeader)
	for i := range n {
		at = append(at, len(b))
		var err error
		s := send(i)
		if b, err = appendRecord(b, &s); err != nil {
			t.Fatal(err)
		}
	}
	return b, at
}

func read(t *testing.T, b []byte) (seqs []uint64, torn int64, damaged []Damage) {
	t.Helper()
	torn, damaged, err := readSegment(b, func(s deliver.Send) error {
		seqs = append(seqs, s.Seq)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return seqs, torn, damaged
}

func TestJournalCutAnywhere(t *testing.T) {
	t.Parallel()
	whole, at := segmentOf(t, 3)
	for cut := range whole {
		var want []uint64
		end := 0 // of what is whole
		if cut >= len(segmentHeader) {
			end = len(segmentHeader)
		}
		for i := range at {
			next := len(whole)
			if i+1 < len(at) {
				next = at[i+1]
			}
			if next <= cut {
				want, end = append(want, uint64(i)), next
			}
		}
		got, torn, damaged := read(t, whole[:cut])
		if d := cmp.Diff(want, got); d != "" || damaged != nil || torn != int64(cut-end) {
			t.Fatalf("cut at %d: %d torn, want %d, damaged %v %s", cut, torn, cut-end, damaged, d)
		}
	}
}

func TestJournalDamagedAnywhere(t *testing.T) {
	t.Parallel()
	whole, at := segmentOf(t, 3)
	for i := at[1]; i < at[2]; i++ {
		b := append([]byte(nil), whole...)
		b[i] ^= 0x41
		got, torn, damaged := read(t, b)
		if d := cmp.Diff([]uint64{0, 2}, got); d != "" || torn != 0 {
			t.Fatalf("byte %d: torn %d %s", i, torn, d)
		}
		if d := cmp.Diff([]Damage{{Offset: int64(at[1]), Bytes: int64(at[2] - at[1])}}, damaged); d != "" {
			t.Fatalf("byte %d: %s", i, d)
		}
	}
	// A damaged header costs nothing but a report.
	b := append([]byte(nil), whole...)
	b[3] ^= 0x41
	if got, _, damaged := read(t, b); len(got) != 3 || len(damaged) != 1 || damaged[0].Offset != 0 {
		t.Error(got, damaged)
	}
}

func TestJournalOfAnotherVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sends-0000000000000007.journal"), []byte(segmentMagic+"2\nwhatever"), 0o600); err != nil {
		t.Fatal(err)
	}
	j := openJournal(t, dir)
	if _, err := j.Recover(func([]deliver.Send) error { return nil }); !errors.Is(err, deliver.ErrVersion) || !strings.Contains(err.Error(), "version 2") {
		t.Error(err)
	}
}

// The layout on the disk is frozen: the next release reads what this one wrote before it was killed.
func TestJournalLayout(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("testdata/sends_v1.journal")
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := segmentOf(t, 2); string(got) != string(want) {
		t.Errorf("written\n%q, frozen\n%q", got, want)
	}
}

func TestJournalAfterKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, "journal", dir)
	for range 50 {
		p.next(t)
	}
	p.kill(t)
	s := open(t, dir)
	j := openJournal(t, dir)
	got, r := recovered(t, j)
	if r.Damaged != nil {
		t.Error(r)
	}
	missing, err := s.MissingAttempts(t.Context(), got)
	if err != nil {
		t.Fatal(err)
	}
	// The child records the odd ones: all even ones are missing, and one odd one at the most.
	var even, odd, last uint64
	for _, m := range missing {
		if m.Seq%2 == 0 {
			even++
		} else {
			odd++
		}
		last = m.Seq
	}
	if even != last/2+1 && even != last/2 || even < 20 || odd > 1 {
		t.Errorf("%d even and %d odd missing up to %d of %d recovered", even, odd, last, len(got))
	}
}

func FuzzReadSegment(f *testing.F) {
	whole, at := segmentOf(f, 3)
	f.Add(whole)
	f.Add(whole[:at[2]+5])
	f.Add(whole[at[1]+3:])
	f.Add([]byte(segmentMagic + "2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var sends []deliver.Send
		torn, damaged, err := readSegment(b, func(s deliver.Send) error {
			sends = append(sends, s)
			return nil
		})
		if err != nil {
			return
		}
		sum := torn
		for _, d := range damaged {
			sum += d.Bytes
		}
		if sum < 0 || sum > int64(len(b)) {
			t.Fatalf("%d bytes of %d are bad", sum, len(b))
		}
		// Whatever came before, a record that follows is found.
		s := send(7)
		more, err := appendRecord(append([]byte(nil), b...), &s)
		if err != nil {
			t.Fatal(err)
		}
		var last deliver.Send
		if _, _, err := readSegment(more, func(s deliver.Send) error { last = s; return nil }); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(s, last); d != "" {
			t.Fatal(d)
		}
	})
}

func BenchmarkJournalAppend(b *testing.B) {
	j := openJournal(b, b.TempDir())
	s := send(1)
	b.ReportAllocs()
	for b.Loop() {
		if err := j.Settle(appendSends(b, j, s), 1); err != nil {
			b.Fatal(err)
		}
	}
}
