package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// The documented exit codes.
const (
	exitUsage    = 2
	exitFindings = 3
	exitSource   = 4
	exitInUse    = 5
	exitData     = 6
	exitListen   = 7
	exitRefused  = 8
	exitAway     = 9
)

// mistake is one thing an operator gets wrong, and what they must be told.
type mistake struct {
	name string
	// make brings it about; the files of the configuration are written before, and the command is told after.
	make func(s *site)
	// command is "check", "serve" or both.
	commands []string
	code     int
	// says is what stands in the answer, in this order of importance; all of it must.
	says []string
}

// both are the commands that read the configuration.
var both = []string{"check", "serve"}

// edit replaces text in one file of the configuration; what is replaced must be there.
func edit(name, old, new string) func(s *site) {
	return func(s *site) {
		s.t.Helper()
		path := filepath.Join(s.dir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			s.t.Fatal(err)
		}
		if !strings.Contains(string(text), old) {
			s.t.Fatalf("%s has no %q", name, old)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), old, new, 1)), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// mistakesInFiles need no server.
func mistakesInFiles() []mistake {
	return []mistake{
		{"unknown key", edit("rowhook.yaml", "attach: now", "atach: now"), both, exitUsage, []string{"rowhook.yaml:5", "atach", "attach"}},
		{"bad value", edit("rowhook.yaml", "attach: now", "attach: yesterday"), both, exitUsage, []string{"rowhook.yaml:5", "yesterday", "earliest"}},
		{"not YAML", edit("rowhook.yaml", "sources:", "sources: ["), both, exitUsage, []string{"rowhook.yaml:"}},
		{"wrong DSN", edit("rowhook.yaml", "dsn: mysql://", "dsn: postgres://"), both, exitUsage, []string{"rowhook.yaml:4", "mysql://"}},
		{"missing variable", edit("rowhook.yaml", "attach: now", "attach: ${ROWHOOK_NOT_SET}"), both, exitUsage, []string{"ROWHOOK_NOT_SET"}},
		{"no such types file", edit("rowhook.yaml", "types: [types.yaml]", "types: [typos.yaml]"), both, exitUsage, []string{"typos.yaml"}},
		{"unknown endpoint", edit("rowhook.yaml", "endpoint: all", "endpoint: al"), both, exitUsage, []string{"al", "all"}},
		{"unknown type", edit("rowhook.yaml", "item.even]", "item.evne]"), both, exitUsage, []string{"item.evne", "item.even"}},
		{"http without a switch", edit("rowhook.yaml", "allow_http: true", "allow_http: false"), both, exitUsage, []string{"http", "https"}},
		{"typo in a type", edit("types.yaml", "subject: items/{id}", "subjct: items/{id}"), both, exitUsage, []string{"types.yaml:5", "subjct", "subject"}},
		{"typo in an operation", edit("types.yaml", "[insert, update, delete]", "[insert, updated]"), both, exitUsage, []string{"types.yaml:4", "updated", "update"}},
		{"expression", edit("types.yaml", "when: after.version % 2 == 0", "when: after.version % 2 = 0"), both, exitUsage, []string{"types.yaml:15:29"}},
		{"expression is no condition", edit("types.yaml", "after.version % 2 == 0", "after.version + 2"), both, exitUsage, []string{"types.yaml:15:11", "true or false"}},
		{"unknown name in an expression", edit("types.yaml", "after.version % 2", "aftr.version % 2"), both, exitUsage, []string{"types.yaml:15:11", "aftr"}},
	}
}

// mistakesOnServers are noticed when the server is asked.
func mistakesOnServers() []mistake {
	return []mistake{
		{"wrong password", func(s *site) {
			user := s.user("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO %s")
			s.replaceUser(user + ":wrong")
		}, both, exitFindings, []string{"access_denied", "password"}},
		{"missing privilege", func(s *site) {
			s.replaceUser(s.user("GRANT SELECT ON " + s.database + ".* TO %s"))
		}, both, exitFindings, []string{"REPLICATION", "GRANT"}},
		{"unknown table", edit("rowhook.yaml", ".items,", ".itmes,"), []string{"check"}, exitFindings, []string{".itmes", "unknown_table"}},
		{"unknown column in a type", edit("types.yaml", "data: [id, version, payload, amount, note, flag, at, chk]", "data: [id, versin]"), []string{"check"}, exitFindings, []string{"versin", "version"}},
		{"unknown column in an expression", edit("types.yaml", "after.version % 2", "after.versin % 2"), []string{"check"}, exitFindings, []string{"types.yaml:", "versin", "version"}},
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for _, m := range append(mistakesInFiles(), mistakesOnServers()...) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, dbservertest.Get(t, dbserver.MariaDB), usualEndpoints()...)
			s.write()
			m.make(s)
			for _, command := range m.commands {
				code := m.code
				if command == "serve" && code == exitFindings {
					code = exitSource
				}
				s.refused(command, code, m.says...)
			}
		})
	}
}

// refused runs a command that must fail with this code and say all of this, and what to do next.
func (s *site) refused(command string, code int, says ...string) {
	s.t.Helper()
	r := runToEnd(s.t, command, "--config", filepath.Join(s.dir, "rowhook.yaml"))
	said := r.stdout + r.stderr
	if r.code != code {
		s.t.Errorf("rowhook %s ended with code %d, want %d; it said:\n%s", command, r.code, code, said)
	}
	for _, text := range says {
		if !strings.Contains(said, text) {
			s.t.Errorf("rowhook %s does not say %q; it said:\n%s", command, text, said)
		}
	}
	if _, hint, _ := strings.Cut(r.stderr, "\n  hint: "); !strings.Contains(r.stderr, "rowhook: ") || strings.TrimSpace(hint) == "" {
		s.t.Errorf("rowhook %s does not say what to do next; it said:\n%s", command, r.stderr)
	}
	if strings.Contains(said, "goroutine ") || strings.Contains(said, s.secret.Reveal()) {
		s.t.Errorf("rowhook %s shows a stack or a secret:\n%s", command, said)
	}
}

// user makes a database user with one grant.
func (s *site) user(grant string) string {
	s.t.Helper()
	name := "u" + s.database[len(s.database)-10:]
	full := fmt.Sprintf("'%s'@'%%'", name)
	for _, statement := range []string{"CREATE USER " + full + " IDENTIFIED BY 'right'", fmt.Sprintf(grant, full)} {
		if _, err := s.db.ExecContext(s.t.Context(), statement); err != nil {
			s.t.Fatalf("%s: %v", statement, err)
		}
	}
	s.t.Cleanup(func() { _, _ = s.srvExec("DROP USER " + full) })
	return name
}

// srvExec runs a statement after the test, when its pool may be closed.
func (s *site) srvExec(statement string) (any, error) {
	db, err := s.srv.Open("")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	return db.Exec(statement)
}

// replaceUser makes the configuration log in as somebody else, "name" or "name:password".
func (s *site) replaceUser(user string) {
	s.t.Helper()
	if !strings.Contains(user, ":") {
		user += ":right"
	}
	edit("rowhook.yaml", s.dsn(), "mysql://"+user+"@"+s.srv.Addr()+"/")(s)
}

// A server that does not write what is needed is named by each of its faults.
func TestServerSettings(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		args []string
		says []string
	}{
		{"statement and minimal", []string{"--binlog-format=STATEMENT", "--binlog-row-metadata=MINIMAL"}, []string{"binlog_format", "binlog_row_metadata", "run: SET "}},
		{"no binlog", []string{"--skip-log-bin"}, []string{"log_bin"}},
	} {
		for _, kind := range dbserver.Kinds() {
			t.Run(tc.name+" "+string(kind), func(t *testing.T) {
				t.Parallel()
				args := tc.args
				if kind == dbserver.MySQL && tc.name == "no binlog" {
					args = append(args, "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF")
				}
				s := newSite(t, dbservertest.Start(t, dbserver.Options{Kind: kind, Args: args}), usualEndpoints()...)
				s.write()
				s.refused("check", exitFindings, tc.says...)
				s.refused("serve", exitSource, tc.says[0])
			})
		}
	}
}

func TestCommandLineMistakes(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "nowhere.yaml")
	for name, args := range map[string][]string{
		"unknown command":   {"sevre"},
		"unknown flag":      {"serve", "--confg", "x"},
		"too many words":    {"serve", "x"},
		"no such file":      {"serve", "--config", missing},
		"check no such one": {"check", "--config", missing},
	} {
		r := runToEnd(t, args...)
		if r.code != exitUsage || !strings.Contains(r.stderr, "rowhook: ") || !strings.Contains(r.stderr, "hint: ") {
			t.Errorf("%s: code %d, want %d; it said:\n%s", name, r.code, exitUsage, r.stderr)
		}
	}
	if r := runToEnd(t, "version"); r.code != 0 || !strings.HasPrefix(r.stdout, "rowhook ") {
		t.Errorf("rowhook version: code %d, %q", r.code, r.stdout)
	}
}

// check finds nothing wrong where nothing is.
func TestCheckIsContent(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		s := newSite(t, srv, usualEndpoints()...)
		s.write()
		r := runToEnd(t, "check", "--config", filepath.Join(s.dir, "rowhook.yaml"))
		if r.code != 0 {
			t.Errorf("rowhook check ended with code %d; it said:\n%s%s", r.code, r.stdout, r.stderr)
		}
		if _, err := os.Stat(s.data); !os.IsNotExist(err) {
			t.Errorf("check made the data folder (%v)", err)
		}
	})
}

// Nothing that listens, a folder that is taken, and so on: what can be found out at the start only.
func TestStartMistakes(t *testing.T) {
	t.Parallel()
	ready := func(t *testing.T) *site {
		t.Helper()
		s := newSite(t, dbservertest.Get(t, dbserver.MySQL), usualEndpoints()...)
		s.write()
		return s
	}
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		s := ready(t)
		edit("rowhook.yaml", s.srv.Addr(), freeAddress(t))(s)
		s.refused("check", exitFindings, "connection_refused")
	})
	t.Run("unknown host", func(t *testing.T) {
		t.Parallel()
		s := ready(t)
		edit("rowhook.yaml", s.srv.Addr(), "nowhere.invalid:3306")(s)
		s.refused("check", exitFindings, "nowhere.invalid")
	})
	t.Run("port in use", func(t *testing.T) {
		t.Parallel()
		s := ready(t)
		edit("rowhook.yaml", `"127.0.0.1:0"`, s.receiver.Addr())(s)
		s.refused("serve", exitListen, s.receiver.Addr(), "http.listen")
	})
	t.Run("second process", func(t *testing.T) {
		t.Parallel()
		s := ready(t)
		s.start()
		s.heard()
		s.refused("serve", exitInUse, fmt.Sprint(s.daemon.cmd.Process.Pid), s.data)
		s.heard() // the first one goes on
	})
	t.Run("data_dir is a file", func(t *testing.T) {
		t.Parallel()
		s := ready(t)
		if err := os.WriteFile(s.data, []byte("in the way"), 0o600); err != nil {
			t.Fatal(err)
		}
		s.refused("serve", exitData, s.data)
	})
	t.Run("data_dir under a file", func(t *testing.T) {
		t.Parallel()
		s := ready(t)
		edit("rowhook.yaml", "data_dir: "+s.data, "data_dir: "+filepath.Join(s.dir, "types.yaml", "data"))(s)
		s.refused("serve", exitData, "types.yaml")
	})
	t.Run("store and log of two runs", func(t *testing.T) {
		t.Parallel()
		one, two := ready(t), ready(t)
		for _, s := range []*site{one, two} {
			s.start()
			s.heard()
			s.daemon.kill()
		}
		swap(t, filepath.Join(one.data, "log"), filepath.Join(two.data, "log"))
		one.refused("serve", exitData, "shop", "do not belong together")
		two.refused("serve", exitData, "shop", "do not belong together")
		swap(t, filepath.Join(one.data, "log"), filepath.Join(two.data, "log"))
		one.start()
		one.heard()
	})
	t.Run("store lost", func(t *testing.T) {
		t.Parallel()
		s := ready(t)
		s.start()
		s.heard()
		s.daemon.kill()
		if err := os.Rename(filepath.Join(s.data, "store"), filepath.Join(s.dir, "lost")); err != nil {
			t.Fatal(err)
		}
		s.refused("serve", exitData, "shop")
	})
	t.Run("log lost", func(t *testing.T) {
		t.Parallel()
		s := ready(t)
		s.start()
		s.heard()
		s.daemon.kill()
		if err := os.Rename(filepath.Join(s.data, "log"), filepath.Join(s.dir, "lost")); err != nil {
			t.Fatal(err)
		}
		s.refused("serve", exitData, "shop")
	})
}

// swap exchanges two folders.
func swap(t *testing.T, a, b string) {
	t.Helper()
	for _, move := range [][2]string{{a, a + ".tmp"}, {b, a}, {a + ".tmp", b}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
}

// freeAddress is an address that nobody listens on now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
