package docs

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/app"
	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/deliver"
)

// table returns the rows of the table whose first heading is this, without its head; the cells have no ` around them.
func table(t *testing.T, page, first string) [][]string {
	t.Helper()
	var out [][]string
	inside := false
	for line := range strings.Lines(read(t, page)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			if inside {
				return out
			}
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		switch {
		case cells[0] == first:
			inside = true
		case inside && strings.Trim(cells[0], "-: ") != "":
			cells[0] = strings.Trim(cells[0], "`")
			out = append(out, cells)
		}
	}
	if !inside {
		t.Fatalf("%s has no table that begins with %q", page, first)
	}
	return out
}

func column(rows [][]string, n int) []string {
	var out []string
	for _, r := range rows {
		out = append(out, strings.Trim(r[n], "`"))
	}
	return out
}

// inCode returns what the groups of a pattern match in a source file.
func inCode(t *testing.T, file, pattern string) []string {
	t.Helper()
	var out []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, file), -1) {
		if !slices.Contains(out, m[1]) {
			out = append(out, m[1])
		}
	}
	if len(out) == 0 {
		t.Fatalf("%s: nothing matches %s", file, pattern)
	}
	return out
}

// same compares what a page says with what the code has.
func same(t *testing.T, what string, page, code []string) {
	t.Helper()
	for _, c := range code {
		if !slices.Contains(page, c) {
			t.Errorf("%s: %q is not documented", what, c)
		}
	}
	for i, p := range page {
		if !slices.Contains(code, p) {
			t.Errorf("%s: %q is documented, the code does not have it", what, p)
		}
		if slices.Contains(page[:i], p) {
			t.Errorf("%s: %q is documented twice", what, p)
		}
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	rows := table(t, "docs/operations.md", "exit code")
	same(t, "exit codes", column(rows, 0), inCode(t, "cmd/rowhook/report.go", `(?m)^\texit[A-Z]\w+ += (\d)`))
	help := read(t, "cmd/rowhook/report.go")
	for _, r := range rows {
		if line := fmt.Sprintf("\n  %s  %s", r[0], r[1]); !strings.Contains(help, line) {
			t.Errorf("exit code %s: rowhook --help does not say %q", r[0], r[1])
		}
	}
	var words []string
	for _, r := range rows {
		for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(r[2], -1) {
			words = append(words, m[1])
		}
	}
	same(t, "words of errors", words, inCode(t, "cmd/rowhook/report.go", `failure\{"([a-z_]+)",`))
}

func TestStopCodes(t *testing.T) {
	t.Parallel()
	same(t, "codes of a source", append(column(table(t, "docs/operations.md", "code that stops"), 0), column(table(t, "docs/operations.md", "code of a finding"), 0)...),
		inCode(t, "internal/capture/mysql/errors.go", `(?m)^\tCode\w+ += "([a-z_]+)"`))
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	same(t, "metrics", column(table(t, "docs/operations.md", "metric"), 0), inCode(t, "internal/app/metrics.go", `"(rowhook_[a-z_]+)"`))
}

func TestLivez(t *testing.T) {
	t.Parallel()
	var names []string
	for i := range reflect.TypeFor[app.SourceStatus]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[app.SourceStatus]().Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	same(t, "/livez", column(table(t, "docs/operations.md", "member"), 0), names)
}

func TestKeysOfTypes(t *testing.T) {
	t.Parallel()
	same(t, "keys of a type", column(table(t, "docs/event-types.md", "key"), 0), inCode(t, "internal/event/definition.go", `(?m)^\tfield\w+ += "([a-z]+)"`))
	same(t, "variables", column(table(t, "docs/event-types.md", "variable"), 0), inCode(t, "internal/event/expression.go", `(?m)^\tvar\w+ += "([a-z]+)"`))
	same(t, "reasons", column(table(t, "docs/event-types.md", "cause"), 0), inCode(t, "internal/event/error.go", `(?m)^\tCode\w+ += "([a-z_]+)"`))
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	const name = `(?:"|\\n)([A-Z][A-Za-z-]+): `
	code := append(inCode(t, "internal/deliver/send.go", name), inCode(t, "internal/deliver/endpoint.go", name)...)
	// Those every request has.
	code = slices.DeleteFunc(code, func(s string) bool { return s == "Host" || s == "Content-Length" })
	same(t, "headers", column(table(t, "docs/receiving.md", "header"), 0), code)
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	code := inCode(t, "internal/deliver/send.go", `(?:return|code =|code ==|code:) "([a-z_]+)"`)
	code = append(code, inCode(t, "internal/deliver/worker.go", `outcome\{code: "([a-z_]+)"`)...)
	code = append(code, inCode(t, "internal/app/crash.go", `Outcome: "([a-z_]+)"`)...)
	code = slices.DeleteFunc(code, func(s string) bool { return s == "aborted" }) // is not recorded
	page := column(table(t, "docs/operations.md", "outcome"), 0)
	for i := range page {
		page[i] = strings.TrimSuffix(page[i], "NNN")
	}
	same(t, "outcomes", page, code)
}

// The retry schedule on the page is the default one.
func TestRetrySchedule(t *testing.T) {
	t.Parallel()
	keys := config.Keys()
	i := slices.IndexFunc(keys, func(k config.Key) bool { return k.Path == "delivery.retry" })
	want := strings.Split(strings.Trim(keys[i].Default, "[]"), ", ")
	if got := column(table(t, "docs/receiving.md", "attempt"), 1)[1:]; !slices.Equal(got, want) {
		t.Errorf("the page says %v, the default is %v", got, want)
	}
	total := time.Duration(0)
	for _, s := range want {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatal(err)
		}
		total += d
	}
	if !strings.Contains(read(t, "docs/receiving.md"), strings.TrimSuffix(total.String(), "0s")) && !strings.Contains(read(t, "docs/receiving.md"), total.String()) {
		t.Errorf("the page does not say that the schedule takes %v", total)
	}
}

// Every range in the table is closed by default, and none is missing.
func TestEgressRanges(t *testing.T) {
	t.Parallel()
	guard, err := deliver.NewEgress(deliver.EgressPolicy{})
	if err != nil {
		t.Fatal(err)
	}
	ranges := column(table(t, "docs/security.md", "range"), 0)
	same(t, "ranges", ranges, inCode(t, "internal/deliver/egress.go", `\{"([0-9a-f:.]+/\d+)", "`))
	for _, r := range ranges {
		p, err := netip.ParsePrefix(r)
		if err != nil {
			t.Error(err)
			continue
		}
		if guard.CheckURL("https://"+netip.AddrPortFrom(p.Addr(), 443).String()+"/") == nil {
			t.Errorf("%s is open", r)
		}
	}
}

// Every package and every file that ARCHITECTURE.md names exists, and every package is named.
func TestFileMap(t *testing.T) {
	t.Parallel()
	text := read(t, "ARCHITECTURE.md")
	for _, dir := range inCode(t, "internal/arch/rules_test.go", `(?m)^\t\t"([a-z0-9/]+)": +[a-z]+,`) {
		if exists(t, dir) && !strings.Contains(text, "`"+dir) {
			t.Errorf("ARCHITECTURE.md does not name %s", dir)
		}
	}
	for _, m := range regexp.MustCompile("`((?:internal|cmd|webhook|proto|bench|e2e|examples)/[A-Za-z0-9_./-]+)`").FindAllStringSubmatch(text, -1) {
		if !exists(t, m[1]) {
			t.Errorf("ARCHITECTURE.md names %s, which is not there", m[1])
		}
	}
}

// Every line that a page says the log has is one that the program writes.
func TestLogLines(t *testing.T) {
	t.Parallel()
	var code strings.Builder
	for _, pattern := range []string{"internal/*/*.go", "internal/capture/mysql/*.go", "cmd/rowhook/*.go"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			rel, err := filepath.Rel(root, f)
			if err != nil {
				t.Fatal(err)
			}
			code.WriteString(read(t, rel))
		}
	}
	n := 0
	for _, page := range []string{"docs/operations.md", "docs/on-call.md"} {
		for _, m := range regexp.MustCompile("`([a-z]+ [a-z ]+)` in the log|log says `([a-z ]+)`|logs `([a-z ]+)`").FindAllStringSubmatch(read(t, page), -1) {
			n++
			if line := m[1] + m[2] + m[3]; !strings.Contains(code.String(), `"`+line) {
				t.Errorf("%s: no line of the log says %q", page, line)
			}
		}
	}
	if n < 4 {
		t.Errorf("only %d lines of the log were found on the pages", n)
	}
}
