package mysql

import (
	"bytes"
	"strings"
)

// statement is what a QUERY event means for the transaction around it.
type statement int

const (
	stmtNothing statement = iota // a comment: the server's stand-in for an event it left out
	stmtBegin
	stmtCommit
	stmtRollback
	stmtRollbackTo
	stmtSavepoint
	stmtXAStart
	stmtXAEnd
	stmtXAFinish // XA COMMIT or XA ROLLBACK of a prepared transaction
	stmtDDL
	stmtServerTable // changes a table of the schema mysql
	stmtChange      // may change rows, and the binlog does not say which
)

// classify looks at the first words only; the rest of a statement is never needed, and a statement it does not know counts as a change.
func classifyStatement(schema string, text []byte) statement {
	w := wordReader{b: text}
	if w.skipSpace(); len(w.b) == 0 {
		return stmtNothing
	}
	switch w.next() {
	case "BEGIN", "START":
		return stmtBegin
	case "COMMIT":
		return stmtCommit
	case "ROLLBACK":
		if next := w.next(); next == "TO" || next == "WORK" && w.next() == "TO" {
			return stmtRollbackTo
		}
		return stmtRollback
	case "SAVEPOINT", "RELEASE":
		return stmtSavepoint
	case "XA":
		return classifyXA(w.next())
	case "CREATE":
		return classifyCreate(&w)
	case "ALTER", "DROP", "TRUNCATE", "RENAME", "GRANT", "REVOKE", "SET", "FLUSH", "ANALYZE", "OPTIMIZE", "REPAIR", "CHECK", "CHECKSUM",
		"INSTALL", "UNINSTALL", "CACHE", "RESET", "PURGE", "LOCK", "UNLOCK", "SHUTDOWN":
		return stmtDDL
	case "INSERT", "REPLACE", "DELETE":
		if serverTable(schema, &w) {
			return stmtServerTable
		}
	}
	return stmtChange
}

func classifyXA(verb string) statement {
	switch verb {
	case "START", "BEGIN":
		return stmtXAStart
	case "END", "PREPARE":
		return stmtXAEnd
	case "COMMIT", "ROLLBACK":
		return stmtXAFinish
	}
	return stmtChange
}

// classifyCreate tells CREATE TABLE … SELECT apart, which fills the table by statement. In row format the server writes it without
// the SELECT.
func classifyCreate(w *wordReader) statement {
	for {
		switch w.next() {
		case "OR", "REPLACE", "TEMPORARY":
			continue
		case "TABLE":
		default:
			return stmtDDL
		}
		break
	}
	for len(w.b) > 0 {
		if w.next() == "SELECT" {
			return stmtChange
		}
	}
	return stmtDDL
}

// serverTable reports a change of a table in the schema mysql, which managed servers make by statement. No trigger and no foreign key
// leads from there to other tables.
func serverTable(schema string, w *wordReader) bool {
	for range 4 {
		switch word := w.next(); word {
		case "LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "QUICK", "IGNORE", "INTO", "FROM":
			continue
		default:
			if w.qualified() {
				return strings.TrimPrefix(word, "`") == "MYSQL"
			}
			return word != "" && strings.EqualFold(schema, "mysql")
		}
	}
	return false
}

// wordReader reads words and quoted names in upper case; it passes over comments, quoted strings and everything else.
type wordReader struct{ b []byte }

// maxWord bounds what is looked at as one word.
const maxWord = 256

// next returns the next word, with a backquote before it if it was quoted, or "" for the next other character.
func (w *wordReader) next() string {
	w.skipSpace()
	if len(w.b) == 0 {
		return ""
	}
	switch c := w.b[0]; {
	case c == '`':
		return w.quoted(c)
	case c == '\'' || c == '"':
		w.quoted(c)
		return ""
	case isWord(c):
		n := 1
		for n < len(w.b) && isWord(w.b[n]) {
			n++
		}
		word := string(bytes.ToUpper(w.b[:min(n, maxWord)]))
		w.b = w.b[n:]
		return word
	}
	w.b = w.b[1:]
	return ""
}

// qualified reports whether a dot follows, so that the word before it named a schema.
func (w *wordReader) qualified() bool {
	w.skipSpace()
	return len(w.b) > 0 && w.b[0] == '.'
}

func (w *wordReader) quoted(quote byte) string {
	for i := 1; i < len(w.b); i++ {
		switch {
		case w.b[i] == '\\' && quote != '`':
			i++
		case w.b[i] == quote && i+1 < len(w.b) && w.b[i+1] == quote:
			i++
		case w.b[i] == quote:
			word := string(bytes.ToUpper(w.b[1:min(i, maxWord)]))
			w.b = w.b[i+1:]
			return "`" + word
		}
	}
	w.b = nil
	return ""
}

// skipSpace passes over white space and comments. The content of a versioned comment, /*!50100 … */, is part of the statement.
func (w *wordReader) skipSpace() {
	for {
		w.b = bytes.TrimLeft(w.b, " \t\r\n\f\v;\x00")
		switch {
		case bytes.HasPrefix(w.b, []byte("/*!")), bytes.HasPrefix(w.b, []byte("/*M!")):
			w.b = bytes.TrimLeft(w.b[bytes.IndexByte(w.b, '!')+1:], "0123456789")
		case bytes.HasPrefix(w.b, []byte("/*")):
			w.skipTo("*/")
		case bytes.HasPrefix(w.b, []byte("*/")): // the end of a versioned comment
			w.b = w.b[2:]
		case bytes.HasPrefix(w.b, []byte("#")), bytes.HasPrefix(w.b, []byte("--")) && (len(w.b) == 2 || w.b[2] <= ' '): // "--\n" too
			w.skipTo("\n")
		default:
			return
		}
	}
}

func (w *wordReader) skipTo(end string) {
	i := bytes.Index(w.b, []byte(end))
	if i < 0 {
		w.b = nil
		return
	}
	w.b = w.b[i+len(end):]
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c >= 0x80
}
