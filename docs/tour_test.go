package docs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/change/changetest"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/internal/translate"
	"github.com/rowhook/rowhook/webhook"
)

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(filepath.Join(root, path))
	return err == nil
}

// The delivery in the README is what the README's types make of the README's statements, signed.
func TestDeliveryOfTheTour(t *testing.T) {
	t.Parallel()
	sent := one(t, "README.md", "http", "").text
	var shown bytes.Buffer
	if err := json.Compact(&shown, []byte(one(t, "README.md", "json", "").text)); err != nil {
		t.Fatal(err)
	}
	want := rendered(t)
	if shown.String() != string(want) {
		t.Errorf("the README shows\n%s\nand Rowhook sends\n%s", shown.String(), want)
	}
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(sent, "\n", "\r\n") + "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	key, err := webhook.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := webhook.Verify([]webhook.Secret{key}, req.Header, want, webhook.WithAnyTimestamp()); err != nil {
		signed, _ := webhook.Sign(req.Header.Get("webhook-id"), time.Unix(1769866620, 0), want, key)
		t.Errorf("%v; the signature is %s", err, signed.Get("webhook-signature"))
	}
	if id := req.Header.Get("webhook-id"); !strings.Contains(string(want), `"id":"`+id+`"`) {
		t.Errorf("the header's id %s is not the body's", id)
	}
}

// rendered is the event of the README's UPDATE.
func rendered(t *testing.T) []byte {
	t.Helper()
	defs, err := event.Parse("types.yaml", []byte(one(t, "README.md", "yaml", "types.yaml").text))
	if err != nil {
		t.Fatal(err)
	}
	set, err := event.Compile(defs)
	if err != nil {
		t.Fatal(err)
	}
	orders := changetest.Table("shop", "orders", []string{"id"},
		changetest.Column("id", change.Uint, "bigint unsigned"), changetest.Column("customer", change.Int, "int"),
		changetest.Column("status", change.Text, "enum('open','paid','shipped')"), changetest.Column("total", change.Decimal, "decimal(10,2)"),
		changetest.Column("note", change.Text, "varchar(200)"))
	changes := changetest.Changes(t, "shop", 2, changetest.Tx{
		Transaction: change.Transaction{GTID: "0-1-42", CommitTime: 1769866620123456, File: "binlog.000003", Offset: 4711, ServerID: 1},
		Changes: []changetest.Change{{Op: change.Update, Table: orders,
			Before: changetest.Row{1, 130, "open", "19.90", nil}, After: changetest.Row{1, 130, "paid", "19.90", nil}}},
	})
	var out []byte
	if err := set.NewMatcher().Each("shop", 1, changes[0], func(ev *event.Event) error {
		out, err = translate.AppendJSON(out, ev)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// The README's tour, from its first statement to its delivery, on both servers.
func TestTour(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		s := newStage(t, srv)
		s.execute(one(t, "README.md", "sql", "").text)
		if err := compile(t.Context(), filepath.Join(s.dir, "receiver"), filepath.Join(s.dir, "receiver.go")); err != nil {
			t.Fatal(err)
		}
		s.start("receiver", "exec ./receiver")
		shown := blockLines(one(t, "README.md", "sh", "rowhook"))
		if !slices.Equal(shown, []string{"bin/rowhook check", "bin/rowhook serve"}) {
			t.Fatalf("the tour runs %q", shown)
		}
		check := s.command(shown[0])
		if out, err := check.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", shown[0], err, out)
		}
		s.start("rowhook", "exec "+shown[1])
		s.await("rowhook", "attached")
		s.execute(one(t, "README.md", "sql", "change").text)
		s.await("receiver", `"type":"order.placed"`)
		got := s.await("receiver", `"type":"order.paid"`)
		if g, w := plain(got), plain(string(rendered(t))); g != w {
			t.Errorf("the receiver printed\n%s\nbut for its place in the source it must be\n%s", g, w)
		}
		for _, line := range blockLines(one(t, "README.md", "sh", "control")) {
			if out, err := s.command(line).CombinedOutput(); err != nil || len(out) == 0 {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
		}
		s.await("receiver", `"test":true`)
	})
}

// The statements and settings of the chapter for operators are ones that the servers know, and are enough for check.
func TestSetUp(t *testing.T) {
	t.Parallel()
	const page = "docs/getting-started.md"
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		s := newStage(t, srv)
		s.execute("CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY, customer INT, status INT, total INT)")
		s.execute(one(t, page, "sql", "both").text)
		if out, err := s.command("bin/rowhook check").CombinedOutput(); err != nil {
			t.Errorf("check: %v\n%s", err, out)
		}
		db, err := srv.Open("")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for _, line := range blockLines(one(t, page, "ini", string(srv.Kind()))) {
			name, _, _ := strings.Cut(line, " ")
			var have string
			if err := db.QueryRowContext(t.Context(), "SELECT @@GLOBAL."+name).Scan(&have); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
	})
}

// plain takes out of an event what differs from run to run.
func plain(body string) string {
	for _, pattern := range []string{`"id":"evt_[0-9a-v]{32}"`, `"time":"[^"]+"`, `"source":\{[^}]+\}`} {
		re := regexp.MustCompile(pattern)
		if !re.MatchString(body) {
			return "no " + pattern + " in " + body
		}
		body = re.ReplaceAllString(body, `"…"`)
	}
	return strings.TrimSpace(body)
}

func blockLines(b block) []string {
	return strings.Split(strings.TrimSpace(b.text), "\n")
}

// stage is a folder with the tour's files and programs, and a database of its own in place of shop.
type stage struct {
	t        *testing.T
	srv      *dbserver.Server
	dir      string
	database string
	user     string
	lines    map[string]chan string // what the programs said
}

func newStage(t *testing.T, srv *dbserver.Server) *stage {
	t.Helper()
	s := &stage{t: t, srv: srv, dir: t.TempDir(), lines: map[string]chan string{}}
	s.database, _ = dbservertest.Database(t, srv)
	s.user = "u" + s.database[len(s.database)-10:]
	s.execute("DROP DATABASE shop")
	t.Cleanup(func() { s.execute("DROP USER IF EXISTS 'rowhook'@'%'") })
	receiver := freeAddress(t)
	change := func(text string) string {
		return strings.NewReplacer("shop.orders", s.database+".orders", "127.0.0.1:3306", srv.Addr(), "127.0.0.1:9000", receiver,
			"rowhook:${", s.user+":${").Replace(text)
	}
	place(t, s.dir, map[string]string{
		"rowhook.yaml": change(one(t, "README.md", "yaml", "rowhook.yaml").text) + "http: {listen: \"127.0.0.1:0\"}\n",
		"types.yaml":   change(one(t, "README.md", "yaml", "types.yaml").text),
		"receiver.go":  change(one(t, "README.md", "go", "receiver.go").text),
	})
	if err := os.Mkdir(filepath.Join(s.dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary(t), filepath.Join(s.dir, "bin", "rowhook")); err != nil {
		t.Fatal(err)
	}
	return s
}

// execute runs the page's statements, on the test's database and for the test's user.
func (s *stage) execute(statements string) {
	s.t.Helper()
	db, err := s.srv.Open("")
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	text := regexp.MustCompile(`\bshop\b`).ReplaceAllString(statements, s.database)
	text = strings.ReplaceAll(text, "'rowhook'", "'"+s.user+"'")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), time.Minute)
	defer cancel()
	for statement := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := db.ExecContext(ctx, statement); err != nil {
			s.t.Fatalf("%s: %v", statement, err)
		}
	}
}

func (s *stage) command(line string) *exec.Cmd {
	cmd := exec.CommandContext(s.t.Context(), "sh", "-c", line)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "SHOP_PASSWORD=change-me", "ORDERS_SECRET="+secret)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// start runs a program until the end of the test and keeps what it says.
func (s *stage) start(name, line string) {
	s.t.Helper()
	cmd := s.command(line)
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	said := make(chan string, 1000)
	s.lines[name] = said
	go func() {
		defer close(said)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			said <- lines.Text()
		}
	}()
	s.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait() // it was killed
		w.Close()
	})
}

// await returns the next line of a program that holds text.
func (s *stage) await(name, text string) string {
	s.t.Helper()
	deadline := time.After(time.Minute)
	var before []string
	for {
		select {
		case line, ok := <-s.lines[name]:
			if strings.Contains(line, text) {
				return line
			}
			if before = append(before, line); !ok {
				s.t.Fatalf("%s ended before it said %q:\n%s", name, text, strings.Join(before, "\n"))
			}
		case <-deadline:
			s.t.Fatalf("%s has not said %q:\n%s", name, text, strings.Join(before, "\n"))
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
