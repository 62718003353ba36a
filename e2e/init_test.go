package e2e

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// What rowhook init writes is right as it stands: the check finds no error in it, also with names that YAML, templates or expressions
// would take for something else, and no column that looks like a secret is in it.
func TestInit(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		database, db := dbservertest.Database(t, srv)
		for _, text := range []string{
			"CREATE TABLE customers (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(40) NOT NULL, password_hash VARCHAR(80) NOT NULL, api_token CHAR(32) NULL)",
			"CREATE TABLE `Order Lines` (id INT NOT NULL PRIMARY KEY)",
			"CREATE TABLE `null` (`true` INT NOT NULL, `no` INT NOT NULL, `select` INT NULL, PRIMARY KEY (`true`, `no`))",
			"CREATE TABLE keyless (a INT NULL, `b c` INT NULL)",
			"CREATE TABLE tokens (secret VARCHAR(10) NOT NULL PRIMARY KEY)",
			"CREATE VIEW customer_names AS SELECT id, name FROM customers",
		} {
			if _, err := db.ExecContext(t.Context(), text); err != nil {
				t.Fatal(err)
			}
		}
		dir, cfg := t.TempDir(), srv.Config()
		dsn := url.URL{Scheme: "mysql", User: url.UserPassword(cfg.User, cfg.Passwd), Host: cfg.Addr, Path: "/"}
		init := []string{"init", dsn.String(), "--dir", dir, "--name", "shop", "--tables", database + ".*"}
		if res := runToEnd(t, init...); res.code != 0 || !strings.Contains(res.stdout, "rowhook check") {
			t.Fatalf("code %d\n%s%s", res.code, res.stdout, res.stderr)
		}
		types, err := os.ReadFile(filepath.Join(dir, "types", "shop.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"customers.changed:", "subject: customers/{id}", "data: [id, name]", "keyless.changed:"} {
			if !strings.Contains(string(types), want) {
				t.Errorf("no %q in\n%s", want, types)
			}
		}
		for _, secret := range []string{"name, password_hash", "[password_hash", "api_token]", "tokens.changed", "customer_names.changed"} {
			if strings.Contains(string(types), secret) {
				t.Errorf("%q is in\n%s", secret, types)
			}
		}
		t.Logf("%s", types)
		config := filepath.Join(dir, "rowhook.yaml")
		if text, err := os.ReadFile(config); err != nil || cfg.Passwd != "" && strings.Contains(string(text), cfg.Passwd) {
			t.Errorf("the password is in the file, or %v", err)
		}
		if res := runWith(t, []string{"SHOP_PASSWORD=" + cfg.Passwd}, "check", "--config", config); res.code != 0 {
			t.Errorf("check: code %d\n%s%s", res.code, res.stdout, res.stderr)
		}
		if res := runToEnd(t, init...); res.code != exitUsage || !strings.Contains(res.stderr, "is there already") {
			t.Errorf("a second init: code %d\n%s", res.code, res.stderr)
		}
	})
}

func TestInitBadInput(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no DSN":         {nil, exitUsage, "1 arg"},
		"wrong DSN":      {[]string{"postgres://a:hunter2@b/"}, exitUsage, "mysql://"},
		"bad name":       {[]string{"mysql://a@127.0.0.1:1/", "--name", "A B"}, exitUsage, "not a name"},
		"bad tables":     {[]string{"mysql://a@127.0.0.1:1/", "--tables", "orders"}, exitUsage, "schema.table"},
		"nobody answers": {[]string{"mysql://a:hunter2@127.0.0.1:1/"}, 1, "127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res := runToEnd(t, append([]string{"init", "--dir", t.TempDir()}, c.args...)...)
			if res.code != c.code || !strings.Contains(res.stderr, c.says) || strings.Contains(res.stderr, "hunter2") {
				t.Errorf("code %d, want %d and %q in\n%s", res.code, c.code, c.says, res.stderr)
			}
		})
	}
}
