package mysql

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/rowhook/rowhook/internal/change"
)

// touched is a table whose definition a statement changes, or may change.
type touched struct {
	// schema is change.AllTables if it may be any; table too, if it may be any of the schema.
	schema, table string
	kind          string
}

// names says how a server compares and writes names.
type names struct {
	flavor change.Flavor
	// lower is set where names of schemas and tables are kept in lower case, however a statement writes them.
	lower bool
}

// tablesOf returns the tables that a statement of definitions touches, in the order of its text, each once. body is the QUERY event's
// body that the text is from. What it cannot tell counts as a change of all tables: a table too many is asked for again, one that was
// missed would be read wrongly.
func (n names) tablesOf(schema string, text, body []byte) []touched {
	plain, ok := n.utf8(text, body)
	if !ok {
		return []touched{{change.AllTables, change.AllTables, change.SchemaOther}}
	}
	r := ddlReader{wordReader{plain}, n, schema}
	out, ok := r.statement()
	if !ok {
		return []touched{{change.AllTables, change.AllTables, change.SchemaOther}}
	}
	return distinct(out)
}

// utf8 converts a statement from the character set of the client that sent it.
func (n names) utf8(text, body []byte) ([]byte, bool) {
	if isASCII(text) {
		return text, true
	}
	id := clientCollation(body)
	if id == unknownCollation {
		return text, utf8.Valid(text)
	}
	coding := codingOf(id, n.flavor)
	if coding == nil {
		return nil, false
	}
	return coding.toUTF8(nil, text)
}

func distinct(in []touched) (out []touched) {
	seen := map[[2]string]bool{}
	for _, t := range in {
		if at := [2]string{t.schema, t.table}; !seen[at] {
			seen[at] = true
			out = append(out, t)
		}
	}
	return out
}

// Variables before the text of a statement, as far as they stand before the client's character set.
const (
	queryFlags         = 0
	querySQLMode       = 1
	queryCatalog       = 2
	queryAutoIncrement = 3
	queryCharset       = 4
	queryCatalogNoZero = 6
)

// clientCollation returns the collation of the client's character set, unknownCollation if the event does not say.
func clientCollation(body []byte) uint64 {
	const fixed = 4 + 4 + 1 + 2 + 2
	if len(body) < fixed {
		return unknownCollation
	}
	r := eventReader{b: body[fixed:]}
	r = eventReader{b: r.take(int(binary.LittleEndian.Uint16(body[11:])))}
	for len(r.b) > 0 && !r.failed {
		switch r.byte() {
		case queryFlags, queryAutoIncrement:
			r.take(4)
		case querySQLMode:
			r.take(8)
		case queryCatalog:
			r.take(int(r.byte()) + 1)
		case queryCatalogNoZero:
			r.take(int(r.byte()))
		case queryCharset:
			if v := r.take(2); v != nil {
				return littleEndian(v)
			}
		default:
			return unknownCollation
		}
	}
	return unknownCollation
}

// ddlReader finds the names of tables in a statement.
type ddlReader struct {
	wordReader
	names
	schema string // that of names without one
}

// statement returns the tables that are touched; ok is false if they cannot be told.
func (r *ddlReader) statement() (out []touched, ok bool) {
	switch r.next() {
	case "CREATE":
		return r.create()
	case "ALTER":
		return r.alter()
	case "DROP":
		return r.drop()
	case "TRUNCATE":
		r.optional("TABLE")
		return r.one(change.SchemaTruncate)
	case "RENAME":
		return r.rename()
	default: // no other statement of definitions changes a table
		return nil, true
	}
}

func (r *ddlReader) create() ([]touched, bool) {
	for {
		switch r.next() {
		case "OR", "REPLACE", "UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR", "ONLINE", "OFFLINE":
		case "TABLE":
			r.optional("IF", "NOT", "EXISTS")
			return r.one(change.SchemaCreate)
		case "INDEX":
			return r.index()
		default: // what else is made, or a temporary table, does not change a table
			return nil, true
		}
	}
}

// index reads the rest of CREATE INDEX and DROP INDEX.
func (r *ddlReader) index() ([]touched, bool) {
	for len(r.b) > 0 {
		if r.next() == "ON" {
			return r.one(change.SchemaAlter)
		}
	}
	return nil, false
}

func (r *ddlReader) alter() ([]touched, bool) {
	for {
		switch r.next() {
		case "ONLINE", "OFFLINE", "IGNORE":
		case "TABLE":
			r.optional("IF", "EXISTS")
			out, ok := r.one(change.SchemaAlter)
			if !ok {
				return nil, false
			}
			return r.alterations(out)
		default:
			return nil, true
		}
	}
}

// alterations looks for the other table of an ALTER TABLE: its new name, or the one that a partition is exchanged with.
func (r *ddlReader) alterations(out []touched) ([]touched, bool) {
	depth := 0
	for len(r.b) > 0 {
		if r.skipSpace(); len(r.b) == 0 {
			break
		}
		switch r.b[0] {
		case '(':
			depth++
		case ')':
			depth--
		}
		word := r.next()
		if depth != 0 {
			continue
		}
		more, ok := r.alteration(word, out[0])
		if !ok {
			return nil, false
		}
		out = append(out, more...)
	}
	return out, true
}

func (r *ddlReader) alteration(word string, table touched) (out []touched, ok bool) {
	switch word {
	case "RENAME":
		switch r.peek() {
		case "COLUMN", "INDEX", "KEY":
			return nil, true
		case "TO", "AS":
			r.next()
		}
		r.symbol('=')
		to, ok := r.table(change.SchemaRename)
		return []touched{to}, ok
	case "WITH", "CONVERT", "TO": // EXCHANGE PARTITION p WITH TABLE t; CONVERT TABLE t TO PARTITION, CONVERT PARTITION p TO TABLE t
		if r.peek() == "TABLE" {
			r.next()
			other, ok := r.table(change.SchemaAlter)
			return []touched{other}, ok
		}
	}
	return nil, table.table != ""
}

func (r *ddlReader) drop() ([]touched, bool) {
	switch r.next() {
	case "TABLE", "TABLES":
		r.optional("IF", "EXISTS")
		return r.list(func() ([]touched, bool) { return r.one(change.SchemaDrop) })
	case "DATABASE", "SCHEMA":
		r.optional("IF", "EXISTS")
		schema, ok := r.name()
		return []touched{{schema, change.AllTables, change.SchemaDrop}}, ok
	case "INDEX":
		return r.index()
	case "ONLINE", "OFFLINE":
		if r.next() == "INDEX" {
			return r.index()
		}
	}
	return nil, true
}

func (r *ddlReader) rename() ([]touched, bool) {
	if word := r.next(); word != "TABLE" && word != "TABLES" {
		return nil, true
	}
	r.optional("IF", "EXISTS")
	return r.list(func() ([]touched, bool) {
		from, ok := r.table(change.SchemaRename)
		if !ok {
			return nil, false
		}
		for word := r.next(); word != "TO"; word = r.next() { // WAIT n
			if len(r.b) == 0 {
				return nil, false
			}
		}
		to, ok := r.table(change.SchemaRename)
		return []touched{from, to}, ok
	})
}

// list reads items that commas part.
func (r *ddlReader) list(item func() ([]touched, bool)) (out []touched, ok bool) {
	for {
		more, ok := item()
		if !ok {
			return nil, false
		}
		out = append(out, more...)
		if !r.symbol(',') {
			return out, true
		}
	}
}

func (r *ddlReader) one(kind string) ([]touched, bool) {
	t, ok := r.table(kind)
	return []touched{t}, ok
}

// table reads a name with or without its schema.
func (r *ddlReader) table(kind string) (touched, bool) {
	t := touched{schema: r.fold(r.schema), kind: kind}
	r.symbol('.') // ".t" is an old way to say t
	var ok bool
	if t.table, ok = r.name(); !ok {
		return t, false
	}
	if r.symbol('.') {
		t.schema = t.table
		t.table, ok = r.name()
	}
	return t, ok && t.schema != "" && t.table != ""
}

// name reads one name. Where a name must stand, double quotes quote one.
func (r *ddlReader) name() (string, bool) {
	if r.skipSpace(); len(r.b) == 0 {
		return "", false
	}
	if c := r.b[0]; c == '`' || c == '"' {
		return r.quotedName(c)
	}
	n := 0
	for n < len(r.b) && isWord(r.b[n]) {
		n++
	}
	name := string(r.b[:n])
	r.b = r.b[n:]
	return r.fold(name), n > 0
}

func (r *ddlReader) quotedName(quote byte) (string, bool) {
	var name []byte
	for i := 1; i < len(r.b); i++ {
		if r.b[i] == quote {
			if i+1 == len(r.b) || r.b[i+1] != quote {
				r.b = r.b[i+1:]
				return r.fold(string(name)), len(name) > 0
			}
			i++ // a quote in the name stands twice
		}
		name = append(name, r.b[i])
	}
	return "", false
}

func (n names) fold(name string) string {
	if n.lower {
		return strings.ToLower(name)
	}
	return name
}

func (r *ddlReader) symbol(c byte) bool {
	if r.skipSpace(); len(r.b) == 0 || r.b[0] != c {
		return false
	}
	r.b = r.b[1:]
	return true
}

// peek returns the next word without passing over it.
func (r *ddlReader) peek() string {
	ahead := r.wordReader
	return ahead.next()
}

// optional passes over the words if they stand here, all of them.
func (r *ddlReader) optional(words ...string) {
	ahead := r.wordReader
	for _, w := range words {
		if ahead.next() != w {
			return
		}
	}
	r.wordReader = ahead
}
