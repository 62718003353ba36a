package bench

import (
	"errors"
	"net"
	"net/url"
	"strings"

	"github.com/go-sql-driver/mysql"
)

const dsnForms = "write mysql://user:password@host:3306/ or user:password@tcp(host:3306)/"

// parseDSN reads a server's address. Its errors do not quote it: it holds a password.
func parseDSN(dsn string) (*mysql.Config, error) {
	if !strings.HasPrefix(dsn, "mysql://") {
		cfg, err := mysql.ParseDSN(dsn)
		if err != nil || cfg.Net != "tcp" || cfg.User == "" {
			return nil, errors.New("--dsn is not understood: " + dsnForms)
		}
		cfg.DBName = ""
		return cfg, nil
	}
	u, err := url.Parse(dsn)
	if err != nil || u.Hostname() == "" || u.User.Username() == "" || u.RawQuery != "" {
		return nil, errors.New("--dsn is not understood: " + dsnForms)
	}
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr = u.User.Username(), "tcp", u.Host
	cfg.Passwd, _ = u.User.Password()
	if u.Port() == "" {
		cfg.Addr = net.JoinHostPort(u.Hostname(), "3306")
	}
	return cfg, nil
}

// sourceDSN is the address in the form of rowhook.yaml.
func sourceDSN(cfg *mysql.Config) string {
	u := url.URL{Scheme: "mysql", User: url.UserPassword(cfg.User, cfg.Passwd), Host: cfg.Addr, Path: "/"}
	return u.String()
}
