package mysql

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/change"
)

const testCreated = 1_700_000_000

// binlogFile makes the events of one file as a server sends them. Sizes in headers may be larger than the events are.
type binlogFile struct {
	name string
	end  uint64
}

// at sets an event's size and end in the file.
func (f *binlogFile) at(e []byte, size uint32) []byte {
	f.end += uint64(size)
	binary.LittleEndian.PutUint32(e[9:], size)
	binary.LittleEndian.PutUint32(e[13:], uint32(f.end))
	return e
}

func (f *binlogFile) add(kind byte, body []byte) []byte {
	return f.at(event(kind, body), uint32(headerSize+len(body)))
}

// begin is the rotation that the server makes up at the start of each file, and the file's format.
func (f *binlogFile) begin(offset uint64) [][]byte {
	body := binary.LittleEndian.AppendUint64(nil, offset)
	rotate := event(evRotate, append(body, f.name...))
	binary.LittleEndian.PutUint16(rotate[17:], flagArtificial)
	format := event(evFormatDescription, make([]byte, 2+50+4+1+40+1+checksumSize))
	binary.LittleEndian.PutUint32(format, testCreated)
	if offset == fileStart {
		f.end = fileStart
		format = f.at(format, uint32(len(format)))
	} else {
		f.end = offset // and the format's own end is 0
	}
	return [][]byte{rotate, format}
}

// transaction has one row event's worth of bytes, which the stream passes over.
func (f *binlogFile) transaction(size uint32) [][]byte {
	return [][]byte{
		f.add(evAnonymousGTID, make([]byte, 42)), f.add(evQuery, queryBody("app", "BEGIN")),
		f.at(event(29, nil), size), // query text
		f.add(evXID, make([]byte, 8)),
	}
}

func (f *binlogFile) rotate(next string) []byte {
	return f.add(evRotate, append(binary.LittleEndian.AppendUint64(nil, fileStart), next...))
}

type movingMarks struct{ marks }

func (m *movingMarks) Moved(file string, created uint32, offset uint64) error {
	m.lines = append(m.lines, fmt.Sprintf("moved %s %d:%d", file, created, offset))
	return nil
}

func fileStream(feed Feed, from place, partial bool) *stream {
	st := testStream(change.MySQL, feed)
	st.files = newFiles("db:3306", from, partial, func(place, bool) error { return nil })
	return st
}

func feedEvents(st *stream, events ...[]byte) error {
	for _, e := range events {
		if err := st.event(e); err != nil {
			return err
		}
	}
	return nil
}

// Files larger than 4 GiB: offsets in headers wrap, those of transactions do not.
func TestOffsetsBeyond4GiB(t *testing.T) {
	t.Parallel()
	f := &binlogFile{name: "binlog.000001"}
	var all [][]byte
	all = append(all, f.begin(fileStart)...)
	var want []string
	var begins []uint64
	mark := func(size uint32) {
		begins = append(begins, f.end)
		all = append(all, f.transaction(size)...)
		want = append(want, fmt.Sprintf("begin  %s:%d", f.name, begins[len(begins)-1]), fmt.Sprintf("commit %s:%d", f.name, f.end))
	}
	for range 11 {
		mark(1 << 30)
	}
	all = append(all, f.rotate("binlog.000002"))
	last := f.end
	f = &binlogFile{name: "binlog.000002"}
	all = append(all, f.begin(fileStart)...)
	want = append(want, fmt.Sprintf("moved %s %d:4", f.name, testCreated))
	mark(100)

	m := &movingMarks{}
	from := place{"binlog.000001", testCreated, fileStart}
	if err := feedEvents(fileStream(m, from, false), all...); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, m.lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if last < 10<<30 {
		t.Fatalf("the file ends at %d", last)
	}

	// A place behind 4 GiB is reached from the file's start.
	for i, offset := range begins[:11] {
		from.offset = offset
		if ask := from.ask(); offset>>32 != 0 && ask != fileStart || offset>>32 == 0 && uint64(ask) != offset {
			t.Errorf("asks for %d to reach %d", ask, offset)
		}
		m = &movingMarks{}
		if err := feedEvents(fileStream(m, from, true), all...); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[2*i:], m.lines); diff != "" {
			t.Errorf("from %d on (-want +got):\n%s", offset, diff)
		}
		from.offset++
		stopCode(t, feedEvents(fileStream(&movingMarks{}, from, false), all...), CodePositionLost, "no event")
	}
	from.offset = last + 1
	stopCode(t, feedEvents(fileStream(&movingMarks{}, from, false), all...), CodePositionLost, "no event")
}

func TestFilesThatDoNotGoOn(t *testing.T) {
	t.Parallel()
	const name = "binlog.000001"
	events := func(offset uint64, change func(f *binlogFile, all [][]byte) [][]byte) [][]byte {
		f := &binlogFile{name: name}
		return change(f, append(f.begin(offset), f.transaction(50)...))
	}
	same := func(_ *binlogFile, all [][]byte) [][]byte { return all }
	next := func(f *binlogFile, all [][]byte) [][]byte {
		n := &binlogFile{name: "binlog.000002"}
		return append(append(all, n.begin(fileStart)...), n.transaction(50)...)
	}
	errGone := errors.New("gone")
	for _, c := range []struct {
		what    string
		from    place
		partial bool
		events  [][]byte
		code    string // "" is no error
	}{
		{"the middle", place{name, testCreated, 1000}, false, events(1000, same), ""},
		{"created before", place{name, testCreated - 1, 1000}, false, events(1000, same), CodePositionLost},
		{"another file", place{"binlog.000009", testCreated, 1000}, false, events(1000, same), CodeMalformedEvent},
		{"another offset", place{name, testCreated, 1000}, false, events(1001, same), CodeMalformedEvent},
		{"a header that disagrees", place{name, testCreated, 1000}, false, events(1000, func(_ *binlogFile, all [][]byte) [][]byte {
			binary.LittleEndian.PutUint32(all[3][13:], binary.LittleEndian.Uint32(all[3][13:])+1)
			return all
		}), CodeMalformedEvent},
		{"no creation time", place{name, testCreated, 1000}, false, events(1000, func(_ *binlogFile, all [][]byte) [][]byte {
			binary.LittleEndian.PutUint32(all[1], 0)
			return all
		}), CodeMalformedEvent},
		{"the rest of a transaction", place{name, testCreated, 1000}, true, events(1000, next), ""},
		{"the rest is gone", place{name, testCreated, 1000}, true, events(1000, func(f *binlogFile, all [][]byte) [][]byte { return next(f, all[:2]) }), CodePositionLost},
		{"a file without an end that is gone", place{name, testCreated, 1000}, false, events(1000, next), "gone"},
		{"a file that ends in order", place{name, testCreated, 1000}, false, events(1000, func(f *binlogFile, all [][]byte) [][]byte {
			return next(f, append(all, f.add(evStop, nil)))
		}), "-"},
	} {
		st := fileStream(&movingMarks{}, c.from, c.partial)
		if c.code == "gone" || c.code == "-" {
			st.files.present = func(p place, ended bool) error {
				if p.file != name || p.offset < 1100 || !ended {
					t.Errorf("%s: asked for %v", c.what, p)
				}
				return notOurs(errGone)
			}
		}
		err := feedEvents(st, c.events...)
		switch c.code {
		case "", "-":
			if err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
		case "gone":
			if !errors.Is(err, errGone) {
				t.Errorf("%s: %v", c.what, err)
			}
		default:
			stopCode(t, err, c.code)
		}
	}
}

func FuzzFiles(f *testing.F) {
	file := &binlogFile{name: "binlog.000001"}
	begin := append(file.begin(fileStart), file.transaction(1<<31)...)
	for _, e := range begin {
		f.Add(e, uint64(fileStart), false)
	}
	f.Add(begin[0], uint64(1)<<40, true)
	f.Fuzz(func(t *testing.T, raw []byte, offset uint64, partial bool) {
		from := place{"binlog.000001", testCreated, offset}
		m := &movingMarks{}
		st := fileStream(m, from, partial)
		if err := feedEvents(st, append(append([][]byte{raw}, begin...), raw, raw)...); err != nil {
			return
		}
		if st.files.reached && st.end < offset {
			t.Errorf("at %d, which is before %d", st.end, offset)
		}
	})
}
