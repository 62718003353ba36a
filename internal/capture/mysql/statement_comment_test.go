package mysql

import "testing"

// A comment of two dashes ends with its line, whatever white space follows them: scripts begin so, and their first statement is
// logged with it.
func TestCommentsBeforeAStatement(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]statement{
		"--\n-- Table `a`\n--\n\nCREATE TABLE a (id INT)": stmtDDL,
		"--\tof a script\nDROP TABLE a":                   stmtDDL,
		"--\r\nALTER TABLE a ADD b INT":                   stmtDDL,
		"--":                                              stmtNothing,
		"--1":                                             stmtChange,
	} {
		if got := classifyStatement("s", []byte(text)); got != want {
			t.Errorf("%q is %d, want %d", text, got, want)
		}
	}
}
