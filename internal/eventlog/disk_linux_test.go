package eventlog

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

const inNamespace = "ROWHOOK_TEST_IN_NAMESPACE"

// smallDisk mounts a disk of 24 MiB. Without the right to mount it runs the test again in namespaces of its own, where it has that
// right, and returns "".
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m")
	switch {
	case err == nil:
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, 0); err != nil {
				t.Errorf("unmount %s: %v", dir, err)
			}
		})
		return dir
	case os.Getenv(inNamespace) != "":
		t.Fatalf("mount a tmpfs: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if out, again := cmd.CombinedOutput(); again != nil {
		t.Fatalf("this test fills a disk of its own and must be allowed to mount a tmpfs, as root or in a user namespace: %v, then %v\n%s", err, again, out)
	}
	return ""
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	o := options(t)
	disk := smallDisk(t)
	if disk == "" {
		return // it ran, and passed, elsewhere
	}
	o.Dir = filepath.Join(disk, "log")
	o.RingBytes = 1
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 12<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, o)
	l := openLog(t, s)
	other := openLog(t, s)
	if _, _, _, err := other.Last(t.Context()); err != nil {
		t.Fatal(err)
	}
	var want [][]byte
	seq := uint64(1)
	full := 0
	for range 100 {
		b, h := block(t, 1, seq, 1, 300<<10)
		start := time.Now()
		err := l.Append(t.Context(), b, h)
		if err == nil {
			want, seq = append(want, b), h.NextSeq()
			continue
		}
		if !errors.Is(err, ErrDiskFull) {
			t.Fatalf("append %d on a full disk: %v", seq, err)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Fatalf("it took %v to see that the disk is full", took)
		}
		if full++; full == 3 {
			break
		}
	}
	if full != 3 || len(want) < 5 {
		t.Fatalf("%d blocks fitted, the disk was full %d times", len(want), full)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	// The writer goes on in its place, and the fence holds over the restart of the server.
	for range 5 {
		b, h := block(t, 1, seq, 1, 300<<10)
		if err := l.Append(t.Context(), b, h); err != nil {
			t.Fatalf("append %d with space again: %v", seq, err)
		}
		want, seq = append(want, b), h.NextSeq()
	}
	b, h := block(t, 2, 1, 1, 10)
	if err := other.Append(t.Context(), b, h); !errors.Is(err, ErrFenced) {
		t.Fatalf("a writer from before: %v", err)
	}
	readAll(t, l, want)
	closeServer(t, s)
	readAll(t, openLog(t, open(t, o)), want)
}

func readAll(t *testing.T, l *Log, want [][]byte) {
	t.Helper()
	r := l.NewReader(1)
	for _, b := range want {
		wantBlock(t, next(t, r), b)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if e, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("after the last block: %v %v", e, err)
	}
}
