package webhook

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Dialect is the SQL of one kind of database.
type Dialect string

// The dialects. Each is known by any database/sql driver for that database.
const (
	// MySQL is MySQL from 5.7 and MariaDB from 10.3, with InnoDB.
	MySQL Dialect = "mysql"
	// PostgreSQL is PostgreSQL from 9.5.
	PostgreSQL Dialect = "postgresql"
	// SQLite is SQLite from 3.24.
	SQLite Dialect = "sqlite"
)

// Bounds of what Newer takes, in bytes: the columns of MySQL are as long.
const (
	maxSourceBytes = 256
	maxKeyBytes    = 512
)

// seqsSuffix makes the name of the table of seqs.
const seqsSuffix = "_seqs"

// inboxSQL are the statements of one dialect. Times are milliseconds since 1970, in a BIGINT: a timestamp would depend on the
// session's time zone and on options of the driver.
type inboxSQL struct {
	schema []string
	// createFirst is run by Create before the schema, in the same transaction.
	createFirst []string
	// accept inserts (id, time). It changes one row if the id is new, else acceptRepeat rows.
	accept       string
	acceptRepeat int64
	// raise stores a larger seq: one row is changed if it is larger, else none. MySQL's differs, see mysqlInbox.
	raise, raiseFirst string
	// prune deletes at most (second) ids from before a time (first).
	prune string
}

// inboxStatements returns the statements for a table.
func inboxStatements(d Dialect, table string) (inboxSQL, error) {
	schema, name, err := splitTable(table)
	if err != nil {
		return inboxSQL{}, err
	}
	switch d {
	case MySQL:
		return mysqlInbox(qualified(schema, name, "`"), qualified(schema, name+seqsSuffix, "`")), nil
	case PostgreSQL:
		return postgresInbox(qualified(schema, name, `"`), qualified(schema, name+seqsSuffix, `"`), qualified("", name+"_received_at", `"`)), nil
	case SQLite:
		index := fmt.Sprintf("%s ON %s", qualified(schema, name+"_received_at", `"`), qualified("", name, `"`))
		return sqliteInbox(qualified(schema, name, `"`), qualified(schema, name+seqsSuffix, `"`), index), nil
	default:
		return inboxSQL{}, fmt.Errorf("%q is no dialect: use webhook.MySQL, webhook.PostgreSQL or webhook.SQLite", string(d))
	}
}

// mysqlInbox has to tell new from known by the number of changed rows alone, and that number depends on an option of the
// connection: a known row that is not changed counts 0, or with clientFoundRows 1, like a new one. INSERT IGNORE would count right
// but also turns other errors into "known". So accept changes a known row, which then counts 2; and raise inserts a new key with
// seq 0, which no event has, for raiseFirst to find.
func mysqlInbox(ids, seqs string) inboxSQL {
	return inboxSQL{
		schema: []string{
			"CREATE TABLE IF NOT EXISTS " + ids + ` (
  id VARCHAR(256) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  received_at BIGINT NOT NULL,
  repeats INT UNSIGNED NOT NULL DEFAULT 0,
  PRIMARY KEY (id),
  KEY received_at (received_at)
) ENGINE=InnoDB`,
			// Binary, because a collation might take two keys for one.
			"CREATE TABLE IF NOT EXISTS " + seqs + ` (
  source VARBINARY(256) NOT NULL,
  row_key VARBINARY(512) NOT NULL,
  seq BIGINT NOT NULL,
  received_at BIGINT NOT NULL,
  PRIMARY KEY (source, row_key)
) ENGINE=InnoDB`,
		},
		accept:       "INSERT INTO " + ids + " (id, received_at) VALUES (?, ?) ON DUPLICATE KEY UPDATE repeats = repeats + 1",
		acceptRepeat: 2,
		// The time goes first: it asks for the old seq.
		raise: "INSERT INTO " + seqs + " (source, row_key, seq, received_at) VALUES (?, ?, 0, ?)" +
			" ON DUPLICATE KEY UPDATE received_at = IF(seq < ?, ?, received_at), seq = IF(seq < ?, ?, seq)",
		raiseFirst: "UPDATE " + seqs + " SET seq = ? WHERE source = ? AND row_key = ? AND seq = 0",
		prune:      "DELETE FROM " + ids + " WHERE received_at < ? ORDER BY received_at LIMIT ?",
	}
}

func postgresInbox(ids, seqs, index string) inboxSQL {
	return inboxSQL{
		schema: []string{
			"CREATE TABLE IF NOT EXISTS " + ids + ` (
  id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  received_at BIGINT NOT NULL
)`,
			"CREATE INDEX IF NOT EXISTS " + index + " ON " + ids + " (received_at)",
			"CREATE TABLE IF NOT EXISTS " + seqs + ` (
  source TEXT COLLATE "C" NOT NULL,
  row_key TEXT COLLATE "C" NOT NULL,
  seq BIGINT NOT NULL,
  received_at BIGINT NOT NULL,
  PRIMARY KEY (source, row_key)
)`,
		},
		// Two sessions that create the same table at once fail, even with IF NOT EXISTS. The number stands for nothing.
		createFirst: []string{"SELECT pg_advisory_xact_lock(7310577431602951266)"},
		accept:      "INSERT INTO " + ids + " (id, received_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
		raise: "INSERT INTO " + seqs + " AS stored (source, row_key, seq, received_at) VALUES ($1, $2, $3, $4)" +
			" ON CONFLICT (source, row_key) DO UPDATE SET seq = excluded.seq, received_at = excluded.received_at WHERE stored.seq < excluded.seq",
		// Two that prune at once take different rows; an array is found once, a subquery might be run again.
		prune: "DELETE FROM " + ids + " WHERE id = ANY (ARRAY(SELECT id FROM " + ids +
			" WHERE received_at < $1 ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
	}
}

func sqliteInbox(ids, seqs, index string) inboxSQL {
	return inboxSQL{
		schema: []string{
			"CREATE TABLE IF NOT EXISTS " + ids + ` (
  id TEXT NOT NULL PRIMARY KEY,
  received_at INTEGER NOT NULL
) WITHOUT ROWID`,
			"CREATE INDEX IF NOT EXISTS " + index + " (received_at)",
			"CREATE TABLE IF NOT EXISTS " + seqs + ` (
  source TEXT NOT NULL,
  row_key TEXT NOT NULL,
  seq INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  PRIMARY KEY (source, row_key)
) WITHOUT ROWID`,
		},
		accept: "INSERT INTO " + ids + " (id, received_at) VALUES (?, ?) ON CONFLICT (id) DO NOTHING",
		raise: "INSERT INTO " + seqs + " AS stored (source, row_key, seq, received_at) VALUES (?, ?, ?, ?)" +
			" ON CONFLICT (source, row_key) DO UPDATE SET seq = excluded.seq, received_at = excluded.received_at WHERE stored.seq < excluded.seq",
		prune: "DELETE FROM " + ids + " WHERE id IN (SELECT id FROM " + ids + " WHERE received_at < ? ORDER BY received_at LIMIT ?)",
	}
}

// splitTable takes "schema.table" or "table" apart. PostgreSQL cuts names at 63 bytes; the longest made from the table's has 12
// more.
func splitTable(text string) (schema, name string, err error) {
	name = text
	if before, after, found := strings.Cut(text, "."); found {
		schema, name = before, after
		if !identifier(schema) {
			return "", "", fmt.Errorf("%.80q is no schema in the name of a table: want at most 48 letters, digits and underscores", schema)
		}
	}
	if !identifier(name) {
		return "", "", fmt.Errorf("%.80q is no name of a table: want at most 48 letters, digits and underscores, not a digit first", name)
	}
	return schema, name, nil
}

func identifier(s string) bool {
	ok, err := regexp.MatchString(`^[A-Za-z_][A-Za-z0-9_]{0,47}$`, s)
	return ok && err == nil
}

// qualified quotes names that were checked to need no escaping.
func qualified(schema, name, quote string) string {
	if schema == "" {
		return quote + name + quote
	}
	return quote + schema + quote + "." + quote + name + quote
}

// checkPlace reports what Newer cannot store.
func checkPlace(source, key string, seq uint64) error {
	if err := checkText("source", source, maxSourceBytes); err != nil {
		return err
	}
	if err := checkText("key", key, maxKeyBytes); err != nil {
		return err
	}
	if seq == 0 {
		return errors.New("the seq is 0: the first change has 1, and an event that is not about a change has none")
	}
	if seq > math.MaxInt64 {
		return fmt.Errorf("the seq is %d, more than %d", seq, int64(math.MaxInt64))
	}
	return nil
}

func checkText(what, s string, most int) error {
	switch {
	case s == "":
		return fmt.Errorf("the %s is empty", what)
	case len(s) > most:
		return fmt.Errorf("the %s has %d bytes, more than %d", what, len(s), most)
	case !utf8.ValidString(s), strings.Contains(s, "\x00"):
		return fmt.Errorf("the %s is not UTF-8 without NUL", what)
	}
	return nil
}
