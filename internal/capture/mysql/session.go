package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/rowhook/rowhook/internal/change"
)

// session is the connection that asks the server questions.
type session struct {
	db      *sql.DB
	flavor  change.Flavor
	version string
	// identity is server_uuid, or the server_id of a MariaDB.
	identity  string
	serverID  uint32
	encrypted bool
	// vars holds the global variables that matter, by name in lower case.
	vars map[string]string
}

// open connects and learns who the server is.
func (r *Replica) open(ctx context.Context) (*session, error) {
	connector, err := driver.NewConnector(r.dsn)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", r.addr(), err)
	}
	s := &session{db: sql.OpenDB(connector)}
	s.db.SetMaxOpenConns(2)
	if err := s.learn(ctx); err != nil {
		s.close()
		return nil, r.classify("connect to "+r.addr(), err)
	}
	return s, nil
}

func (s *session) close() { _ = s.db.Close() }

const variables = `'version','version_comment','server_id','server_uuid','log_bin','binlog_format','binlog_row_image','binlog_row_metadata',
'gtid_mode','enforce_gtid_consistency','gtid_strict_mode','binlog_expire_logs_seconds','expire_logs_days','log_replica_updates','log_slave_updates',
'binlog_row_value_options','binlog_transaction_compression','lower_case_table_names'`

func (s *session) learn(ctx context.Context) error {
	rows, err := s.table(ctx, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ("+variables+")")
	if err != nil {
		return err
	}
	s.vars = map[string]string{}
	for _, row := range rows {
		s.vars[strings.ToLower(row["variable_name"])] = row["value"]
	}
	s.version, s.flavor, s.identity = s.vars["version"], change.MySQL, s.vars["server_uuid"]
	id, err := strconv.ParseUint(s.vars["server_id"], 10, 32)
	if err != nil {
		return fmt.Errorf("server_id %q: %w", s.vars["server_id"], err)
	}
	s.serverID = uint32(id)
	if strings.Contains(s.version+s.vars["version_comment"], "MariaDB") || strings.Contains(s.vars["version_comment"], "mariadb") {
		s.flavor, s.identity = change.MariaDB, s.vars["server_id"]
	}
	rows, err = s.table(ctx, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")
	s.encrypted = len(rows) > 0 && rows[0]["value"] != ""
	return err
}

// on reports whether a variable is set; variables of old or other servers are missing.
func (s *session) on(name string) bool {
	v := strings.ToUpper(s.vars[name])
	return v == "ON" || v == "1"
}

// byFile reports whether a position is file and offset, because not all transactions have a GTID.
func (s *session) byFile() bool { return s.flavor == change.MySQL && !s.on(CodeGTIDMode) }

// table returns a result with column names in lower case. It is meant for the server's own small answers.
func (s *session) table(ctx context.Context, query string, args ...any) ([]map[string]string, error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var out []map[string]string
	values, into := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		row := make(map[string]string, len(names))
		for i, n := range names {
			row[strings.ToLower(n)] = values[i].String
		}
		out = append(out, row)
	}
	return out, rows.Err()
}

func (s *session) value(ctx context.Context, query string, args ...any) (string, error) {
	var v sql.NullString
	err := s.db.QueryRowContext(ctx, query, args...).Scan(&v)
	return v.String, err
}

// set asks for a GTID set.
func (s *session) set(ctx context.Context, query string, args ...any) (*change.GTIDSet, error) {
	text, err := s.value(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return change.ParseGTIDSet(s.flavor, text)
}

// executed is every transaction in the server's binlog, now or before it was purged.
func (s *session) executed(ctx context.Context) (*change.GTIDSet, error) {
	if s.flavor == change.MariaDB {
		// gtid_current_pos also counts what the server replicated without logging it.
		return s.set(ctx, "SELECT @@GLOBAL.gtid_binlog_pos")
	}
	return s.set(ctx, "SELECT @@GLOBAL.gtid_executed")
}

// purged is what the server can no longer send.
func (s *session) purged(ctx context.Context) (*change.GTIDSet, error) {
	if s.flavor == change.MySQL {
		return s.set(ctx, "SELECT @@GLOBAL.gtid_purged")
	}
	file, err := s.firstFile(ctx)
	if err != nil {
		return nil, err
	}
	return s.set(ctx, "SELECT BINLOG_GTID_POS(?, ?)", file, fileStart)
}

// fileStart is the offset of a binlog's first event, after its magic number.
const fileStart = 4

// fileSizes returns the binlog files and where each ends.
func (s *session) fileSizes(ctx context.Context) (map[string]uint64, error) {
	rows, err := s.table(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return nil, err
	}
	sizes := make(map[string]uint64, len(rows))
	for _, row := range rows {
		if sizes[row["log_name"]], err = strconv.ParseUint(row["file_size"], 10, 64); err != nil {
			return nil, fmt.Errorf("size of binlog %s: %w", row["log_name"], err)
		}
	}
	return sizes, nil
}

func (s *session) firstFile(ctx context.Context) (string, error) {
	files, err := s.table(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return "", err
	}
	if len(files) == 0 {
		return "", stop(CodeLogBin, logBinHint, "the server has no binlog")
	}
	return files[0]["log_name"], nil
}

// columnTypes returns COLUMN_TYPE by column of a table as it is now. MariaDB's JSON is a longtext with a check, and is named json.
func (s *session) columnTypes(ctx context.Context, schema, table string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	rows, err := s.table(ctx, "SELECT COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?", schema, table)
	if err != nil {
		return nil, err
	}
	types := make(map[string]string, len(rows))
	for _, row := range rows {
		types[row["column_name"]] = row["column_type"]
	}
	if s.flavor == change.MariaDB {
		err = s.markJSON(ctx, schema, table, types)
	}
	return types, err
}

// markJSON finds the columns whose check is exactly the one that MariaDB adds to a column declared as JSON.
func (s *session) markJSON(ctx context.Context, schema, table string, types map[string]string) error {
	checks, err := s.table(ctx, "SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = ? AND TABLE_NAME = ?", schema, table)
	if err != nil {
		return err
	}
	for _, c := range checks {
		name, ok := strings.CutPrefix(c["check_clause"], "json_valid(`")
		if name, ok2 := strings.CutSuffix(name, "`)"); ok && ok2 {
			name = strings.ReplaceAll(name, "``", "`")
			if types[name] == "longtext" {
				types[name] = "json"
			}
		}
	}
	return nil
}

// replicas returns the hosts of the connected replicas by server id.
func (s *session) replicas(ctx context.Context) (map[uint32]string, error) {
	rows, err := s.table(ctx, "SHOW REPLICAS")
	if code, _ := serverErrorCode(err); code == errSyntax {
		rows, err = s.table(ctx, "SHOW SLAVE HOSTS")
	}
	if err != nil {
		return nil, err
	}
	out := map[uint32]string{}
	for _, row := range rows {
		if id, err := strconv.ParseUint(row["server_id"], 10, 32); err == nil {
			out[uint32(id)] = row["host"]
		}
	}
	return out, nil
}

// errSyntax is how old servers answer to a statement they do not know.
const errSyntax = 1064

// kill ends the server's side of a connection that is closed already; without it the server would notice at its next heartbeat only.
func (s *session) kill(ctx context.Context, id uint32) {
	if id == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = s.db.ExecContext(ctx, "KILL "+strconv.FormatUint(uint64(id), 10))
}
