package bench

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// disk is what a folder lies on.
type disk struct {
	dir  string
	free uint64
	// memory is set if the file system is kept in memory, where a sync costs nothing.
	memory bool
}

// findDisk looks at the folder that a run would use.
func findDisk(dir string) (disk, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return disk{}, fmt.Errorf("make the folder of --dir: %w", err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return disk{}, fmt.Errorf("look at the file system of %s: %w", dir, err)
	}
	return disk{dir: dir, free: st.Bavail * uint64(st.Bsize), memory: inMemory(&st)}, nil
}

// need fails if the disk has less room than a run takes.
func (d disk) need(bytes uint64) error {
	if d.free < bytes {
		return fmt.Errorf("the run takes about %.1f GiB in %s, which has %.1f GiB free: name another folder with --dir, or fewer --rows",
			gib(bytes), d.dir, gib(d.free))
	}
	return nil
}

func gib(n uint64) float64 { return float64(n) / (1 << 30) }

// warnings say what the disk does to the figures.
func (d disk) warnings() []string {
	if !d.memory {
		return nil
	}
	return []string{d.dir + " is in memory, where fsync costs nothing; name a folder on a disk with --dir"}
}
