package app

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/rowhook/rowhook/internal/change"
)

// An archive is a tar file: the store, then each log's blocks in files of some MiB, each block behind
// the time it was appended, in microseconds of the Unix epoch, and its length, both as uvarints, and
// the manifest last: without it the archive is not whole. The store comes first, so that the logs hold all that it knows of.
const (
	backupVersion  = 1
	backupStore    = "store.db"
	backupManifest = "manifest.json"
	backupLogs     = "log/"
	// backupChunk is about how many bytes of blocks one file holds; it is in memory while it is made.
	backupChunk = 4 << 20
	// maxBackupBlock bounds what a restore believes a block to be.
	maxBackupBlock = 1 << 30
)

// manifest says what an archive holds.
type manifest struct {
	Version int            `json:"version"`
	Rowhook string         `json:"rowhook"`
	Made    time.Time      `json:"made"`
	Sources []backupSource `json:"sources"`
}

type backupSource struct {
	Name    string `json:"name"`
	LogID   string `json:"log_id"`
	Blocks  uint64 `json:"blocks"`
	NextSeq uint64 `json:"next_seq"`
}

// backup writes an archive. Everything goes on meanwhile; what is captured after it reached a log's end is not in it.
func (a *App) backup(ctx context.Context, w io.Writer) error {
	tw := tar.NewWriter(w)
	if err := a.backupStore(ctx, tw); err != nil {
		return fmt.Errorf("back up the store: %w", err)
	}
	m := manifest{Version: backupVersion, Rowhook: a.version, Made: time.Now().UTC()}
	for _, s := range a.sources {
		b, err := s.backup(ctx, tw)
		if err != nil {
			return fmt.Errorf("back up the log of source %s: %w", s.name, err)
		}
		m.Sources = append(m.Sources, b)
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFile(tw, backupManifest, text); err != nil {
		return err
	}
	return tw.Close()
}

func (a *App) backupStore(ctx context.Context, tw *tar.Writer) (err error) {
	dir, err := os.MkdirTemp(a.cfg.DataDir, "backup-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, backupStore)
	if err := a.store.Copy(ctx, path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := tw.WriteHeader(header(backupStore, info.Size())); err != nil {
		return err
	}
	_, err = io.Copy(tw, f)
	return err
}

// backup writes the blocks from the first that there is to the log's present end.
func (s *source) backup(ctx context.Context, tw *tar.Writer) (backupSource, error) {
	out := backupSource{Name: s.name, LogID: s.log.ID()}
	out.NextSeq, _, _ = s.log.Tail()
	if out.NextSeq == 0 {
		return out, nil
	}
	first, err := s.log.First(ctx)
	if err != nil {
		return out, err
	}
	r := s.log.NewReader(first)
	var chunk bytes.Buffer
	for n, end := 0, false; !end; n++ {
		chunk.Reset()
		for chunk.Len() < backupChunk && !end {
			e, err := r.Next(ctx)
			if err != nil {
				return out, err
			}
			chunk.Write(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(e.Appended.UnixMicro())), uint64(len(e.Block))))
			chunk.Write(e.Block)
			out.Blocks++
			blk, err := change.Parse(e.Block)
			if err != nil {
				return out, err
			}
			end = blk.NextSeq() >= out.NextSeq
			out.NextSeq = max(out.NextSeq, blk.NextSeq())
		}
		if err := writeFile(tw, fmt.Sprintf("%s%s/%s/%08d", backupLogs, s.name, out.LogID, n), chunk.Bytes()); err != nil {
			return out, err
		}
	}
	return out, nil
}

func header(name string, size int64) *tar.Header {
	return &tar.Header{Name: name, Mode: 0o600, Size: size, Format: tar.FormatPAX}
}

func writeFile(tw *tar.Writer, name string, content []byte) error {
	if err := tw.WriteHeader(header(name, int64(len(content)))); err != nil {
		return err
	}
	_, err := tw.Write(content)
	return err
}
