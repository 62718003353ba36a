package change

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Statements that change definitions of tables stand in the log as inserts into a table of their own, in the order of the stream:
// whoever reads rows reads them, and a resumed transaction counts them as it counts any rows.
const (
	// OwnSchema is the schema of Rowhook's own tables. No pattern with a wildcard matches them.
	OwnSchema = "rowhook"
	// SchemaChangesName is the table of schema changes. No server has it: one of that name is not followed.
	SchemaChangesName = "schema_changes"
)

// Kinds of schema changes.
const (
	SchemaCreate   = "create"
	SchemaAlter    = "alter"
	SchemaRename   = "rename"
	SchemaDrop     = "drop"
	SchemaTruncate = "truncate"
	SchemaOther    = "other"
)

// AllTables stands for every table of a schema, or for every schema.
const AllTables = "*"

// SchemaChange is what a statement did, or may have done, to one table.
type SchemaChange struct {
	Schema string `json:"schema"`
	// Table is AllTables if the statement may have touched every table of the schema.
	Table string `json:"table"`
	// Kind is one of SchemaCreate and its like.
	Kind string `json:"kind"`
}

// Columns of the table of schema changes, by their numbers.
const (
	schemaChangeSchema = iota + 1
	schemaChangeTable
	schemaChangeKind
	schemaChangeTables
)

// NewSchemaChangesTable returns the description of the table of schema changes.
func NewSchemaChangesTable() *Table {
	return &Table{Schema: OwnSchema, Name: SchemaChangesName, Columns: []Column{
		{Name: "schema", Number: schemaChangeSchema, Kind: Text, Type: "text"},
		{Name: "table", Number: schemaChangeTable, Kind: Text, Type: "text"},
		{Name: "kind", Number: schemaChangeKind, Kind: Text, Type: "text"},
		{Name: "tables", Number: schemaChangeTables, Kind: JSON, Type: "json"},
	}}
}

// IsSchemaChange reports whether changes of t are schema changes.
func (t *Table) IsSchemaChange() bool { return t.Schema == OwnSchema && t.Name == SchemaChangesName }

// AppendSchemaChange appends the row of one statement to p: the first of the tables that it touched, and all of them. There must be one.
func AppendSchemaChange(p []byte, touched []SchemaChange) ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(touched); err != nil {
		return p, fmt.Errorf("write a schema change as JSON: %w", err)
	}
	first := &touched[0]
	p = AppendBytes(p, schemaChangeSchema, []byte(first.Schema), false)
	p = AppendBytes(p, schemaChangeTable, []byte(first.Table), false)
	p = AppendBytes(p, schemaChangeKind, []byte(first.Kind), false)
	return AppendBytes(p, schemaChangeTables, bytes.TrimSpace(text.Bytes()), false), nil
}
