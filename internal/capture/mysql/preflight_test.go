package mysql

import (
	"context"
	"database/sql"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"

	"github.com/rowhook/rowhook/internal/change"
)

func check(t *testing.T, cfg Config) []Finding {
	t.Helper()
	found, err := replica(t, cfg).Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// finding returns the worst one with this code, and fails unless its severity is the wanted one.
func finding(t *testing.T, found []Finding, code string, want Severity) Finding {
	t.Helper()
	for _, f := range found {
		if f.Code == code && f.Severity == want {
			return f
		}
	}
	t.Errorf("no finding %s of severity %s in %+v", code, want, found)
	return Finding{}
}

func mentions(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q does not mention %q", text, w)
		}
	}
}

func TestCheckFindsNothingWrong(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		name, db := dbservertest.Database(t, srv)
		exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY, j JSON, v VARCHAR(10))")
		for _, f := range check(t, config(srv, name+".t")) {
			if f.Severity == Error {
				t.Errorf("%+v", f)
			}
		}
	})
}

func TestCheckReportsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	for _, kind := range dbserver.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			srv := dbservertest.Start(t, dbserver.Options{Kind: kind, Args: []string{
				"--binlog-format=STATEMENT", "--binlog-row-metadata=MINIMAL", "--binlog-row-image=MINIMAL", "--binlog-expire-logs-seconds=60"}})
			name, db := dbservertest.Database(t, srv)
			exec(t, db, "CREATE TABLE sheet_rows (id INT PRIMARY KEY)")
			found := check(t, config(srv, name+".sheet_row"))
			mentions(t, finding(t, found, CodeBinlogFormat, Error).SQL, "binlog_format", "ROW")
			mentions(t, finding(t, found, CodeRowMetadata, Warning).SQL, "binlog_row_metadata", "FULL")
			mentions(t, finding(t, found, CodeRowImage, Warning).SQL, "binlog_row_image")
			mentions(t, finding(t, found, CodeRetention, Error).SQL, "binlog_expire_logs_seconds")
			mentions(t, finding(t, found, CodeUnknownTable, Error).Message, "did you mean "+name+".sheet_rows")

			_, err := replica(t, config(srv, name+".*")).Attach(t.Context(), AtNow)
			stopCode(t, err, CodeBinlogFormat, "binlog_format")
		})
	}
}

func TestCheckFindsABinlogThatIsOff(t *testing.T) {
	t.Parallel()
	for _, kind := range dbserver.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			srv := dbservertest.Start(t, dbserver.Options{Kind: kind, Args: []string{"--skip-log-bin"}})
			found := check(t, config(srv, "*.*"))
			mentions(t, finding(t, found, CodeLogBin, Error).SQL, "log_bin")
		})
	}
}

func TestCheckFindsMissingPrivileges(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		name, db := dbservertest.Database(t, srv)
		user := "u" + name[len(name)-10:]
		exec(t, db, "CREATE TABLE t (id INT PRIMARY KEY)", "CREATE USER '"+user+"'@'%' IDENTIFIED BY 'pw'")
		t.Cleanup(func() { exec0(db, "DROP USER '"+user+"'@'%'") })
		cfg := config(srv, name+".t")
		cfg.DSN = "mysql://" + user + ":pw@" + srv.Addr() + "/"
		found := check(t, cfg)
		mentions(t, finding(t, found, CodeMissingPrivilege, Error).SQL, "GRANT REPLICATION SLAVE ON *.* TO '"+user+"'@'%'")
		finding(t, found, CodeUnknownTable, Error) // not visible to the user

		// What Check says to run is enough.
		for range 3 {
			for _, f := range check(t, cfg) {
				if f.Severity == Error && strings.HasPrefix(f.SQL, "GRANT") {
					exec(t, db, f.SQL)
				}
			}
		}
		for _, f := range check(t, cfg) {
			if f.Severity == Error {
				t.Errorf("after the GRANTs: %+v", f)
			}
		}
		r := replica(t, cfg)
		from := attach(t, r, AtNow)
		exec(t, db, "INSERT INTO t VALUES (1)")
		feed := newLogFeed(t, flavorOf(srv), from)
		follow(t, r, from, feed)
		feed.awaitRows(t, "insert t 1")
	})
}

func TestCheckNamesWhatKeepsItFromConnecting(t *testing.T) {
	t.Parallel()
	srv := dbservertest.Get(t, dbserver.MySQL)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := free.Addr().String()
	free.Close()
	for _, c := range []struct {
		code, dsn string
		tls       TLS
	}{
		{CodeRefused, "mysql://root@" + closed + "/", TLS{}},
		{CodeUnknownHost, "mysql://root@no-such-host.invalid/", TLS{}},
		{CodeAccessDenied, "mysql://root:wrong@" + srv.Addr() + "/", TLS{}},
		{CodeTLS, "mysql://root@" + srv.Addr() + "/", TLS{Mode: TLSVerifyIdentity}},
	} {
		found := check(t, Config{Source: "test", DSN: c.dsn, Tables: []string{"a.b"}, TLS: c.tls})
		finding(t, found, c.code, Error)
	}
}

// exec0 is for cleaning up, when the test's context has ended.
func exec0(db *sql.DB, statement string) { _, _ = db.ExecContext(context.Background(), statement) }

func TestTLSIsUsedOnBothConnections(t *testing.T) {
	t.Parallel()
	srv := dbservertest.Start(t, dbserver.Options{Kind: dbserver.MySQL})
	_, db := dbservertest.Database(t, srv)
	exec(t, db, "SET GLOBAL require_secure_transport = ON")
	t.Cleanup(func() { exec0(db, "SET GLOBAL require_secure_transport = OFF") }) // before the database is dropped
	cfg := config(srv, "app.*")
	cfg.TLS = TLS{Mode: TLSVerifyCA, CA: filepath.Join(srv.Dir(), "data", "ca.pem")}
	if _, err := os.Stat(cfg.TLS.CA); err != nil {
		t.Fatalf("the server made no certificates: %v", err)
	}
	r := replica(t, cfg)
	from := attach(t, r, AtNow)
	feed := newLogFeed(t, flavorOf(srv), from)
	follow(t, r, from, feed)
	feed.await(t, "packets", func() bool { return feed.heard > 2 })

	cfg.TLS.Mode = TLSVerifyIdentity
	_, err := replica(t, cfg).Attach(t.Context(), AtNow)
	stopCode(t, err, CodeTLS)
	cfg.TLS = TLS{Mode: TLSDisabled}
	_, err = replica(t, cfg).Attach(t.Context(), AtNow)
	stopCode(t, err, CodeTLS)
}

func TestServerIDClash(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		name, _ := dbservertest.Database(t, srv)
		cfg := config(srv, name+".*")
		cfg.Source, cfg.ServerID = "first", 4_290_000_001
		r := replica(t, cfg)
		from := attach(t, r, AtNow)
		feed := newLogFeed(t, flavorOf(srv), from)
		follow(t, r, from, feed)
		feed.await(t, "packets", func() bool { return feed.heard > 2 })
		cfg.Source = "second"
		finding(t, check(t, cfg), CodeServerIDClash, Error)
	})
}

func TestBadConfigurations(t *testing.T) {
	t.Parallel()
	good := Config{Source: "s", DSN: "mysql://u:p@h/", Tables: []string{"a.b"}}
	for name, change := range map[string]func(*Config){
		"empty dsn": func(c *Config) { c.DSN = "" }, "other database": func(c *Config) { c.DSN = "postgres://u:s3cr3t@h/" },
		"password unescaped": func(c *Config) { c.DSN = "mysql://u:s3cr3t#/%@h/" }, "nonsense": func(c *Config) { c.DSN = "u:s3cr3t@h:1" },
		"no tables": func(c *Config) { c.Tables = nil }, "table without schema": func(c *Config) { c.Tables = []string{"t"} },
		"heartbeat": func(c *Config) { c.Heartbeat = time.Millisecond }, "tls": func(c *Config) { c.TLS.Mode = "yes" },
	} {
		cfg := good
		change(&cfg)
		_, err := New(cfg)
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: the error holds the password: %v", name, err)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}

func TestGlob(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true}, {"*", "abc", true}, {"a*", "abc", true}, {"a*c", "abc", true}, {"a*c", "abd", false}, {"a?c", "abc", true},
		{"a?c", "ac", false}, {"", "", true}, {"", "a", false}, {"*b*b", "abab", true}, {"a", "A", false}, {"a**", "a", true},
	} {
		if got := change.Glob(c.pattern, c.s); got != c.want {
			t.Errorf("Glob(%q, %q) = %v", c.pattern, c.s, got)
		}
	}
	all, err := newTableSet([]string{"*.*"}, []string{"app.*.Pass*"})
	if err != nil {
		t.Fatal(err)
	}
	if all.wanted("mysql", "user") || all.wanted("rowhook", "canary") || !all.wanted("app", "t") || !all.excluded("app", "t", "password") {
		t.Error("patterns reach too far, or not far enough")
	}
}

func TestUnsupportedColumn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flavor       change.Flavor
		typ, charset string
		want         bool
	}{
		{change.MariaDB, "uuid", "", false}, {change.MySQL, "uuid", "", true}, {change.MariaDB, "uuid /* old */", "", true}, {change.MariaDB, "vector(3)", "", false},
		{change.MySQL, "vector(3)", "", false}, {change.MySQL, "text", "gb18030", false}, {change.MySQL, "text", "klingon", true}, {change.MySQL, "newtype(3)", "", true},
		{change.MariaDB, "time /* mariadb-5.3 */", "", false}, {change.MariaDB, "time(3) /* mariadb-5.3 */", "", true}, {change.MariaDB, "time(3)", "", false},
		{change.MariaDB, "varchar(20) /*M!100301 COMPRESSED*/", "latin1", false}, {change.MySQL, "geomcollection", "", false}, {change.MySQL, "json", "", false},
	} {
		if why := unsupportedColumn(c.flavor, c.typ, c.charset); (why != "") != c.want {
			t.Errorf("%s %s %s: %q", c.flavor, c.typ, c.charset, why)
		}
	}
}

func TestCheckFindsExcludedKeys(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		name, db := dbservertest.Database(t, srv)
		exec(t, db, "CREATE TABLE t (id INT, k INT, ok VARCHAR(9) CHARACTER SET gbk, PRIMARY KEY (id, k))")
		cfg := config(srv, name+".t")
		cfg.ExcludeColumns = []string{name + ".t.k"}
		mentions(t, finding(t, check(t, cfg), CodeExcludedKey, Warning).Message, name+".t.k")
		cfg.ExcludeColumns = []string{name + ".t.ok"}
		for _, f := range check(t, cfg) {
			if f.Code == CodeUnsupportedColumn || f.Code == CodeExcludedKey {
				t.Errorf("%+v", f)
			}
		}
	})
}
