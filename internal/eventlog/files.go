package eventlog

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// streamFolders returns the folders of all streams, sorted by name.
func streamFolders(dir string) ([]string, error) {
	folders, err := filepath.Glob(filepath.Join(escape(dir), "jetstream", "*", "streams", streamPrefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("look for streams: %w", err)
	}
	return folders, nil
}

// escape makes a path stand for itself in a pattern.
func escape(path string) string {
	return strings.NewReplacer("\\", "\\\\", "*", "\\*", "?", "\\?", "[", "\\[").Replace(path)
}

// syncTails syncs the newest files of every log before the server reads them. A process that was killed may have left a
// block that was written and never synced; it is about to be taken as captured, so it must be on the disk first. Only the newest
// segment can hold one: before that there are seals, synced before the next segment began.
func syncTails(dir string) error {
	folders, err := streamFolders(dir)
	if err != nil {
		return err
	}
	for i, f := range folders {
		source, _ := sourceOf(filepath.Base(f))
		if i+1 < len(folders) {
			if next, _ := sourceOf(filepath.Base(folders[i+1])); next == source {
				continue
			}
		}
		msgs := filepath.Join(f, "msgs")
		for _, f := range newest(msgs, 2) {
			if err := syncFile(f); err != nil {
				return err
			}
		}
		if err := syncFile(msgs); err != nil {
			return err
		}
	}
	return nil
}

// syncSegment makes a stream's folders, which are new, as lasting as the files in them.
func syncSegment(dir, name string) error {
	folders, err := filepath.Glob(filepath.Join(escape(dir), "jetstream", "*", "streams", name))
	if err != nil {
		return fmt.Errorf("look for streams: %w", err)
	}
	if len(folders) != 1 {
		return fmt.Errorf("log folder %s has %d streams %s, it must have one", dir, len(folders), name)
	}
	f := folders[0]
	if !described(f) {
		return fmt.Errorf("the description of the segment in %s was not written", f)
	}
	for _, d := range []string{filepath.Join(f, "msgs"), f, filepath.Dir(f)} {
		if err := syncDir(d); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync the log: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync the log's %s: %w", path, err)
	}
	return nil
}

const (
	// The server writes the description of a stream, then its checksum of checksumLen characters; to delete a stream it removes
	// the description first.
	descriptionFile = "meta.inf"
	checksumFile    = "meta.sum"
	checksumLen     = 16
	// emptyBytes is more than a stream without a message has in a file.
	emptyBytes = 1 << 10
)

func described(folder string) bool {
	return fileSize(filepath.Join(folder, descriptionFile)) > 0 && fileSize(filepath.Join(folder, checksumFile)) == checksumLen
}

// fileSize is -1 if there is no such file.
func fileSize(path string) int64 {
	i, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return i.Size()
}

// clearHalves removes what a crash left of segments that were being created or deleted: the server passes over them, but what it
// creates there anew it would not find again either. Whatever may hold a block stays.
func clearHalves(dir string) error {
	folders, err := streamFolders(dir)
	if err != nil {
		return err
	}
	for _, f := range folders {
		deleted := fileSize(filepath.Join(f, descriptionFile)) < 0 && fileSize(filepath.Join(f, checksumFile)) == checksumLen
		if described(f) || !deleted && holdsMessages(f) {
			continue
		}
		if err := os.RemoveAll(f); err != nil {
			return fmt.Errorf("clear away a segment that was never finished: %w", err)
		}
	}
	return nil
}

func holdsMessages(folder string) bool {
	for _, sub := range []string{"msgs", "__msgs__", "__new_msgs__"} {
		for _, f := range blockFiles(filepath.Join(folder, sub)) {
			if fileSize(f) > emptyBytes {
				return true
			}
		}
	}
	return false
}

// logBytes is the size of all files of the log, as far as they can be seen.
func logBytes(dir string) (n int64) {
	folders, _ := streamFolders(dir)
	for _, f := range folders {
		for _, b := range blockFiles(filepath.Join(f, "msgs")) {
			n += max(0, fileSize(b))
		}
	}
	return n
}

func blockFiles(folder string) []string {
	files, _ := filepath.Glob(filepath.Join(escape(folder), "*.blk")) // the pattern is well formed
	return files
}

// lastFile is the size of the file that a stream is being written to.
func lastFile(dir, name string) int64 {
	msgs, _ := filepath.Glob(filepath.Join(escape(dir), "jetstream", "*", "streams", name, "msgs")) // the pattern is well formed
	for _, m := range msgs {
		for _, f := range newest(m, 1) {
			return fileSize(f)
		}
	}
	return 0
}

// fileNumber is 0 for a file that is not the server's.
func fileNumber(path string) int {
	i, _ := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), ".blk"))
	return i
}

// newest returns the n message files with the highest numbers.
func newest(folder string, n int) []string {
	files := blockFiles(folder)
	slices.SortFunc(files, func(a, b string) int { return fileNumber(b) - fileNumber(a) })
	return files[:min(n, len(files))]
}

// oldest returns the message file with the lowest number, if there is one.
func oldest(folder string) []string {
	files := blockFiles(folder)
	slices.SortFunc(files, func(a, b string) int { return fileNumber(a) - fileNumber(b) })
	return files[:min(1, len(files))]
}

// syncFile drops what the kernel remembers of the file after the sync: had an earlier sync failed, memory would hold bytes that
// the disk does not.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync the log: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync the log's %s: %w", path, err)
	}
	dropCache(f)
	return nil
}
