package config

import (
	"errors"
	"math"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

const defaultMySQLPort = "3306"

var sourceName = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)

// sources reads the list of sources.
func (r *reader) sources(v value) []Source {
	var all []Source
	var names []string
	ok := r.list(v, func(v value) {
		s := r.source(v)
		if s.Name != "" && slices.Contains(names, s.Name) {
			r.fail(v, "each source has its own name", "a source named %q stands above already", s.Name)
		}
		names = append(names, s.Name)
		all = append(all, s)
	})
	if ok && len(all) == 0 {
		r.fail(v, "add a source with name, dsn and tables", "is empty")
	}
	return all
}

func (r *reader) source(v value) Source {
	var s Source
	r.object(v,
		field{"name", func(v value) { s.Name = r.name(v, sourceName) }},
		field{"dsn", func(v value) { s.Address, s.User, s.Password = r.dsn(v) }},
		field{"tls", func(v value) { s.TLS = r.tls(v) }},
		field{"server_id", func(v value) { s.ServerID = uint32(r.integer(v, 0, math.MaxUint32)) }},
		field{"heartbeat", func(v value) { s.Heartbeat = r.duration(v, time.Second, 10*time.Second) }},
		field{"generation", func(v value) { s.Generation = uint32(r.integer(v, 1, math.MaxUint32)) }},
		field{"attach", func(v value) { s.Attach = choice(r, v, FromNow, FromEarliest) }},
		field{"tables", func(v value) { s.Tables = r.patterns(v, "schema.table") }},
		field{"exclude_columns", func(v value) { s.ExcludeColumns = r.patterns(v, "schema.table.column") }},
	)
	return s
}

// dsn reads mysql://user:password@host:port/. Its errors do not quote it.
func (r *reader) dsn(v value) (address, user string, password Password) {
	text, _, ok := r.raw(v)
	if !ok {
		return "", "", Password{}
	}
	text, ok = r.expand(v, text, encodeUserinfo)
	if !ok {
		return "", "", Password{}
	}
	hint := "write " + r.keys[v.path].Value
	u, err := url.Parse(text)
	if err != nil {
		r.fail(v, hint+"; the characters % / ? # and @ in a password are written %25 %2F %3F %23 and %40", "is not a DSN: %s", urlReason(err))
		return "", "", Password{}
	}
	if problem := dsnProblem(u); problem != "" {
		r.fail(v, hint, "%s", problem)
		return "", "", Password{}
	}
	port := u.Port()
	if port == "" {
		port = defaultMySQLPort
	}
	secret, _ := u.User.Password()
	return net.JoinHostPort(u.Hostname(), port), u.User.Username(), NewPassword(secret)
}

// dsnProblem says what a DSN has too much or too little of.
func dsnProblem(u *url.URL) string {
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	switch {
	case u.Scheme != "mysql":
		return "does not begin with mysql://"
	case u.User.Username() == "":
		return "has no user"
	case u.Hostname() == "":
		return "has no host"
	case u.Port() != "" && (err != nil || port == 0):
		return "has a port that is not between 1 and 65535"
	case u.Path != "" && u.Path != "/":
		return "names a database; tables says which schemas are followed"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "has options after the address; TLS and the like have keys of their own beside dsn"
	}
	return ""
}

// encodeUserinfo encodes a variable that stands between // and the @, so that
// a password may have any characters. One that stands for more than the user or
// the password brings its own encoding.
func encodeUserinfo(before, after, val string) string {
	_, authority, found := strings.Cut(before, "//")
	if !found || strings.Contains(authority, "@") || !strings.Contains(after, "@") {
		return val
	}
	return strings.ReplaceAll(url.QueryEscape(val), "+", "%20")
}

// urlReason is an error of url.Parse, which quotes what it could not parse,
// reduced to what it found.
func urlReason(err error) string {
	if inner := (*url.Error)(nil); errors.As(err, &inner) {
		err = inner.Err
	}
	text, _, _ := strings.Cut(err.Error(), `"`)
	return strings.TrimSpace(text)
}

func (r *reader) tls(v value) TLS {
	var t TLS
	var ca, cert, key value
	r.object(v,
		field{"mode", func(v value) {
			t.Mode = choice(r, v, TLSDisabled, TLSPreferred, TLSRequired, TLSVerifyCA, TLSVerifyIdentity)
		}},
		field{"ca", func(v value) { ca, t.CA = v, r.pem(v) }},
		field{"cert", func(v value) { cert, t.Cert = v, r.pem(v) }},
		field{"key", func(v value) { key, t.Key = v, r.pem(v) }},
	)
	switch {
	case ca.given && (t.Mode == TLSDisabled || t.Mode == TLSPreferred || t.Mode == TLSRequired):
		r.fail(ca, "set mode: verify-ca or mode: verify-identity", "is not used: mode %s verifies nothing", t.Mode)
	case cert.given && !key.given:
		r.fail(cert, "add key", "stands without its key")
	case key.given && !cert.given:
		r.fail(key, "add cert", "stands without its cert")
	case cert.given && t.Mode == TLSDisabled:
		r.fail(cert, "set another mode, or remove cert and key", "is not used: mode disabled has no TLS")
	}
	return t
}

// pem returns the path of a file that has to be there.
func (r *reader) pem(v value) string {
	path := r.path(v)
	if path != "" {
		r.files = append(r.files, file{v, path, false})
	}
	return path
}

// patterns reads names of as many parts as form has.
func (r *reader) patterns(v value, form string) []string {
	var all []string
	ok := r.list(v, func(v value) {
		text := r.text(v)
		if text == "" {
			return
		}
		if problem := patternProblem(text, form); problem != "" {
			r.fail(v, "write "+form+", such as "+map[string]string{
				"schema.table":        "app.orders or app.*",
				"schema.table.column": "app.users.password or *.*.password",
			}[form], "%s %s", r.quoted(v), problem)
			return
		}
		all = append(all, text)
	})
	if ok && len(all) == 0 && r.keys[v.path].Required && !r.failed(v) {
		r.fail(v, `"*.*" follows every table`, "is empty")
	}
	return all
}

// patternProblem says why text is not a pattern of that form.
func patternProblem(text, form string) string {
	parts := strings.Split(text, ".")
	switch {
	case strings.ContainsAny(text, "`\"'"):
		return "has quotes in it, which names are written without here"
	case strings.ContainsAny(text, " \t\r\n"):
		return "has a space in it"
	case len(parts) != strings.Count(form, ".")+1 || slices.Contains(parts, ""):
		return "is not of the form " + form
	}
	return ""
}

// ParseSource makes a source of what a command line says, by the rules of the file and with its defaults.
func ParseSource(name, dsn string, tables []string) (Source, error) {
	text := map[string]any{"name": name, "dsn": strings.ReplaceAll(dsn, "${", "$${"), "tables": tables}
	src, err := yaml.Marshal(map[string]any{"sources": []any{text}})
	if err != nil {
		return Source{}, err
	}
	r := newReader("the command line", src, func(string) (string, bool) { return "", false })
	c := r.config(src)
	if err := r.errs.err(); err != nil {
		return Source{}, err
	}
	return c.Sources[0], nil
}
