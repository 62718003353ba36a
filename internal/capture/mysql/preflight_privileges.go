package mysql

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/rowhook/rowhook/internal/change"
)

// checkPrivileges compares what the server lists with what following needs. Rights on single tables are tried by checkTables.
func (r *Replica) checkPrivileges(ctx context.Context, s *session) ([]Finding, error) {
	user, err := s.value(ctx, "SELECT CURRENT_USER()")
	if err != nil {
		return nil, err
	}
	has, err := s.globalPrivileges(ctx)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, p := range neededPrivileges(s.flavor) {
		if !has.any(p) {
			missing = append(missing, p[0])
		}
	}
	subject := quoteUser(user)
	if len(missing) == 0 {
		return []Finding{{Code: CodeMissingPrivilege, Severity: OK, Subject: subject, Message: "the user may read the binlog"}}, nil
	}
	var found []Finding
	for _, p := range missing {
		found = append(found, Finding{Code: CodeMissingPrivilege, Severity: Error, Subject: subject,
			Message: fmt.Sprintf("%s lacks the privilege %s", subject, p), SQL: fmt.Sprintf("GRANT %s ON *.* TO %s;", p, subject)})
	}
	return found, nil
}

// neededPrivileges lists privileges with the other names they go by, first the one to grant.
func neededPrivileges(f change.Flavor) [][]string {
	if f == change.MariaDB {
		return [][]string{{"REPLICATION SLAVE", "REPLICATION REPLICA"}, {"BINLOG MONITOR", "REPLICATION CLIENT"}}
	}
	return [][]string{{"REPLICATION SLAVE"}, {"REPLICATION CLIENT"}}
}

type privileges map[string]bool

func (p privileges) any(names []string) bool {
	if p["ALL PRIVILEGES"] || p["ALL"] {
		return true
	}
	for _, n := range names {
		if p[n] {
			return true
		}
	}
	return false
}

// globalGrant is a line of SHOW GRANTS about all schemas.
var globalGrant = regexp.MustCompile(`^GRANT (.+?) ON \*\.\* TO `)

// globalPrivileges reads SHOW GRANTS, which counts active roles in.
func (s *session) globalPrivileges(ctx context.Context) (privileges, error) {
	rows, err := s.table(ctx, "SHOW GRANTS")
	if err != nil {
		return nil, err
	}
	has := privileges{}
	for _, row := range rows {
		for _, line := range row {
			m := globalGrant.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			for p := range strings.SplitSeq(m[1], ",") {
				has[strings.ToUpper(strings.TrimSpace(p))] = true
			}
		}
	}
	return has, nil
}

// quoteUser turns user@host into 'user'@'host'.
func quoteUser(user string) string {
	i := strings.LastIndexByte(user, '@')
	if i < 0 {
		return quote(user)
	}
	return quote(user[:i]) + "@" + quote(user[i+1:])
}

func quote(s string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), "'", "''") + "'"
}

func quoteName(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }

// grantHint names everything that a source's user needs.
func (r *Replica) grantHint() string {
	return fmt.Sprintf("GRANT REPLICATION SLAVE, REPLICATION CLIENT, SELECT ON *.* TO %s@'%%';", quote(r.dsn.User))
}
