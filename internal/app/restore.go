package app

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/eventlog"
	"github.com/rowhook/rowhook/internal/store"
)

// BackupError says what is wrong with an archive, or with where it should go.
type BackupError struct {
	Problem, Hint string
}

func (e *BackupError) Error() string { return e.Problem }

// Restore makes a data folder from an archive. There must be none yet; after an error there is none.
func Restore(ctx context.Context, cfg *config.Config, r io.Reader, log *slog.Logger) (err error) {
	if entries, err := os.ReadDir(cfg.DataDir); err == nil && len(entries) > 0 {
		return &BackupError{cfg.DataDir + " is not empty", "move it away, or restore into another data_dir"}
	}
	dir := cfg.DataDir + ".restoring"
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, os.ErrExist) {
			return &BackupError{dir + " is there already", "another restore is under way; or one was interrupted, then remove the folder"}
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := restoreInto(ctx, dir, cfg, r, log); err != nil {
		return err
	}
	if err := os.Remove(cfg.DataDir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(dir, cfg.DataDir); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(cfg.DataDir))
}

func restoreInto(ctx context.Context, dir string, cfg *config.Config, r io.Reader, log *slog.Logger) (err error) {
	logs, err := eventlog.Open(ctx, eventlog.Options{Dir: filepath.Join(dir, "log"), Retention: cfg.Log.Retention, RingBytes: 1 << 20, Log: log})
	if err != nil {
		return err
	}
	x := &restoration{ctx: ctx, dir: dir, logs: logs, blocks: map[string]uint64{}}
	err = errors.Join(x.read(tar.NewReader(r)), x.endLog())
	cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	return errors.Join(err, logs.Close(cctx))
}

// restoration reads one archive into a folder.
type restoration struct {
	ctx  context.Context // of the whole restoration, which is one call
	dir  string
	logs *eventlog.Server

	store    bool
	source   string // whose log is being written
	importer *eventlog.Importer
	blocks   map[string]uint64
	manifest *manifest
}

// read takes in every file of the archive and then holds what it got against the manifest.
func (x *restoration) read(tr *tar.Reader) error {
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return &BackupError{"the archive cannot be read: " + err.Error(), "it is damaged or was cut short; take another one"}
		}
		if x.manifest != nil {
			return &BackupError{"the archive goes on after its manifest, with " + h.Name, "it was changed since it was made; take another one"}
		}
		err = x.file(h, tr)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return &BackupError{"the archive ends within " + h.Name, "it was cut short; take another one"}
		}
		if err != nil {
			return fmt.Errorf("%s in the archive: %w", h.Name, err)
		}
	}
	return x.whole()
}

func (x *restoration) file(h *tar.Header, r io.Reader) error {
	switch {
	case h.Name == backupStore && !x.store:
		x.store = true
		return x.writeStore(r)
	case h.Name == backupManifest:
		x.manifest = &manifest{}
		return json.NewDecoder(io.LimitReader(r, 1<<20)).Decode(x.manifest)
	case strings.HasPrefix(h.Name, backupLogs):
		parts := strings.Split(strings.TrimPrefix(h.Name, backupLogs), "/")
		if len(parts) == 3 {
			return x.chunk(parts[0], parts[1], r)
		}
	}
	return &BackupError{"it is not a part of an archive", "is this a file that rowhook backup wrote?"}
}

func (x *restoration) writeStore(r io.Reader) error {
	dir := filepath.Join(x.dir, "store")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, store.FileName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Sync(), f.Close())
}

// chunk appends blocks to a source's log.
func (x *restoration) chunk(source, logID string, r io.Reader) error {
	if source != x.source {
		if err := x.endLog(); err != nil {
			return err
		}
		im, err := x.logs.Import(x.ctx, source, logID)
		if err != nil {
			return err
		}
		x.source, x.importer = source, im
	}
	for br := bufio.NewReader(r); ; {
		at, err := binary.ReadUvarint(br)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		size, err := binary.ReadUvarint(br)
		if err != nil {
			return err
		}
		if size > maxBackupBlock {
			return &BackupError{fmt.Sprintf("a block of %d bytes", size), "the archive is damaged; take another one"}
		}
		var block bytes.Buffer
		// Grows with what is there, not with what a damaged length says.
		if _, err := io.CopyN(&block, br, int64(size)); err != nil {
			return err
		}
		if err := x.importer.Append(x.ctx, block.Bytes(), time.UnixMicro(int64(at))); err != nil {
			return err
		}
		x.blocks[source]++
	}
}

func (x *restoration) endLog() error {
	if x.importer == nil {
		return nil
	}
	im := x.importer
	x.importer = nil
	return im.Close(x.ctx)
}

// whole reports what is missing.
func (x *restoration) whole() error {
	const again = "it was cut short; take another one"
	switch {
	case x.manifest == nil:
		return &BackupError{"the archive has no manifest", again}
	case x.manifest.Version != backupVersion:
		return &BackupError{fmt.Sprintf("the archive is of version %d, this Rowhook reads version %d", x.manifest.Version, backupVersion), "use the Rowhook that wrote it: " + x.manifest.Rowhook}
	case !x.store:
		return &BackupError{"the archive has no store", again}
	}
	for _, s := range x.manifest.Sources {
		if x.blocks[s.Name] != s.Blocks {
			return &BackupError{fmt.Sprintf("the log of source %s has %d blocks of %d", s.Name, x.blocks[s.Name], s.Blocks), again}
		}
	}
	return nil
}
