package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/rowhook/rowhook/internal/deliver"
)

const (
	// segmentBytes is the size at which a segment is closed. After a crash every send of an unsettled segment is looked up in
	// the store, about ten thousand for each.
	segmentBytes = 1 << 20
	// journalBytes bounds all segments. Twenty thousand sends a second that each hang for twenty seconds need a fifth of it.
	journalBytes = 256 << 20
	// maxSendBytes bounds one encoded send: names and an id.
	maxSendBytes = 16 << 10
)

// Journal is the send journal: what has been sent, or was about to be, while the store knows nothing of it yet. It is a series of
// segment files; one is removed as soon as all its sends are settled. It may be used by many goroutines at once.
//
// Each Append is one unsynced write, so it survives the death of the process at any moment, but not that of the machine.
type Journal struct {
	dir   string
	limit int64

	mu       sync.Mutex
	buf      []byte
	file     *os.File // of the current segment
	current  *segment
	segments map[uint64]*segment // unsettled ones, and the current one
	bytes    int64
	old      []string // segments of earlier processes
}

type segment struct {
	number  uint64
	path    string
	size    int64
	pending int
}

// OpenJournal opens the journal in dir, which must be the folder of an open Store, because that keeps other processes out. What earlier
// processes left is kept until Forget.
func OpenJournal(dir string) (*Journal, error) {
	j := &Journal{dir: dir, limit: journalBytes, segments: map[uint64]*segment{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open the send journal: %w", classify(dir, err))
	}
	var last uint64
	for _, e := range entries {
		if n, ok := segmentNumber(e.Name()); ok {
			j.old = append(j.old, filepath.Join(dir, e.Name()))
			last = max(last, n)
		}
	}
	slices.Sort(j.old)
	if err := j.begin(last + 1); err != nil {
		return nil, fmt.Errorf("open the send journal: %w", err)
	}
	return j, nil
}

const segmentName = "sends-%016x.journal"

func segmentNumber(name string) (uint64, bool) {
	var n uint64
	if !strings.HasSuffix(name, ".journal") {
		return 0, false
	}
	if _, err := fmt.Sscanf(name, segmentName, &n); err != nil || fmt.Sprintf(segmentName, n) != name {
		return 0, false
	}
	return n, true
}

// begin makes a new segment the current one.
func (j *Journal) begin(number uint64) error {
	path := filepath.Join(j.dir, fmt.Sprintf(segmentName, number))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return classify(j.dir, err)
	}
	if _, err := f.WriteString(segmentHeader); err != nil {
		return classify(j.dir, errors.Join(err, f.Close(), os.Remove(path)))
	}
	j.file = f
	j.current = &segment{number: number, path: path, size: int64(len(segmentHeader))}
	j.segments[number] = j.current
	j.bytes += j.current.size
	return nil
}

// Append writes the sends down and returns a mark for Settle. Only then may their requests leave. After an error nothing may be
// sent; a full disk and a journal at its bound (too many sends without a result) are ErrFull.
func (j *Journal) Append(sends ...deliver.Send) (mark uint64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return 0, errors.New("append to the send journal: it is closed")
	}
	j.buf = j.buf[:0]
	for i := range sends {
		if j.buf, err = appendRecord(j.buf, &sends[i]); err != nil {
			return 0, fmt.Errorf("append to the send journal: %w", err)
		}
	}
	if err := j.makeRoom(int64(len(j.buf))); err != nil {
		return 0, fmt.Errorf("append to the send journal: %w", err)
	}
	// At the known end, so that what a failed write left behind is written over.
	if _, err := j.file.WriteAt(j.buf, j.current.size); err != nil {
		return 0, fmt.Errorf("append to the send journal: %w", classify(j.current.path, errors.Join(err, j.file.Truncate(j.current.size))))
	}
	j.current.size += int64(len(j.buf))
	j.bytes += int64(len(j.buf))
	j.current.pending += len(sends)
	return j.current.number, nil
}

func (j *Journal) makeRoom(n int64) error {
	if j.current.size+n > segmentBytes && j.current.size > int64(len(segmentHeader)) {
		if err := j.rotate(); err != nil {
			return err
		}
	}
	if j.bytes+n > j.limit {
		return &Error{Kind: ErrFull, Path: j.dir, Err: fmt.Errorf("%d bytes of sends without a recorded result", j.bytes),
			Hint: "deliveries go on when results are recorded; if they do not, look for errors of the store"}
	}
	return nil
}

func (j *Journal) rotate() error {
	full, file := j.current, j.file
	if err := j.begin(full.number + 1); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return classify(full.path, err)
	}
	if full.pending == 0 {
		return j.remove(full)
	}
	return nil
}

// Settle says that n sends of one mark have their results in the store, or did not leave at all.
func (j *Journal) Settle(mark uint64, n int) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.segments[mark]
	if s == nil || n < 0 || n > s.pending {
		return fmt.Errorf("settle %d sends of segment %d of the send journal: it does not wait for as many", n, mark)
	}
	s.pending -= n
	if s.pending > 0 || s == j.current {
		return nil
	}
	return j.remove(s)
}

func (j *Journal) remove(s *segment) error {
	delete(j.segments, s.number)
	j.bytes -= s.size
	if err := os.Remove(s.path); err != nil {
		return fmt.Errorf("remove a settled segment of the send journal: %w", classify(s.path, err))
	}
	return nil
}

// Forget removes what earlier processes left, once it is recorded in the store.
func (j *Journal) Forget() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.old) > 0 {
		if err := os.Remove(j.old[0]); err != nil {
			return fmt.Errorf("forget earlier sends: %w", classify(j.old[0], err))
		}
		j.old = j.old[1:]
	}
	return nil
}

// Close closes the journal. Segments with unsettled sends stay for the next process. Nothing may be appended any more.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	if j.current.pending == 0 {
		err = errors.Join(err, j.remove(j.current))
	}
	if err != nil {
		return fmt.Errorf("close the send journal: %w", err)
	}
	return nil
}
