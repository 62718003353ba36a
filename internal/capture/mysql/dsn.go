package mysql

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	driver "github.com/go-sql-driver/mysql"
)

// Deadlines of the SQL connection. A question that the server does not answer in this time is a lost connection.
const (
	dialTimeout  = 10 * time.Second
	replyTimeout = 30 * time.Second
)

const dsnForms = "write mysql://user:password@host:3306/ or user:password@tcp(host:3306)/"

// parseDSN reads both forms. Its errors never repeat the DSN, which holds a password.
func parseDSN(dsn string) (*driver.Config, error) {
	if dsn == "" {
		return nil, errors.New("dsn is empty: " + dsnForms)
	}
	cfg, err := parseAnyDSN(dsn)
	if err != nil {
		return nil, err
	}
	if cfg.User == "" {
		return nil, errors.New("dsn names no user: " + dsnForms)
	}
	cfg.DBName, cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = "", dialTimeout, replyTimeout, dialTimeout
	cfg.ParseTime, cfg.InterpolateParams = false, true
	return cfg, nil
}

func parseAnyDSN(dsn string) (*driver.Config, error) {
	scheme, _, isURL := strings.Cut(dsn, "://")
	if !isURL || strings.ContainsAny(scheme, "@:/(") {
		cfg, err := driver.ParseDSN(dsn)
		if err != nil {
			return nil, errors.New("dsn is not understood: " + dsnForms)
		}
		return cfg, nil
	}
	if scheme != "mysql" && scheme != "mariadb" {
		return nil, fmt.Errorf("dsn begins with %s://: %s", scheme, dsnForms)
	}
	return parseURL(dsn)
}

func parseURL(dsn string) (*driver.Config, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, errors.New("dsn is not a URL (characters such as @ : / # % in a password must be percent-encoded): " + dsnForms)
	}
	cfg := driver.NewConfig()
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(u.Hostname(), "3306")
	if u.Port() != "" {
		cfg.Addr = u.Host
	}
	for key, values := range u.Query() {
		switch key {
		case "socket":
			cfg.Net, cfg.Addr = "unix", values[0]
		default:
			return nil, fmt.Errorf("dsn has the unknown parameter %q; known: socket (TLS is set beside the dsn)", key)
		}
	}
	if cfg.Net == "tcp" && u.Hostname() == "" {
		return nil, errors.New("dsn names no host: " + dsnForms)
	}
	return cfg, nil
}
