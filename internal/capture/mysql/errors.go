package mysql

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	driver "github.com/go-sql-driver/mysql"

	"github.com/rowhook/rowhook/internal/capture"
)

// StopError is an error that another try cannot cure: the source must stop until somebody has acted on its Hint.
type StopError = capture.StopError

// Codes of StopErrors and findings. They are stable: operators alert on them.
const (
	CodeUnknownHost       = "unknown_host"
	CodeRefused           = "connection_refused"
	CodeUnreachable       = "unreachable"
	CodeAccessDenied      = "access_denied"
	CodeTLS               = "tls"
	CodeMissingPrivilege  = "missing_privilege"
	CodePositionLost      = "position_lost"
	CodeServerIDClash     = "server_id_clash"
	CodeIncident          = "incident"
	CodeStatementChange   = "statement_change"
	CodeXA                = "xa_transaction"
	CodeUnfinished        = "unfinished_transaction"
	CodeUnknownEvent      = "unknown_event"
	CodeMalformedEvent    = "malformed_event"
	CodeUndecodable       = "undecodable_row"
	CodeNoGTID            = "transaction_without_gtid"
	CodePacketTooLarge    = "packet_too_large"
	CodeVersion           = "server_version"
	CodeLogBin            = "log_bin"
	CodeBinlogFormat      = "binlog_format"
	CodeRowImage          = "binlog_row_image"
	CodeRowMetadata       = "binlog_row_metadata"
	CodeGTIDMode          = "gtid_mode"
	CodeGTIDChanged       = "gtid_mode_changed"
	CodeStrictMode        = "gtid_strict_mode"
	CodeRetention         = "retention"
	CodePartialJSON       = "partial_json"
	CodeCompression       = "binlog_transaction_compression"
	CodeReplicaUpdates    = "log_replica_updates"
	CodeUnknownTable      = "unknown_table"
	CodeUnsupportedColumn = "unsupported_column"
	CodeExcludedKey       = "excluded_key"
	CodeServerID          = "server_id"
)

func stop(code, hint, format string, args ...any) *StopError {
	return &StopError{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// Server error numbers that somebody branches on.
const (
	errDBAccessDenied   = 1044
	errAccessDenied     = 1045
	errHostNotAllowed   = 1130
	errTableDenied      = 1142
	errSpecificDenied   = 1227
	errBinlogUnreadable = 1236 // also all that a dump refuses
	errAccessDeniedNoPW = 1698
	errPluginDenied     = 3159 // require_secure_transport
	// MariaDB's refusals of a GTID position.
	errGTIDNotFound  = 1945
	errGTIDNotFound2 = 1955
)

func serverErrorCode(err error) (code uint16, message string) {
	var d *driver.MySQLError
	if errors.As(err, &d) {
		return d.Number, d.Message
	}
	var g *gomysql.MyError
	if errors.As(err, &g) {
		return g.Code, g.Message
	}
	return 0, ""
}

// classify turns an error of either connection into a StopError where another try cannot cure it. doing says what was being done.
func (r *Replica) classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	var already *StopError
	if errors.As(err, &already) || errors.Is(err, context.Canceled) {
		return err
	}
	code, text := serverErrorCode(err)
	var s *StopError
	switch code {
	case errAccessDenied, errAccessDeniedNoPW, errHostNotAllowed:
		s = stop(CodeAccessDenied, "Check user and password of the source, and from which hosts the server lets that user in.",
			"%s refuses user %q", r.addr(), r.dsn.User)
	case errSpecificDenied, errDBAccessDenied, errTableDenied:
		s = stop(CodeMissingPrivilege, r.grantHint(), "%s: user %q lacks a privilege", doing, r.dsn.User)
	case errPluginDenied:
		s = stop(CodeTLS, "Set the source's TLS mode to required.", "%s accepts encrypted connections only", r.addr())
	case errGTIDNotFound, errGTIDNotFound2:
		s = lost(text)
	case errBinlogUnreadable:
		s = dumpRefused(text)
	}
	if s == nil {
		s = r.classifyTLS(err)
	}
	if s == nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	s.Err = err
	return s
}

func (r *Replica) classifyTLS(err error) *StopError {
	var (
		unknown  x509.UnknownAuthorityError
		invalid  x509.CertificateInvalidError
		hostname x509.HostnameError
		verify   *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(err, driver.ErrNoTLS):
		return stop(CodeTLS, "Give the server a certificate (ssl_cert, ssl_key), or set the source's TLS mode to preferred.",
			"%s does not offer TLS", r.addr())
	case errors.As(err, &hostname), errors.As(err, &unknown), errors.As(err, &invalid), errors.As(err, &verify):
		return stop(CodeTLS, "Name the CA file that signed the server's certificate; with mode verify-ca its host name need not match.",
			"the certificate of %s is not trusted", r.addr())
	}
	return nil
}

// lost says that the server cannot continue a position.
func lost(what string) *StopError {
	return stop(CodePositionLost,
		"The server no longer has all binlogs since the last captured transaction. Follow a server that still has them (SHOW BINARY LOGS on each replica); or put the files back from a backup, name them in the server's binlog index and restart it; or move data_dir away to attach anew at the present position.",
		"the position cannot be continued: %s", what)
}

// dumpRefused sorts the meanings of error 1236, which the server tells apart by text alone.
func dumpRefused(text string) *StopError {
	low := strings.ToLower(text)
	switch {
	case strings.Contains(low, "anonymous transaction when auto_position"):
		return stop(CodeNoGTID, noGTIDHint, "the server has a transaction without a GTID: %s", text)
	case strings.Contains(low, "replicate anonymous transaction"):
		return stop(CodeGTIDChanged, gtidTurnedOnHint, "gtid_mode was turned on before all was captured: %s", text)
	case strings.Contains(low, "replicate gtid-transaction"), strings.Contains(low, "cannot start in auto_position mode"):
		return stop(CodeGTIDChanged, "SET GLOBAL gtid_mode = OFF_PERMISSIVE; and then, one step after the other, back to what it was.", "gtid_mode was turned off before all was captured: %s", text)
	case strings.Contains(low, "same server_uuid") || strings.Contains(low, "same server_id"):
		return stop(CodeServerIDClash, "Give this source another server_id; each replica of a server needs its own.",
			"another replica has the server_id of this one: %s", text)
	case strings.Contains(low, "max_allowed_packet"):
		return stop(CodePacketTooLarge, "SET GLOBAL max_allowed_packet = 1073741824;", "the server cannot send an event: %s", text)
	case strings.Contains(low, "has more gtids"):
		return stop(CodePositionLost, aheadHint, "the server refuses the position: %s", text)
	}
	return lost(text)
}

// connectCode sorts errors of connecting for Check.
func connectCode(err error) string {
	var s *StopError
	var dns *net.DNSError
	var netErr net.Error
	switch {
	case errors.As(err, &s):
		return s.Code
	case errors.As(err, &dns):
		return CodeUnknownHost
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return CodeRefused
	case errors.As(err, &netErr):
		return CodeUnreachable
	}
	return CodeUnreachable
}
