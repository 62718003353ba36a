package mysql

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// place is where an event of a server without GTIDs begins, or the file ends.
type place struct {
	file string
	// created is when the server began the file, in seconds of the Unix epoch: it uses names again after a RESET.
	created uint32
	offset  uint64
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.file, p.offset) }

// ask is the offset to ask the server for. The request has 32 bits for it; what lies further on is read from the start of the file.
func (p place) ask() uint32 {
	if p.offset > math.MaxUint32 {
		return fileStart
	}
	return uint32(p.offset)
}

// files counts where the events of one connection stand in the server's files, and holds that they go on without a gap from the place
// that was asked for.
type files struct {
	addr string
	from place
	// read is how far events were read, and in which file.
	read place
	// reached is set once the place was found in its file, and what comes is new.
	reached bool
	// announced is set when the file that is being read said that it ends. A server that died could not say so.
	announced bool
	// partial is set while the rest of the transaction that begins next after the place is awaited.
	partial bool
	// present asks the server whether the file that was read is still there up to the place; ended says that it ends there.
	present func(read place, ended bool) error
}

func newFiles(addr string, from place, partial bool, present func(place, bool) error) *files {
	return &files{addr: addr, from: from, partial: partial, present: present}
}

// begin takes the FORMAT_DESCRIPTION of a file, which has the time of its creation, and reports whether it is the first one of the
// connection. That one must be of the place's file; the server sends it wherever in the file it begins.
func (f *files) begin(file string, end uint64, created uint32) (first bool, err error) {
	if created == 0 {
		return false, malformedEvent("the binlog file %s does not say when it was created", file)
	}
	if first = f.read.file == ""; first {
		err = f.beginFirst(file, end, created)
	} else {
		err = f.beginNext(file)
	}
	if err != nil {
		return first, err
	}
	f.read, f.announced = place{file, created, end}, false
	return first, nil
}

func (f *files) beginFirst(file string, end uint64, created uint32) error {
	switch {
	case file != f.from.file, end != fileStart && end != f.from.offset:
		return malformedEvent("the server begins at %s:%d, not at %s", file, end, f.from)
	case created != f.from.created:
		return f.otherFile(created)
	}
	f.reached = end == f.from.offset
	return nil
}

func (f *files) beginNext(file string) error {
	switch {
	case f.partial:
		return lostTail("the log ends inside the transaction that begins at %s, and %s has no end of it: %s follows", f.from, f.addr, file)
	case !f.reached:
		return f.beyond()
	case !f.announced:
		// Either the server died then, or its files were reset while this one was read: then changes are missing in between.
		return f.present(f.read, true)
	}
	return nil
}

// advance returns the offset after an event that follows the offset before, and whether it lies before the place. Sizes are counted up,
// because headers give the offset modulo 2^32 only; the two must agree.
func (f *files) advance(before uint64, h eventHeader) (end uint64, skip bool, err error) {
	end = before + uint64(h.size)
	if h.logPos != 0 && h.logPos != uint32(end) {
		return before, false, malformedEvent("the event of type %d at offset %d has %d bytes, and says that it ends at %d modulo 2^32", h.kind, before, h.size, h.logPos)
	}
	f.announced = h.kind == evRotate || h.kind == evStop
	switch {
	case f.reached:
	case end > f.from.offset:
		return before, false, f.beyond()
	default:
		f.reached, skip = end == f.from.offset, true
	}
	f.read.offset = end
	return end, skip, nil
}

// idle holds that the server waits where it was read up to. Files that were reset would keep it waiting there until the new ones have
// grown as long.
func (f *files) idle() error {
	if f.read.file == "" {
		return nil
	}
	return f.present(f.read, false)
}

func (f *files) otherFile(created uint32) error {
	at := func(sec uint32) string { return time.Unix(int64(sec), 0).UTC().Format(time.RFC3339) }
	return stop(CodePositionLost, placeHint, "the position %s cannot be continued: it is in a file created at %s, and the %s of %s was created at %s. Its binlogs were reset, or it was rebuilt",
		f.from, at(f.from.created), f.from.file, f.addr, at(created))
}

func (f *files) beyond() error {
	return lostTail("the position cannot be continued: no event of %s begins at %s", f.addr, f.from)
}

const (
	placeHint = "Without GTIDs a position holds only on the server that it was read from, as long as that has the file. Move data_dir away to attach anew at the present position; with gtid_mode = ON another server could have gone on."
	tailHint  = "The server lost the end of its binlog, as after a crash without sync_binlog = 1, so it may also lack changes that were captured; sync_binlog = 1 prevents it. Move data_dir away to attach anew at the present position."
)

func lostTail(format string, args ...any) *StopError {
	return stop(CodePositionLost, tailHint, format, args...)
}

// checkPlace makes certain that the server is the one the place is of, and that it has the file up to there. That the file is still the
// same one is seen when it is read.
func (r *Replica) checkPlace(ctx context.Context, s *session, from place, server string) error {
	if server != s.identity {
		return stop(CodePositionLost, placeHint, "the position %s is one of the server %s, and %s is the server %s", from, server, r.addr(), s.identity)
	}
	sizes, err := s.fileSizes(ctx)
	if err != nil {
		return r.classify("ask "+r.addr()+" for its binlogs", err)
	}
	size, ok := sizes[from.file]
	switch {
	case !ok:
		return stop(CodePositionLost, placeHint, "the position %s cannot be continued: %s has purged that file, or its binlogs were reset", from, r.addr())
	case from.offset > size:
		return lostTail("the position %s cannot be continued: that file of %s ends at %d", from, r.addr(), size)
	}
	return nil
}

// checkRead holds that what was read of a file is still there; ended means that the server went on to another one without a word.
func (r *Replica) checkRead(ctx context.Context, s *session, read place, ended bool) error {
	patience := replyTimeout
	if !ended {
		patience = r.cfg.Heartbeat // the next one must be read in time
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if !ended {
		now, err := s.now(ctx)
		switch {
		case err != nil: // such as a server whose commits wait: it will say so when it goes on
			r.log.Debug("the end of the binlog is not known", "err", err)
			return nil
		case now.File == read.file && now.Offset >= read.offset:
			return nil
		}
	}
	if err := r.checkPlace(ctx, s, read, s.identity); err != nil || !ended {
		return notOurs(err)
	}
	created, err := r.fileCreated(ctx, s, read, r.derivedID(idOfSecondDump))
	switch {
	case err != nil:
		return notOurs(fmt.Errorf("ask %s when it created %s: %w", r.addr(), read.file, err))
	case created != read.created:
		return (&files{addr: r.addr(), from: read}).otherFile(created)
	}
	return nil
}

// idOfSecondDump picks the server id for a dump beside the one that is running.
const idOfSecondDump = 1 << 20

// fileCreated asks when a file was created, by beginning to read it.
func (r *Replica) fileCreated(ctx context.Context, s *session, at place, id uint32) (uint32, error) {
	first := &firstFormat{}
	err := r.dump(ctx, s, first, beginning{place: &at}, id)
	if first.created == 0 {
		return 0, cmp.Or(err, ctx.Err(), errClosed)
	}
	return first.created, nil
}

// firstFormat ends a dump at its first FORMAT_DESCRIPTION.
type firstFormat struct {
	created uint32
	err     error
}

var errSeen = errors.New("that is all that was wanted")

func (f *firstFormat) event(raw []byte) error {
	h, err := parseHeader(raw)
	switch {
	case err != nil:
		f.err = err
	case h.kind != evFormatDescription:
		return nil
	case h.timestamp == 0:
		f.err = malformedEvent("a binlog file does not say when it was created")
	default:
		f.created, f.err = h.timestamp, errSeen
	}
	return f.err
}

func (f *firstFormat) connected(bool)                       {}
func (f *firstFormat) heard(time.Time)                      {}
func (f *firstFormat) largePayload([]byte, io.Reader) error { return errSeen }
func (f *firstFormat) ended() error                         { return f.err }
