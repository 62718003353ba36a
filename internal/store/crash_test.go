package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/deliver"
)

// child is what the test binary does when a test has started it as another process. It runs until it is killed.
func child(mode, dir string) {
	if err := runChild(mode, dir); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

func runChild(mode, dir string) error {
	ctx := context.Background()
	s, err := Open(ctx, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	switch mode {
	case "hold":
		fmt.Println("open")
		select {}
	case "commit":
		return commitForEver(ctx, s)
	case "journal":
		return journalForEver(ctx, s, dir)
	}
	return fmt.Errorf("no mode %q", mode)
}

// commitForEver writes batch after batch: batch n holds 40 attempts with seq n, moves the reader to n, and leaves one exception, n.
// It prints n once it is committed.
func commitForEver(ctx context.Context, s *Store) error {
	claims, err := s.Claim(ctx, "child", []int{deliver.SlotOf(testEndpoint)}, time.Hour)
	if err != nil {
		return err
	}
	c := claims[0]
	for n := uint64(1); ; n++ {
		w := deliver.SlotWrite{Slot: c.Slot, Epoch: c.Epoch, ReadSeq: n,
			Progress: []deliver.EndpointProgress{{Source: testSource, Endpoint: testEndpoint, Progress: deliver.Progress{Floor: n}}},
			Put:      []deliver.Exception{exception(testEndpoint, n, deliver.Waiting)},
		}
		if n > 1 {
			old := exception(testEndpoint, n-1, deliver.Waiting)
			w.Delete = []deliver.ExceptionKey{old.ExceptionKey()}
		}
		for range 40 {
			w.Attempts = append(w.Attempts, attempt(testEndpoint, int(n), c.Epoch))
		}
		if err := s.Commit(ctx, deliver.Batch{Source: testSource, Slots: []deliver.SlotWrite{w}}); err != nil {
			return err
		}
		fmt.Println("committed", n)
	}
}

// journalForEver journals send after send and records the attempts of the odd ones.
func journalForEver(ctx context.Context, s *Store, dir string) error {
	claims, err := s.Claim(ctx, "child", []int{deliver.SlotOf(testEndpoint)}, time.Hour)
	if err != nil {
		return err
	}
	j, err := OpenJournal(dir)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		mark, err := j.Append(send(n))
		if err != nil {
			return err
		}
		if n%2 == 1 {
			a := attempt(testEndpoint, n, send(n).Epoch)
			w := deliver.SlotWrite{Slot: claims[0].Slot, Epoch: claims[0].Epoch, Attempts: []deliver.Attempt{a}}
			if err := s.Commit(ctx, deliver.Batch{Source: testSource, Slots: []deliver.SlotWrite{w}}); err != nil {
				return err
			}
			if err := j.Settle(mark, 1); err != nil {
				return err
			}
		}
		fmt.Println("journaled", n)
	}
}

type process struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func start(t *testing.T, mode, dir string) *process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "ROWHOOK_STORE_TEST_CHILD="+mode, "ROWHOOK_STORE_TEST_DIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &process{cmd: cmd, lines: bufio.NewScanner(out)}
}

// next returns what the process prints next.
func (p *process) next(t *testing.T) string {
	t.Helper()
	if !p.lines.Scan() {
		t.Fatalf("the process ended: %v", p.lines.Err())
	}
	return p.lines.Text()
}

// kill ends the process with SIGKILL and returns the last line it printed; "" if none was left to read.
func (p *process) kill(t *testing.T) (last string) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for p.lines.Scan() {
		last = p.lines.Text()
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); !errors.As(err, &exit) || exit.Success() {
		t.Fatalf("it was not killed: %v", err)
	}
	return last
}

func TestSecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, "hold", dir)
	if line := p.next(t); line != "open" {
		t.Fatal(line)
	}
	_, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler))
	var locked *LockedError
	if !errors.Is(err, ErrLocked) || !errors.As(err, &locked) || locked.PID != p.cmd.Process.Pid {
		t.Errorf("got %v, holder is %d", err, p.cmd.Process.Pid)
	}
	if want := fmt.Sprintf("process %d", p.cmd.Process.Pid); !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("%v does not say %q", err, want)
	}
	p.kill(t)
	open(t, dir) // the lock died with its holder
}

func TestKillInMidCommit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var before uint64 // commits of the rounds before
	for round := range 3 {
		p := start(t, "commit", dir)
		var told uint64
		// Another number of commits in each round; the kill falls somewhere into the next ones.
		for range 3 + 5*round {
			told = committed(t, p.next(t))
		}
		if last := p.kill(t); last != "" {
			told = committed(t, last)
		}

		s := open(t, dir)
		checkWhole(t, s, told, before)
		// The next round starts at 1 again; take away what would hide its progress.
		for _, table := range []string{"slot_progress", "endpoint_progress", "exceptions"} {
			if _, err := s.writer.Exec("DELETE FROM " + table); err != nil {
				t.Fatal(err)
			}
		}
		before = uint64(rowCount(t, s, "attempts")) / 40
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkWhole checks that the last commit, which is told or one after, is there in full and nothing else is.
func checkWhole(t *testing.T, s *Store, told, before uint64) {
	t.Helper()
	slots, err := s.LoadSlots(t.Context(), testSource)
	if err != nil || len(slots) != 1 {
		t.Fatal(slots, err)
	}
	n := slots[0].ReadSeq
	if n != told && n != told+1 {
		t.Errorf("told that %d was committed, %d is there", told, n)
	}
	progress, err := s.LoadProgress(t.Context(), testSource)
	if err != nil || len(progress) != 1 || progress[0].Progress.Floor != n {
		t.Errorf("slot at %d, progress %v %v", n, progress, err)
	}
	exceptions := load(t, s, LoadOptions{States: []deliver.ExceptionState{deliver.Waiting}})
	if len(exceptions) != 1 || exceptions[0].Seq != n {
		t.Errorf("slot at %d, exceptions %v", n, exceptions)
	}
	if got, want := rowCount(t, s, "attempts"), int(n+before)*40; got != want {
		t.Errorf("%d attempts, want %d", got, want)
	}
	var verdict string
	if err := s.reader.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Error(verdict, err)
	}
}

func committed(t *testing.T, line string) (n uint64) {
	t.Helper()
	if _, err := fmt.Sscanf(line, "committed %d", &n); err != nil {
		t.Fatalf("line %q: %v", line, err)
	}
	return n
}
