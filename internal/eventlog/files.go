package eventlog

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// syncTails syncs the newest files of every stream before the server reads them. A process that was killed may have left a
// block that was written and never synced; it is about to be taken as captured, so it must be on the disk first.
func syncTails(dir string) error {
	folders, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "*", "msgs"))
	if err != nil {
		return fmt.Errorf("look for streams: %w", err)
	}
	for _, folder := range folders {
		for _, f := range newest(folder, 2) {
			if err := syncFile(f); err != nil {
				return err
			}
		}
		if err := syncFile(folder); err != nil {
			return err
		}
	}
	return nil
}

// newest returns the n message files with the highest numbers.
func newest(folder string, n int) []string {
	files, _ := filepath.Glob(filepath.Join(folder, "*.blk")) // the pattern is well formed
	number := func(f string) int {
		i, _ := strconv.Atoi(strings.TrimSuffix(filepath.Base(f), ".blk"))
		return i
	}
	var out []string
	for range min(n, len(files)) {
		top := 0
		for i := range files {
			if number(files[i]) > number(files[top]) {
				top = i
			}
		}
		out = append(out, files[top])
		files[top] = files[len(files)-1]
		files = files[:len(files)-1]
	}
	return out
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
