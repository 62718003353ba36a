package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestTree holds the rules against every Go file of the repository.
func TestTree(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	seen := map[string]bool{}
	for _, name := range goFiles(t, root) {
		src, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		broken, err := check(filepath.ToSlash(name), src)
		if err != nil {
			t.Error(err)
		}
		for _, text := range broken {
			t.Error(text)
		}
		seen[path.Dir(filepath.ToSlash(name))] = true
	}
	// A walk that finds nothing would find nothing wrong either.
	for _, dir := range []string{"webhook", "internal/change", "internal/arch", "gen/rowhook/v1"} {
		if !seen[dir] {
			t.Errorf("no Go file was found in %s", dir)
		}
	}
}

// goFiles returns the Go files below root, except what the go command leaves
// out too.
func goFiles(t *testing.T, root string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") || d.Name() == "testdata" || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.Type().IsRegular() && strings.HasSuffix(name, ".go"):
			rel, err := filepath.Rel(root, name)
			names = append(names, rel)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// source is a Go file and where in the house it stands.
type source struct {
	name  string // from the repository's root, with slashes
	dir   string
	place string // of the package; empty if it has none
	level level
	test  bool
	set   *token.FileSet
	file  *ast.File
}

// check returns what in a file breaks a rule.
func check(name string, src []byte) ([]string, error) {
	s := source{name: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), set: token.NewFileSet()}
	var err error
	if s.file, err = parser.ParseFile(s.set, name, src, 0); err != nil {
		return nil, err
	}
	s.place, s.level = placeOf(s.dir)
	var broken []string
	if s.place == "" {
		broken = append(broken, fmt.Sprintf("%s: package %s has no place: give it one in internal/arch/rules_test.go", name, s.dir))
	}
	if saysNothing(s.file.Name.Name) || saysNothing(path.Base(s.dir)) {
		broken = append(broken, fmt.Sprintf("%s: the name of package %s says nothing: name it after what it owns", name, s.file.Name.Name))
	}
	for _, spec := range s.file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		if why := s.checkImport(imported); why != "" {
			broken = append(broken, fmt.Sprintf("%s: imports %s: %s", s.set.Position(spec.Pos()), imported, why))
		}
	}
	return append(broken, s.checkCode()...), nil
}

// placeOf returns the place that a folder belongs to. The root is no place.
func placeOf(dir string) (string, level) {
	all := places()
	for ; dir != "." && dir != "/"; dir = path.Dir(dir) {
		if l, ok := all[dir]; ok {
			return dir, l
		}
	}
	return "", 0
}

// checkImport says why this file may not import a package; "" if it may.
func (s source) checkImport(imported string) string {
	if s.test || s.place == "" || s.level >= free {
		return ""
	}
	if dir, ours := strings.CutPrefix(imported, module+"/"); ours {
		return s.checkOwn(dir)
	}
	if s.place == "webhook" && strings.Contains(imported, ".") {
		return "webhook uses the standard library only"
	}
	if s.level >= changes && s.level <= translation && doesIO(imported) {
		return s.place + " does no I/O"
	}
	for _, r := range rooms() {
		if within(imported, r.imports) && !slices.Contains(r.places, s.place) {
			return r.why
		}
	}
	return ""
}

// checkOwn says why this file may not import our package in dir; "" if it may.
func (s source) checkOwn(dir string) string {
	place, l := placeOf(dir)
	switch {
	case place == s.place:
		return ""
	case place == "":
		return "it has no place in internal/arch/rules_test.go"
	case s.place == "webhook":
		return "webhook uses the standard library only"
	case l == support:
		return place + " is for tests"
	case l == free:
		return "nothing below cmd imports " + place
	case l == s.level && l == stages:
		return "two stages never import each other; they meet in the log and the store"
	case l == s.level && l == adapters:
		return "two adapters never import each other"
	case l >= s.level:
		return "imports go down only"
	}
	return ""
}

// within reports whether a package is the one named or below it.
func within(imported, named string) bool {
	return imported == named || strings.HasPrefix(imported, named+"/")
}

// checkCode returns what the declarations and calls of a file break.
func (s source) checkCode() []string {
	if within(s.dir, "gen") {
		return nil
	}
	var broken []string
	for _, decl := range s.file.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if fn.Recv == nil && fn.Name.Name == "init" {
			broken = append(broken, fmt.Sprintf("%s: func init: make it a function that somebody calls", s.set.Position(fn.Pos())))
		}
		// A soak test runs only when it is asked for.
		soak := strings.HasPrefix(fn.Name.Name, "TestSoak")
		ast.Inspect(fn, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if why := s.checkCall(call, soak); why != "" {
				broken = append(broken, fmt.Sprintf("%s: %s", s.set.Position(call.Pos()), why))
			}
			// In a bubble, sleeping is how the clock is moved on.
			return calls(call) != "synctest.Test"
		})
	}
	return broken
}

// checkCall says what is wrong with a call; "" if nothing is.
func (s source) checkCall(call *ast.CallExpr, soak bool) string {
	switch calls(call) {
	case "time.Sleep":
		if s.test {
			return "time.Sleep in a test: wait for a signal or a condition, or use testing/synctest"
		}
	case "t.Skip", "t.Skipf", "t.SkipNow", "tb.Skip", "tb.Skipf", "tb.SkipNow", "b.Skip", "b.Skipf", "b.SkipNow":
		if !soak {
			return "a skipped test: what is missing has to fail"
		}
	}
	return ""
}

// calls returns what is called, as in "time.Sleep"; "" if it has no such name.
func calls(call *ast.CallExpr) string {
	if fn, ok := call.Fun.(*ast.SelectorExpr); ok {
		if on, ok := fn.X.(*ast.Ident); ok {
			return on.Name + "." + fn.Sel.Name
		}
	}
	return ""
}

// TestCheck shows that each rule can be broken.
func TestCheck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file, src string
		want      string // a part of the only complaint; empty if there is none
	}{
		"down":                     {"internal/event/x.go", imports("internal/change"), ""},
		"up":                       {"internal/change/x.go", imports("internal/event"), "imports go down only"},
		"far up":                   {"internal/translate/x.go", imports("internal/app"), "imports go down only"},
		"from adapter to stage":    {"internal/store/x.go", imports("internal/deliver"), ""},
		"from stage to adapter":    {"internal/capture/x.go", imports("internal/eventlog"), "imports go down only"},
		"from stage to own child":  {"internal/capture/x.go", imports("internal/capture/mysql"), "imports go down only"},
		"from child to stage":      {"internal/capture/mysql/x.go", imports("internal/capture"), ""},
		"two stages":               {"internal/deliver/x.go", imports("internal/capture"), "two stages"},
		"two adapters":             {"internal/store/x.go", imports("internal/eventlog"), "two adapters"},
		"two sinks":                {"internal/publish/aws/x.go", imports("internal/publish/kafka"), "two adapters"},
		"within a place":           {"internal/store/x.go", imports("internal/store/migrations"), ""},
		"config to stage":          {"internal/config/x.go", imports("internal/deliver"), ""},
		"config to app":            {"internal/config/x.go", imports("internal/app"), "imports go down only"},
		"app to all":               {"internal/app/x.go", imports("internal/store") + imports("internal/config")[len("package x\n"):], ""},
		"app to command":           {"internal/app/x.go", imports("cmd/rowhook"), "nothing below cmd"},
		"app to bench":             {"internal/app/x.go", imports("bench"), "nothing below cmd"},
		"command to bench":         {"cmd/rowhook/x.go", imports("bench"), ""},
		"bench to test server":     {"bench/x.go", imports("internal/dbserver"), ""},
		"product to test server":   {"internal/app/x.go", imports("internal/dbserver"), "is for tests"},
		"product to test helper":   {"internal/event/x.go", imports("internal/change/changetest"), "is for tests"},
		"test to test server":      {"internal/capture/x_test.go", imports("internal/dbserver"), ""},
		"test across stages":       {"internal/capture/x_test.go", imports("internal/eventlog"), ""},
		"no place":                 {"internal/wizard/x.go", "package wizard", "has no place"},
		"no place at the root":     {"x.go", "package rowhook", "has no place"},
		"to no place":              {"internal/app/x.go", imports("internal/wizard"), "has no place"},
		"util":                     {"internal/store/util/x.go", "package util", "says nothing"},
		"common by another name":   {"internal/store/common/x.go", "package commonly", "says nothing"},
		"webhook to ours":          {"webhook/x.go", imports("gen/rowhook/v1"), "standard library only"},
		"webhook to others":        {"webhook/x.go", "package webhook\nimport _ \"golang.org/x/crypto/ed25519\"", "standard library only"},
		"webhook to standard":      {"webhook/x.go", "package webhook\nimport _ \"crypto/ed25519\"", ""},
		"webhook's test to others": {"webhook/x_test.go", "package webhook\nimport _ \"golang.org/x/crypto/ed25519\"", ""},
		"go-mysql in capture":      {"internal/capture/x.go", external("github.com/go-mysql-org/go-mysql/replication"), "replication protocol"},
		"go-mysql in the replica":  {"internal/capture/mysql/x.go", external("github.com/go-mysql-org/go-mysql/replication"), ""},
		"go-mysql in bench":        {"bench/x.go", external("github.com/go-mysql-org/go-mysql/replication"), ""},
		"NATS in deliver":          {"internal/deliver/x.go", external("github.com/nats-io/nats.go/jetstream"), "NATS stays"},
		"NATS in the log":          {"internal/eventlog/x.go", external("github.com/nats-io/nats-server/v2/server"), ""},
		"driver in deliver":        {"internal/deliver/x.go", external("github.com/go-sql-driver/mysql"), "SQL drivers"},
		"driver in the replica":    {"internal/capture/mysql/x.go", external("github.com/go-sql-driver/mysql"), ""},
		"driver in the app":        {"internal/app/x.go", external("modernc.org/sqlite"), "SQLite stays"},
		"a name that begins alike": {"internal/deliver/x.go", external("modernc.org/sqlitex"), ""},
		"cobra in the app":         {"internal/app/x.go", external("github.com/spf13/cobra"), "commands stay"},
		"I/O in the vocabulary":    {"internal/event/x.go", external("os"), "does no I/O"},
		"I/O in its test":          {"internal/event/x_test.go", external("os"), ""},
		"init":                     {"internal/store/x.go", "package store\nfunc init() {}", "func init"},
		"init in generated code":   {"gen/rowhook/v1/x.pb.go", "package v1\nfunc init() {}", ""},
		"method named init":        {"internal/store/x.go", "package store\ntype a int\nfunc (a) init() {}", ""},
		"sleep in a test":          {"internal/store/x_test.go", "package store\nimport \"time\"\nfunc f() { go func() { time.Sleep(1) }() }", "time.Sleep"},
		"sleep in a bubble":        {"internal/store/x_test.go", "package store\nimport \"time\"\nfunc f() { synctest.Test(t, func(t *testing.T) { time.Sleep(1) }) }", ""},
		"sleep in code":            {"internal/store/x.go", "package store\nimport \"time\"\nfunc f() { time.Sleep(1) }", ""},
		"skip":                     {"internal/store/x_test.go", "package store\nimport \"testing\"\nfunc TestX(t *testing.T) { t.Skip() }", "skipped test"},
		"skip in a soak test":      {"e2e/x_test.go", "package e2e\nimport \"testing\"\nfunc TestSoakX(t *testing.T) { t.Skip() }", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broken, err := check(c.file, []byte(c.src))
			switch {
			case err != nil:
				t.Error(err)
			case c.want == "" && len(broken) != 0:
				t.Errorf("got %q, want nothing", broken)
			case c.want != "" && (len(broken) != 1 || !strings.Contains(broken[0], c.want)):
				t.Errorf("got %q, want one that says %q", broken, c.want)
			}
		})
	}
	if _, err := check("internal/store/x.go", []byte("package")); err == nil {
		t.Error("a file that is not Go is no error")
	}
}

// imports is a file that imports a package of ours.
func imports(dir string) string { return external(module + "/" + dir) }

// external is a file that imports a package.
func external(path string) string { return fmt.Sprintf("package x\nimport _ %q\n", path) }
