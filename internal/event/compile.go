package event

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/cel"

	"github.com/rowhook/rowhook/internal/change"
)

// Set is a set of compiled event types. It is immutable.
type Set struct{ types []*eventType }

// eventType is a compiled definition.
type eventType struct {
	def             Definition
	pattern         pattern
	ops             opMask
	when            *expression
	subject, tenant template
	masks           map[string]mask
}

type opMask uint8

func (m opMask) has(op change.Op) bool { return m&(1<<op) != 0 }

// Compile makes event types ready to match, beside those that are built in. The error joins a *Problem for everything that is wrong.
func Compile(defs []Definition) (*Set, error) {
	var problems []error
	s := &Set{}
	first := map[string]*Definition{}
	for i := range defs {
		d := &defs[i]
		c := compiler{def: d}
		t := c.compile()
		if other, ok := first[d.Name]; ok {
			c.report(c.def.origin.at("", -1), "the name is taken%s; names are unique over all files", other.origin.where())
		} else {
			first[d.Name] = d
		}
		problems = append(problems, c.problems...)
		s.types = append(s.types, t)
	}
	own := builtin()
	for i := range own {
		c := compiler{def: &own[i]}
		s.types = append(s.types, c.compileBuiltin())
		problems = append(problems, c.problems...)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	slices.SortFunc(s.types, func(a, b *eventType) int { return cmp.Compare(a.def.Name, b.def.Name) })
	return s, nil
}

func (o *origin) where() string {
	if o.src == nil {
		return ""
	}
	return fmt.Sprintf(" at %s:%d", o.src.file, o.fields[""].line)
}

// Definitions returns a copy of the definitions, sorted by name, with those that are built in.
func (s *Set) Definitions() []Definition {
	out := make([]Definition, 0, len(s.types))
	for _, t := range s.types {
		out = append(out, t.def)
	}
	return out
}

// Definition returns the named type's definition.
func (s *Set) Definition(name string) (Definition, bool) {
	i, ok := slices.BinarySearchFunc(s.types, name, func(t *eventType, name string) int { return cmp.Compare(t.def.Name, name) })
	if !ok {
		return Definition{}, false
	}
	return s.types[i].def, true
}

// Names returns the names of the types, sorted.
func (s *Set) Names() []string {
	out := make([]string, 0, len(s.types))
	for _, t := range s.types {
		out = append(out, t.def.Name)
	}
	return out
}

// Wants reports whether any type looks at the table.
func (s *Set) Wants(schema, table string) bool {
	return slices.ContainsFunc(s.types, func(t *eventType) bool { return t.pattern.match(schema, table) })
}

// environment is built once: it never changes and costs a millisecond.
var environment = sync.OnceValues(newEnvironment)

// compiler checks and compiles one definition and collects what is wrong with it.
type compiler struct {
	def      *Definition
	problems []error
}

func (c *compiler) report(at place, format string, args ...any) {
	c.problems = append(c.problems, c.def.origin.src.problem(at, "type %s: %s", c.def.Name, fmt.Sprintf(format, args...)))
}

func (c *compiler) reportField(field, format string, args ...any) {
	c.report(c.def.origin.at(field, -1), field+": "+format, args...)
}

func (c *compiler) broken(field string) bool { return c.def.origin.broken[field] }

func (c *compiler) compile() *eventType {
	t := &eventType{def: *c.def}
	c.name()
	t.pattern = c.table()
	t.ops = c.ops()
	c.lists(t.ops)
	t.when = c.when()
	t.subject = c.template(fieldSubject, c.def.Subject)
	t.tenant = c.template(fieldTenant, c.def.Tenant)
	t.masks = c.masks()
	return t
}

func (c *compiler) name() {
	switch {
	case !validName(c.def.Name):
		c.report(c.def.origin.at("", -1), "the name must be words of a-z, 0-9 and _ joined by dots, such as order.paid")
	case len(c.def.Name) > maxName:
		c.report(c.def.origin.at("", -1), "the name is longer than %d bytes", maxName)
	case strings.HasPrefix(c.def.Name, ownSchema+"."):
		c.report(c.def.origin.at("", -1), "names that begin with %s. are Rowhook's own; choose another", ownSchema)
	}
}

const maxName = 128

var typeName = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)*$`)

func validName(s string) bool { return typeName.MatchString(s) }

func (c *compiler) table() pattern {
	if c.broken(fieldTable) {
		return pattern{}
	}
	if c.def.Table == "" {
		c.report(c.def.origin.at("", -1), `table is missing; write table: schema.table`)
		return pattern{}
	}
	p, err := parsePattern(c.def.Table)
	if err != nil {
		c.reportField(fieldTable, "%v", err)
	}
	return p
}

func (c *compiler) ops() opMask {
	ops := c.def.On
	if len(ops) == 0 {
		ops = []change.Op{change.Insert, change.Update, change.Delete}
	}
	var m opMask
	for i, op := range ops {
		switch {
		case op < change.Insert || op > change.Snapshot:
			c.report(c.def.origin.at(fieldOn, i), "on: unknown operation %d", op)
			continue
		case m.has(op):
			c.report(c.def.origin.at(fieldOn, i), "on: %s stands twice; remove one", op)
		}
		m |= 1 << op
	}
	return m
}

func (c *compiler) lists(ops opMask) {
	c.list(fieldColumns, c.def.Columns)
	c.list(fieldKey, c.def.Key)
	c.list(fieldData, c.def.Data)
	if len(c.def.Data) == 0 && !c.broken(fieldData) {
		c.report(c.def.origin.at("", -1), "data is missing; list the columns that may leave: data: [id, …]")
	}
	if len(c.def.Columns) > 0 && !ops.has(change.Update) && !c.broken(fieldOn) {
		c.reportField(fieldColumns, "only an update changes columns; add update to on, or remove columns")
	}
}

func (c *compiler) list(field string, names []string) {
	for i, name := range names {
		switch {
		case name == "":
			c.report(c.def.origin.at(field, i), "%s: a column without a name", field)
		case field == fieldData && name == "*":
			c.report(c.def.origin.at(field, i), "data: * is not allowed; name each column that may leave")
		}
	}
	for _, name := range duplicates(names) {
		last := len(names) - 1
		for names[last] != name {
			last--
		}
		c.report(c.def.origin.at(field, last), "%s: %s stands twice; remove one", field, name)
	}
}

func (c *compiler) when() *expression {
	if c.def.When == "" || c.broken(fieldWhen) {
		return nil
	}
	env, err := environment()
	if err != nil {
		c.reportField(fieldWhen, "%v", err)
		return nil
	}
	return c.expression(env)
}

func (c *compiler) expression(env *cel.Env) *expression {
	x, problems := compileExpression(env, c.def.When)
	for _, p := range problems {
		c.report(c.def.origin.within(fieldWhen, p.at), "when, line %d column %d: %s", p.at.line, p.at.column, p.msg)
	}
	return x
}

func (c *compiler) template(field, text string) template {
	t, err := parseTemplate(text)
	if err != nil {
		c.report(c.def.origin.within(field, place{1, utf8.RuneCountInString(text[:err.offset]) + 1}), "%s: %v", field, err)
	}
	return t
}
