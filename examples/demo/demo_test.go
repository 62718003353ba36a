package main

import (
	"bufio"
	"context"
	"database/sql"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// asDemo in the environment makes the test binary the demo.
const asDemo = "ROWHOOK_TEST_AS_DEMO"

func TestMain(m *testing.M) {
	if os.Getenv(asDemo) != "" {
		code := command(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
		if err := goleak.Find(); err != nil && code == 0 {
			_, _ = os.Stderr.WriteString(err.Error())
			code = 3
		}
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

// played is one run of the demo as a process of its own, without a terminal.
type played struct {
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  *bufio.Scanner
	output []string
}

func play(t *testing.T, binary string, args ...string) *played {
	t.Helper()
	p := &played{t: t, dir: t.TempDir()}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	p.cmd = exec.CommandContext(ctx, os.Args[0], append([]string{"--rowhook", binary, "--sakila", "../sakila", "--dir", p.dir}, args...)...)
	p.cmd.Env = append(os.Environ(), asDemo+"=1")
	p.cmd.WaitDelay = 10 * time.Second
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = p.cmd.Stdout
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewScanner(stdout)
	return p
}

// read reads lines until one matches, and fails the test if none does.
func (p *played) read(pattern string) {
	p.t.Helper()
	match := regexp.MustCompile(pattern)
	for p.lines.Scan() {
		p.output = append(p.output, p.lines.Text())
		if match.MatchString(p.lines.Text()) {
			return
		}
	}
	p.t.Fatalf("no line matches %s:\n%s", pattern, strings.Join(p.output, "\n"))
}

// end reads the rest, waits, and returns the numbers of the account; the exit code must be 0.
func (p *played) end() map[string]int {
	p.t.Helper()
	for p.lines.Scan() {
		p.output = append(p.output, p.lines.Text())
	}
	output := strings.Join(p.output, "\n")
	if err := p.cmd.Wait(); err != nil {
		p.t.Fatalf("%v:\n%s", err, output)
	}
	account := map[string]int{}
	_, text, _ := strings.Cut(output, "\naccount: ")
	for _, pair := range regexp.MustCompile(`(\w+)=(\d+)`).FindAllStringSubmatch(text, -1) {
		account[pair[1]], _ = strconv.Atoi(pair[2])
	}
	p.t.Logf("account: %v", account)
	return account
}

// clean fails the test unless the account is, and nothing was left behind.
func (p *played) clean(account map[string]int) {
	p.t.Helper()
	if account["committed"] == 0 || account["delivered"] != account["committed"] || account["killed"] == 0 {
		p.t.Errorf("account is %v, want as many delivered as committed, and a kill", account)
	}
	for _, name := range []string{"missing", "unexpected", "out_of_order", "refused"} {
		if n, ok := account[name]; !ok || n != 0 {
			p.t.Errorf("%s is %d (%t), want 0:\n%s", name, n, ok, strings.Join(p.output, "\n"))
		}
	}
	if left := entries(p.t, p.dir); len(left) > 0 {
		p.t.Errorf("left in the folder: %v", left)
	}
	if left := processes(p.t, p.dir); len(left) > 0 {
		p.t.Errorf("left running: %q", left)
	}
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// processes are the command lines of those that have the folder in theirs.
func processes(t *testing.T, dir string) []string {
	t.Helper()
	out, err := exec.Command("ps", "-axww", "-o", "stat=,args=").Output()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, dir) && !strings.HasPrefix(line, "Z") {
			found = append(found, line)
		}
	}
	return found
}

func TestDemo(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "rowhook")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/rowhook/rowhook/cmd/rowhook")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Run("by itself", func(t *testing.T) {
		t.Parallel()
		p := play(t, binary, "--for", "4s", "--kill-every", "1500ms", "--rate", "100")
		p.clean(p.end())
	})
	t.Run("by hand", func(t *testing.T) {
		t.Parallel()
		p := play(t, binary, "--rate", "100")
		p.read(`^  database`)
		visit(t, p.output[len(p.output)-1], p)
		if _, err := io.WriteString(p.stdin, "k\n"); err != nil {
			t.Fatal(err)
		}
		p.read(` lag=[1-9].* killed=1$`)
		p.read(` rowhook=\d+ .* killed=1$`)
		if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		account := p.end()
		p.clean(account)
		if account["by_hand"] != 1 {
			t.Errorf("account is %v, want one change by hand", account)
		}
	})
	t.Run("dies", func(t *testing.T) {
		t.Parallel()
		p := play(t, binary)
		p.read(` delivered=[1-9]`)
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = p.cmd.Wait() // it was killed
		for start := time.Now(); len(processes(t, p.dir)) > 0; {
			if time.Since(start) > 10*time.Second {
				t.Fatalf("outlived the demo: %q", processes(t, p.dir))
			}
		}
		next, err := newFolder(p.dir)
		if err != nil {
			t.Fatal(err)
		}
		if left := entries(t, p.dir); len(left) != 1 || left[0] != next.path {
			t.Errorf("the next demo finds %v beside its own folder", left)
		}
		if err := next.remove(); err != nil {
			t.Error(err)
		}
	})
}

// visit changes a row by hand, as the account that the demo names, once deliveries have begun.
func visit(t *testing.T, place string, p *played) {
	t.Helper()
	named := regexp.MustCompile(`-h (\S+) -P (\d+) -u (\w+) (\w+)`).FindStringSubmatch(place)
	if named == nil {
		t.Fatalf("no database is named in %q", place)
	}
	db, err := sql.Open("mysql", named[3]+"@tcp("+named[1]+":"+named[2]+")/"+named[4])
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	p.read(` delivered=[1-9]`)
	if _, err := db.ExecContext(t.Context(), "UPDATE customer SET address_id = 42 WHERE customer_id = 1"); err != nil {
		t.Fatal(err)
	}
	// By the next line that shows newer deliveries it has long come.
	p.read(` delivered=[1-9]`)
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--rate", "0"}, 2, "--rate is 0"},
		{[]string{"--rate", "NaN"}, 2, "--rate is NaN"},
		{[]string{"--kill-every", "1ms"}, 2, "--kill-every is 1ms"},
		{[]string{"--for", "-1s"}, 2, "must not be negative"},
		{[]string{"please"}, 2, `unexpected argument "please"`},
		{[]string{"--rowhook", "nowhere", "--dir", t.TempDir()}, 1, "make build makes it"},
		{[]string{"--dir", "nowhere"}, 1, "make the demo's folder"},
	} {
		var stderr strings.Builder
		if code := command(c.args, os.Stdin, os.Stdout, &stderr); code != c.code || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("%v: code %d, want %d, and %q in:\n%s", c.args, code, c.code, c.want, stderr.String())
		}
	}
}
