package mysql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rowhook/rowhook/internal/change"
)

// Severity says what a finding means for the source.
type Severity string

// The severities, worst first.
const (
	Error   Severity = "error"   // the source cannot be followed
	Warning Severity = "warning" // it can, with a risk or a loss that the message names
	OK      Severity = "ok"
)

// Finding is one result of Check.
type Finding struct {
	// Code names the thing that was looked at.
	Code     string
	Severity Severity
	// Subject is what it was found on: the server, a setting, a table, a column.
	Subject string
	Message string
	// SQL is what to run to put it right; empty if no statement can.
	SQL string
}

// Check looks at everything that following the source needs, and reports all of it at once. The error is that of a ctx that ended; a
// server that cannot be reached is a finding.
func (r *Replica) Check(ctx context.Context) ([]Finding, error) {
	s, err := r.open(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return []Finding{r.connectFinding(err)}, nil
	}
	defer s.close()
	found := append([]Finding{r.connected(s)}, settingFindings(s)...)
	found = append(found, adviceFindings(s)...)
	for _, check := range []func(context.Context, *session) ([]Finding, error){r.checkPrivileges, r.checkServerID, r.checkUpstream, r.checkTables} {
		more, err := check(ctx, s)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			more = append(more, r.connectFinding(r.classify("check "+r.addr(), err)))
		}
		found = append(found, more...)
	}
	return found, nil
}

// connectFinding is what a failed connection tells.
func (r *Replica) connectFinding(err error) Finding {
	f := Finding{Code: connectCode(err), Severity: Error, Subject: r.addr(), Message: err.Error()}
	var s *StopError
	if errors.As(err, &s) {
		f.Message = s.Message
		if s.Err != nil {
			f.Message += ": " + s.Err.Error()
		}
		if s.Code == CodeMissingPrivilege {
			f.SQL = s.Hint
		} else {
			f.Message += ". " + s.Hint
		}
	}
	return f
}

func (r *Replica) connected(s *session) Finding {
	how := "not encrypted"
	if s.encrypted {
		how = "encrypted"
	}
	return Finding{Code: CodeVersion, Severity: OK, Subject: r.addr(), Message: fmt.Sprintf("%s %s, server %s, %s", s.flavor, s.version, s.identity, how)}
}

const (
	logBinHint = "Put log_bin=binlog and a server_id into the [mysqld] section of the server's configuration and restart it."
	noGTIDHint = "Turn gtid_mode on for good, and move data_dir away to attach anew at the present position."
	// gtidTurnedOnHint goes back one step, from which nothing is lost.
	gtidTurnedOnHint = "SET GLOBAL gtid_mode = ON_PERMISSIVE; and start again: the source goes on without GTIDs. To go over to GTIDs, let it capture all while nobody writes, stop it, set gtid_mode = ON, move data_dir away and attach now."
)

// gtidModeSQL are the steps that turn GTIDs on while the server runs; it allows one at a time.
func gtidModeSQL(s *session) string {
	steps := "SET PERSIST enforce_gtid_consistency = ON;"
	switch strings.ToUpper(s.vars[CodeGTIDMode]) {
	case "OFF":
		steps += " SET PERSIST gtid_mode = OFF_PERMISSIVE; SET PERSIST gtid_mode = ON_PERMISSIVE;"
	case "OFF_PERMISSIVE":
		steps += " SET PERSIST gtid_mode = ON_PERMISSIVE;"
	}
	return steps + " SHOW STATUS LIKE 'ONGOING_ANONYMOUS_TRANSACTION_COUNT'; -- until it is 0, here and on replicas\nSET PERSIST gtid_mode = ON;"
}

// setGlobal is the statement that changes a setting for good where the server can; MariaDB needs its configuration file as well.
func setGlobal(s *session, name, value string) string {
	if s.flavor == change.MySQL {
		return fmt.Sprintf("SET PERSIST %s = %s;", name, value)
	}
	return fmt.Sprintf("SET GLOBAL %s = %s; -- and %s=%s under [mysqld], to outlive a restart", name, value, name, strings.Trim(value, "'"))
}

// settingFindings are the settings without which following is refused.
func settingFindings(s *session) []Finding {
	found := []Finding{
		requireSetting(s, CodeLogBin, "ON", "the server writes no binlog", logBinHint),
		requireSetting(s, CodeBinlogFormat, "ROW", "changes are written as statements, which do not say which rows changed", setGlobal(s, "binlog_format", "'ROW'")),
		rowMetadata(s),
	}
	if s.flavor == change.MySQL {
		found = append(found, gtidMode(s))
	}
	return found
}

// rowMetadata is a setting without which following works as long as nobody changes a table.
func rowMetadata(s *session) Finding {
	f := requireSetting(s, CodeRowMetadata, "FULL", "", setGlobal(s, CodeRowMetadata, "'FULL'"))
	if have, known := s.vars[CodeRowMetadata]; known && f.Severity == Error {
		f.Severity = Warning
		f.Message = fmt.Sprintf("binlog_row_metadata is %s, not FULL: the binlog carries no column names. They are read from information_schema, and the source stops at rows that were written before a table was altered, renamed or dropped, if it reads them after that", have)
	}
	return f
}

// gtidMode is a setting without which following works, on this one server.
func gtidMode(s *session) Finding {
	f := requireSetting(s, CodeGTIDMode, "ON", "", "")
	if have, known := s.vars[CodeGTIDMode]; known && s.byFile() {
		f.Severity, f.SQL = Warning, gtidModeSQL(s)
		f.Message = fmt.Sprintf("gtid_mode is %s, not ON: the source is followed by file and offset. Positions and the ids of events hold for this server's binlog files only: no other server can go on after a failover, and a source that began so stops when gtid_mode becomes ON. Turn it on before the first start, if you can", have)
	}
	return f
}

func requireSetting(s *session, name, want, why, sql string) Finding {
	f := Finding{Code: name, Severity: OK, Subject: name, Message: name + " is " + want}
	have, known := s.vars[name]
	switch {
	case strings.EqualFold(have, want), want == "ON" && s.on(name):
	case !known && name == CodeBinlogFormat: // removed once ROW became the only format
	case !known:
		f.Severity, f.Message = Error, fmt.Sprintf("%s %s does not know %s; use MySQL 8.0 or MariaDB 10.5, or a newer one", s.flavor, s.version, name)
	default:
		f.Severity, f.Message, f.SQL = Error, fmt.Sprintf("%s is %s, not %s: %s", name, have, want, why), sql
	}
	return f
}

// adviceFindings are the settings with which following works, at a price.
func adviceFindings(s *session) []Finding {
	found := []Finding{rowImage(s), retention(s)}
	if strings.Contains(strings.ToUpper(s.vars["binlog_row_value_options"]), "PARTIAL_JSON") {
		found = append(found, Finding{Code: CodePartialJSON, Severity: Error, Subject: "binlog_row_value_options", SQL: setGlobal(s, "binlog_row_value_options", "''"),
			Message: "binlog_row_value_options is PARTIAL_JSON: updates carry pieces of JSON values, and the source stops at the first one"})
	}
	if s.on("binlog_transaction_compression") {
		found = append(found, Finding{Code: CodeCompression, Severity: OK, Subject: CodeCompression, Message: "transactions are compressed, and are inflated as they are read"})
	}
	if s.flavor == change.MariaDB && !s.on("gtid_strict_mode") {
		found = append(found, Finding{Code: CodeStrictMode, Severity: Warning, Subject: CodeStrictMode, SQL: setGlobal(s, "gtid_strict_mode", "ON"),
			Message: "gtid_strict_mode is OFF: GTIDs of a domain may be written out of order, and a position after a failover may be refused"})
	}
	return found
}

func rowImage(s *session) Finding {
	f := Finding{Code: CodeRowImage, Severity: OK, Subject: CodeRowImage, Message: CodeRowImage + " is FULL"}
	if have := s.vars[CodeRowImage]; !strings.EqualFold(have, "FULL") {
		f.Severity, f.SQL = Warning, setGlobal(s, CodeRowImage, "'FULL'")
		f.Message = fmt.Sprintf("binlog_row_image is %s: updates and deletes carry only some of the columns, so event types may miss what they need", have)
	}
	return f
}

// Retention below hours cannot outlast a broken night; below days, not the retry schedule and a weekend.
const (
	leastRetention = time.Hour
	goodRetention  = 96 * time.Hour
)

func retention(s *session) Finding {
	f := Finding{Code: CodeRetention, Severity: OK, Subject: "binlog_expire_logs_seconds", Message: "binlogs are kept for good"}
	kept := binlogsKept(s)
	if kept == 0 {
		return f
	}
	f.Message = fmt.Sprintf("binlogs are kept for %v", kept)
	if kept < goodRetention {
		f.Severity = Warning
		f.Message += ": a source that is stopped for longer loses its position; keep them 96 h or longer"
		f.SQL = setGlobal(s, "binlog_expire_logs_seconds", "604800")
		if _, ok := s.vars["binlog_expire_logs_seconds"]; !ok {
			f.SQL = setGlobal(s, "expire_logs_days", "7")
		}
	}
	if kept < leastRetention {
		f.Severity = Error
	}
	return f
}

// binlogsKept returns how long binlogs are kept, 0 for good.
func binlogsKept(s *session) time.Duration {
	if v, err := strconv.ParseFloat(s.vars["binlog_expire_logs_seconds"], 64); err == nil && v > 0 {
		return time.Duration(v) * time.Second
	}
	if v, err := strconv.ParseFloat(s.vars["expire_logs_days"], 64); err == nil && v > 0 {
		return time.Duration(v * 24 * float64(time.Hour))
	}
	return 0
}

// checkServerID finds a replica that has the configured server id already.
func (r *Replica) checkServerID(ctx context.Context, s *session) ([]Finding, error) {
	id, err := r.chooseServerID(ctx, s)
	var clash *StopError
	if errors.As(err, &clash) {
		return []Finding{{Code: clash.Code, Severity: Error, Subject: "server_id", Message: clash.Message + ". " + clash.Hint}}, nil
	}
	return []Finding{{Code: CodeServerID, Severity: OK, Subject: "server_id", Message: fmt.Sprintf("server_id %d is free", id)}}, err
}

// checkUpstream finds a server that is a replica itself and keeps what it replicates out of its binlog.
func (r *Replica) checkUpstream(ctx context.Context, s *session) ([]Finding, error) {
	rows, err := s.table(ctx, "SHOW REPLICA STATUS")
	if code, _ := serverErrorCode(err); code == errSyntax {
		rows, err = s.table(ctx, "SHOW SLAVE STATUS")
	}
	if code, _ := serverErrorCode(err); code == errSpecificDenied {
		return nil, nil // checkPrivileges says so
	}
	if err != nil || len(rows) == 0 || s.on("log_replica_updates") || s.on("log_slave_updates") {
		return nil, err
	}
	return []Finding{{Code: CodeReplicaUpdates, Severity: Error, Subject: r.addr(),
		Message: "the server is a replica and does not log what it replicates: put log_slave_updates=ON under [mysqld] and restart it, or follow its primary"}}, nil
}
