// Package docs holds no code. Its tests hold the documentation to the program: every example is executed, every table of codes,
// metrics or keys is compared with the code, every link is followed.
package docs

import (
	"context"
	"encoding/json"
	"fmt"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rowhook/rowhook/internal/app"
	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

func TestMain(m *testing.M) {
	code := dbservertest.Run(m)
	if path, err := rowhook(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path)) // a folder in the system's temporary one
	}
	os.Exit(code)
}

// rowhook is the command, built once for all tests.
var rowhook = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "rowhook-docs-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "rowhook")
	return path, compile(context.Background(), path, "./cmd/rowhook")
})

// binary returns the path of the command.
func binary(t *testing.T) string {
	t.Helper()
	path, err := rowhook()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// compile builds a program of this module.
func compile(ctx context.Context, out, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", out, pkg)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, said)
	}
	return nil
}

// root is the repository, from here.
const root = ".."

// block is one fenced piece of a page. Its first line is "```language name".
type block struct {
	page           string // path from the root
	line           int
	language, name string
	text           string
}

// pages returns the paths of all pages, from the root.
func pages(t *testing.T) []string {
	t.Helper()
	all := []string{"README.md", "ARCHITECTURE.md", "CHANGELOG.md"}
	for _, pattern := range []string{"docs/*.md", "docs/decisions/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			rel, err := filepath.Rel(root, f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, filepath.ToSlash(rel))
		}
	}
	if len(all) < 15 {
		t.Fatalf("only %d pages were found: %v", len(all), all)
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// blocks returns the fenced pieces of a page.
func blocks(t *testing.T, page string) []block {
	t.Helper()
	var out []block
	var open *block
	number := 0
	for line := range strings.Lines(read(t, page)) {
		number++
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && open == nil:
			language, name, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "```"), " ")
			open = &block{page: page, line: number, language: language, name: name}
		case fence:
			out = append(out, *open)
			open = nil
		case open != nil:
			open.text += line
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: the block is not closed", page, open.line)
	}
	return out
}

func allBlocks(t *testing.T) []block {
	t.Helper()
	var out []block
	for _, page := range pages(t) {
		out = append(out, blocks(t, page)...)
	}
	return out
}

// one returns the block of a page with this language and name.
func one(t *testing.T, page, language, name string) block {
	t.Helper()
	all := blocks(t, page)
	i := slices.IndexFunc(all, func(b block) bool { return b.language == language && b.name == name })
	if i < 0 {
		t.Fatalf("%s has no block %q %q", page, language, name)
	}
	return all[i]
}

// secret is the specification's example, with which the delivery in the README is signed.
const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// lookup gives the variables of the examples values.
func lookup(name string) (string, bool) {
	if strings.HasSuffix(name, "_SECRET") {
		return secret, true
	}
	return "change-me", strings.HasSuffix(name, "_PASSWORD")
}

// place writes files into a folder.
func place(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Every configuration and every file of types on a page is read by the program itself.
func TestYAML(t *testing.T) {
	t.Parallel()
	for _, b := range allBlocks(t) {
		if b.language != "yaml" || b.page == "docs/configuration.md" { // that one is made, and tested, by internal/config
			continue
		}
		types := one(t, "README.md", "yaml", "types.yaml").text
		cfg := "sources:\n  - {name: shop, dsn: \"mysql://a:b@127.0.0.1/\", tables: [\"*.*\"]}\ntypes: [types.yaml]\n"
		switch b.name {
		case "rowhook.yaml":
			cfg = b.text
		case "types.yaml":
			types = b.text
		default:
			t.Errorf("%s:%d: name the block: rowhook.yaml or types.yaml", b.page, b.line)
			continue
		}
		dir := t.TempDir()
		place(t, dir, map[string]string{"rowhook.yaml": cfg, "types.yaml": types, "types/orders.yaml": types, "tls/ca.pem": "", "tls/client.pem": "", "tls/client-key.pem": ""})
		c, err := config.Load(filepath.Join(dir, "rowhook.yaml"), lookup)
		if err != nil {
			t.Errorf("%s:%d: %v", b.page, b.line, err)
			continue
		}
		if _, err := app.CompileTypes(c); err != nil {
			t.Errorf("%s:%d: %v", b.page, b.line, err)
		}
	}
}

// Go on a page is formatted and compiles; without a package of its own it is taken from the examples, which run.
func TestGo(t *testing.T) {
	t.Parallel()
	examples := read(t, "webhook/example_test.go") + read(t, "webhook/inbox_example_test.go")
	for _, b := range allBlocks(t) {
		if b.language != "go" {
			continue
		}
		if !strings.HasPrefix(b.text, "package main") {
			if !strings.Contains(dedent(examples), dedent(b.text)) {
				t.Errorf("%s:%d: is not in the examples of webhook", b.page, b.line)
			}
			continue
		}
		if formatted, err := format.Source([]byte(b.text)); err != nil || string(formatted) != b.text {
			t.Errorf("%s:%d: run gofmt on it (%v)", b.page, b.line, err)
		}
		dir := t.TempDir()
		place(t, dir, map[string]string{"main.go": b.text})
		if err := compile(t.Context(), filepath.Join(dir, "main"), filepath.Join(dir, "main.go")); err != nil {
			t.Errorf("%s:%d: %v", b.page, b.line, err)
		}
	}
}

// dedent takes the white space off the lines.
func dedent(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return b.String()
}

// Every command on a page is one that exists, with flags that exist.
func TestCommands(t *testing.T) {
	t.Parallel()
	bin := binary(t)
	if out, err := exec.CommandContext(t.Context(), bin, "version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "rowhook ") {
		t.Errorf("rowhook version: %v: %s", err, out)
	}
	makefile := read(t, "Makefile")
	known := regexp.MustCompile(`(?:^|[\s;&|(])(?:bin/)?rowhook (?:[a-z]+)[^\n;&|)]*`)
	for _, b := range allBlocks(t) {
		if b.language != "sh" {
			continue
		}
		syntax := exec.CommandContext(t.Context(), "bash", "-n")
		syntax.Stdin = strings.NewReader(b.text)
		if out, err := syntax.CombinedOutput(); err != nil {
			t.Errorf("%s:%d: %v\n%s", b.page, b.line, err, out)
		}
		for _, target := range regexp.MustCompile(`(?m)^make ([a-z-]+)`).FindAllStringSubmatch(b.text, -1) {
			if !strings.Contains(makefile, "\n"+target[1]+":") {
				t.Errorf("%s:%d: there is no target %s", b.page, b.line, target[1])
			}
		}
		for _, line := range known.FindAllString(b.text, -1) {
			tryCommand(t, b, bin, strings.Fields(line))
		}
	}
}

// tryCommand asks for the help of a command with the flags of a page: unknown ones are refused before.
func tryCommand(t *testing.T, b block, bin string, words []string) {
	t.Helper()
	for len(words) > 0 && !strings.HasSuffix(words[0], "rowhook") {
		words = words[1:]
	}
	if end := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "#") || strings.HasPrefix(w, ">") }); end > 0 {
		words = words[:end]
	}
	out, err := exec.CommandContext(t.Context(), bin, append(words[1:], "--help")...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Usage:\n  "+strings.Join(words[:2], " ")[strings.LastIndex(words[0], "/")+1:]) {
		t.Errorf("%s:%d: %s: %v\n%s", b.page, b.line, strings.Join(words, " "), err, out)
	}
}

// JSON on a page is JSON.
func TestJSON(t *testing.T) {
	t.Parallel()
	for _, b := range allBlocks(t) {
		if b.language == "json" && !json.Valid([]byte(b.text)) {
			t.Errorf("%s:%d: not JSON", b.page, b.line)
		}
	}
}

// Every link to a file leads to one, and every link into a page to a heading of it.
func TestLinks(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(withoutBlocks(read(t, page)), -1) {
			target := m[1]
			if strings.Contains(target, "://") {
				continue
			}
			file, anchor, _ := strings.Cut(target, "#")
			path := filepath.Join(root, filepath.Dir(page), file)
			if file == "" {
				path = filepath.Join(root, page)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: %s leads nowhere", page, target)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(t, path), anchor) {
				t.Errorf("%s: %s: no such heading", page, target)
			}
		}
	}
}

func withoutBlocks(text string) string {
	return regexp.MustCompile("(?ms)^```.*?^```").ReplaceAllString(text, "")
}

// anchors returns the names that GitHub gives the headings of a page.
func anchors(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	drop := regexp.MustCompile(`[^a-z0-9 _-]`)
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(withoutBlocks(string(b)), -1) {
		out = append(out, strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return out
}

// Every key of the configuration that a page names exists.
func TestConfigurationKeys(t *testing.T) {
	t.Parallel()
	var known []string
	tops := map[string]bool{}
	for _, k := range config.Keys() {
		known = append(known, k.Path)
		tops[regexp.MustCompile(`^[a-z_]+`).FindString(k.Path)] = true
	}
	name := regexp.MustCompile("`([a-z_]+(?:\\[\\])?\\.[a-z_.\\[\\]]+)`")
	for _, page := range pages(t) {
		for _, m := range name.FindAllStringSubmatch(withoutBlocks(read(t, page)), -1) {
			top := regexp.MustCompile(`^[a-z_]+`).FindString(m[1])
			if tops[top] && !slices.Contains(known, m[1]) && !strings.HasSuffix(m[1], ".yaml") {
				t.Errorf("%s: %s is no key of rowhook.yaml", page, m[1])
			}
		}
	}
}
