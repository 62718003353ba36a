package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/config"
)

// Scaffold is a first configuration for a server, made by looking at its tables.
type Scaffold struct {
	// Config is the text of rowhook.yaml, Types that of the file of event types.
	Config, Types string
	// Variable names the environment variable that the password is expected in.
	Variable string
	// Tables are those that got an event type; Left are the others, each with the reason.
	Tables, Left []string
}

// ScaffoldOptions say what to look at.
type ScaffoldOptions struct {
	Source config.Source
	// TypesFile is what Config names.
	TypesFile string
}

// NewScaffold asks the server for its tables and writes a type for each.
func NewScaffold(ctx context.Context, o ScaffoldOptions, log *slog.Logger) (*Scaffold, error) {
	r, err := NewReplica(o.Source, "", log)
	if err != nil {
		return nil, err
	}
	tables, err := r.Tables(ctx)
	if err != nil {
		return nil, err
	}
	s := &Scaffold{Variable: variableOf(o.Source.Name)}
	s.Types = s.types(tables)
	s.Config = s.config(o, tables)
	return s, nil
}

func variableOf(source string) string {
	return strings.ToUpper(strings.ReplaceAll(source, "-", "_")) + "_PASSWORD"
}

// plain is what may stand in YAML, in a template and in an expression as it is.
var plain = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// secretive finds columns that nobody means to send.
var secretive = regexp.MustCompile(`(?i)passw|secret|token|salt|hash|ssn|card_?n|cvv|iban|api_?key|private`)

const typesHead = `# Event types: which changes become events, and what leaves. Each one looks at every change on its own, so that
# adding a type never changes what another one sends. Only the columns under "data" leave Rowhook: go through them.
# All that can be said here is in docs/event-types.md; after an edit: rowhook reload

types:
`

func (s *Scaffold) types(tables []*change.Table) string {
	var b strings.Builder
	b.WriteString(typesHead)
	names := map[string]int{}
	for _, t := range tables {
		names[typeNameOf(t.Name)]++
	}
	written := 0
	for _, t := range tables {
		name := typeNameOf(t.Name)
		if names[name] > 1 {
			name = typeNameOf(t.Schema) + "." + name
		}
		if problem := s.typeOf(&b, name, t); problem != "" {
			s.Left = append(s.Left, t.FullName()+": "+problem)
			continue
		}
		s.Tables = append(s.Tables, t.FullName())
		written++
	}
	if written == 0 {
		b.WriteString("  {}\n")
	}
	return b.String()
}

var notTypeName = regexp.MustCompile(`[^a-z0-9_]+`)

func typeNameOf(table string) string {
	return strings.Trim(notTypeName.ReplaceAllString(strings.ToLower(table), "_"), "_")
}

// typeOf writes one type, or says why there is none.
func (s *Scaffold) typeOf(b *strings.Builder, name string, t *change.Table) (problem string) {
	var data, kept []string
	for _, c := range t.Columns {
		switch {
		case !plain.MatchString(c.Name), secretive.MatchString(c.Name):
			kept = append(kept, c.Name)
		default:
			data = append(data, c.Name)
		}
	}
	switch {
	case !plain.MatchString(t.Schema) || !plain.MatchString(t.Name) || name == "":
		return "its name has characters that need thought; write its type by hand"
	case len(data) == 0:
		return "none of its columns looks as if it should leave"
	}
	fmt.Fprintf(b, "\n  %s.changed:\n    table: %s\n    on: [insert, update, delete]\n", name, t.FullName())
	if subject := subjectOf(name, t); subject != "" {
		fmt.Fprintf(b, "    subject: %s\n", subject)
	}
	b.WriteString("    # columns: [" + data[len(data)-1] + "]   # updates count only if one of these changed\n")
	b.WriteString("    # when: op != 'delete' && has(after." + data[0] + ")   # an expression (CEL) over before and after\n")
	if len(kept) > 0 {
		b.WriteString("    # left out because of their names: " + strings.ToValidUTF8(strings.Join(strings.Fields(strings.Join(kept, ", ")), " "), "?") + "\n")
	}
	for i, name := range data {
		data[i] = word(name)
	}
	fmt.Fprintf(b, "    data: [%s]\n", strings.Join(data, ", "))
	return ""
}

// word quotes what YAML would take for something other than text.
func word(name string) string {
	switch strings.ToLower(name) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		return strconv.Quote(name)
	}
	return name
}

// subjectOf names the object by the primary key; empty if there is none that can be written plainly.
func subjectOf(name string, t *change.Table) string {
	var parts []string
	for _, i := range t.Key {
		c := t.Columns[i].Name
		if !plain.MatchString(c) || secretive.MatchString(c) {
			return ""
		}
		parts = append(parts, "{"+c+"}")
	}
	if len(parts) == 0 {
		return ""
	}
	return strings.ReplaceAll(name, ".", "/") + "/" + strings.Join(parts, "/")
}

func (s *Scaffold) config(o ScaffoldOptions, tables []*change.Table) string {
	var schemas []string
	for _, t := range tables {
		if p := t.Schema + ".*"; !slices.Contains(schemas, p) {
			schemas = append(schemas, p)
		}
	}
	followed := o.Source.Tables
	if len(schemas) > 0 && slices.Equal(followed, []string{"*.*"}) {
		followed = schemas
	}
	quoted := make([]string, len(followed))
	for i, f := range followed {
		quoted[i] = fmt.Sprintf("%q", f)
	}
	host, port, err := net.SplitHostPort(o.Source.Address)
	if err != nil {
		host, port = o.Source.Address, "3306"
	}
	password := ""
	if !o.Source.Password.Equal(config.NewPassword("")) {
		password = ":${" + s.Variable + "}"
	}
	return fmt.Sprintf(configText, o.Source.Name, url.User(o.Source.User).String(), password, net.JoinHostPort(host, port),
		strings.Join(quoted, ", "), o.TypesFile)
}

const configText = `# Rowhook's configuration. Everything that can be set here is in docs/configuration.md; to look it over:
#   rowhook check
# ${NAME} is an environment variable: keep passwords and secrets there. Paths are relative to this file's folder.

# The log of changes, the progress of deliveries, the record of attempts.
data_dir: ./rowhook-data

sources:
  - name: %s
    dsn: mysql://%s%s@%s/
    # Where a source without a log begins: now, or with the oldest binlog that the server has.
    attach: now
    # Only these tables' rows are ever stored here; name fewer if you can.
    tables: [%s]
    # Columns that must not even enter the log:
    # exclude_columns: [app.users.password]

types: [%s]

# Who gets what. Endpoints and subscriptions can also be made while Rowhook runs: rowhook endpoint create --help
# endpoints:
#   - name: billing
#     url: https://hooks.example.com/billing
#     secrets: ["${BILLING_SECRET}"]    # make one: rowhook secret
# subscriptions:
#   - name: everything
#     endpoint: billing
#     types: ["*"]

# For receivers on this machine or in your own network, while you try things out:
# egress:
#   allow_http: true
#   allow: [127.0.0.0/8]
`
