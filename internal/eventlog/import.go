package eventlog

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/rowhook/rowhook/internal/change"
)

// importPrefix stands before the id of a log until its import is finished, so that nobody takes a part of it for the log.
const importPrefix = "import:"

// Importer creates a log anew from the blocks of another one. It belongs to one goroutine.
type Importer struct {
	log *Log
	id  string
}

// Import begins a log of the source that will have the id of the one that the blocks come from. It fails if the folder has a log of
// the source, finished or not. The log can be opened with Stream after Close; an import that is not closed leaves a log that
// Stream refuses, and whose folder is to be emptied before the next try.
func (s *Server) Import(ctx context.Context, source, logID string) (*Importer, error) {
	if err := checkName(source); err != nil {
		return nil, err
	}
	if b, err := hex.DecodeString(logID); err != nil || len(b) != writerLen/2 {
		return nil, fmt.Errorf("import log of source %s: %q is not the id of a log", source, logID)
	}
	s.opening.Lock()
	defer s.opening.Unlock()
	im, err := s.beginImport(ctx, source, logID)
	if err != nil {
		return nil, fmt.Errorf("import log of source %s: %w", source, err)
	}
	return im, nil
}

func (s *Server) beginImport(ctx context.Context, source, logID string) (*Importer, error) {
	e, err := s.running(ctx)
	if err != nil {
		return nil, err
	}
	st := s.newStream(source)
	c, err := st.list(ctx, e)
	if err == nil {
		err = e.checkFolders(source)
	}
	if err != nil {
		return nil, err
	}
	if len(c) > 0 {
		return nil, fmt.Errorf("folder %s has a log of it already, %s; import into an empty folder", s.opts.Dir, c[0].config.Metadata[idKey])
	}
	st.id = importPrefix + logID
	if err := st.create(ctx, e, newSegment(source, 1, 0, 0)); err != nil {
		return nil, err
	}
	if _, err := st.readEnd(ctx); err != nil {
		return nil, err
	}
	writer, err := randomName()
	if err != nil {
		return nil, err
	}
	return &Importer{log: &Log{st: st, writer: writer, importing: true}, id: logID}, nil
}

// Append adds the next block, which was appended to its first log at the given time; zero is now. When it returns nil the block is
// on the disk. Blocks come in the order of a Reader, from the oldest on, without one missing.
func (im *Importer) Append(ctx context.Context, block []byte, appended time.Time) error {
	h, err := change.ParseHeader(block)
	if err != nil {
		return fmt.Errorf("import a block of source %s: %w", im.log.st.source, err)
	}
	im.log.mu.Lock()
	defer im.log.mu.Unlock()
	if err := im.log.append(ctx, block, h, appended); err != nil {
		return fmt.Errorf("import block %d of source %s: %w", h.FirstSeq, im.log.st.source, err)
	}
	return nil
}

// Close finishes the import: from then on the log has its id and can be opened. A log without a block is empty.
func (im *Importer) Close(ctx context.Context) error {
	st := im.log.st
	e, err := st.srv.running(ctx)
	if err != nil {
		return fmt.Errorf("finish the import of source %s: %w", st.source, err)
	}
	c, err := st.refresh(ctx, e)
	if err != nil {
		return fmt.Errorf("finish the import of source %s: %w", st.source, err)
	}
	for _, s := range c {
		cfg := s.config
		cfg.Metadata[idKey] = im.id
		if _, err := e.js.UpdateStream(ctx, cfg); err != nil {
			return fmt.Errorf("finish the import of source %s: %w", st.source, diskError(st.srv.opts.Dir, err))
		}
		if err := syncSegment(st.srv.opts.Dir, s.name); err != nil {
			return fmt.Errorf("finish the import of source %s: %w", st.source, err)
		}
	}
	return nil
}

// unfinished says whether the id is that of a log whose import was not finished.
func unfinished(id string) bool { return strings.HasPrefix(id, importPrefix) }
