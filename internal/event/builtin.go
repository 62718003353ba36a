package event

import (
	"strings"

	"github.com/rowhook/rowhook/internal/change"
)

// SchemaChangedType tells of statements that change definitions of followed tables. It is in every Set.
const SchemaChangedType = ownSchema + ".schema.changed"

// MatchType reports whether the pattern of a subscription names the type. Rowhook's own types are matched by their exact names only,
// so that "*" goes on to mean what it meant before they were there.
func MatchType(pattern, name string) bool {
	if strings.HasPrefix(name, ownSchema+".") {
		return pattern == name
	}
	return change.Glob(pattern, name)
}

// builtin returns the definitions that every Set has. They name no tenant: no tenant gets their events.
func builtin() []Definition {
	return []Definition{{
		Name: SchemaChangedType, Table: change.OwnSchema + "." + change.SchemaChangesName, On: []change.Op{change.Insert},
		Subject: "{schema}.{table}", Key: []string{"schema", "table"}, Data: []string{"kind", "schema", "table", "tables"},
	}}
}

// isBuiltin reports the names that no file can give to a type.
func isBuiltin(name string) bool { return name == TestType || name == SchemaChangedType }

// compileBuiltin is compile, but lets a type have a name of Rowhook's own.
func (c *compiler) compileBuiltin() *eventType {
	def := *c.def
	def.Name = "builtin"
	own := compiler{def: &def}
	t := own.compile()
	t.def.Name, c.problems = c.def.Name, own.problems
	return t
}
