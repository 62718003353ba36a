package docs

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The files of packaging, from the root.
const (
	unitFile   = "packaging/rowhook.service"
	imageFile  = "Dockerfile"
	ignoreFile = ".dockerignore"
)

// directive is one line of a unit or a Dockerfile.
type directive struct{ name, value string }

// unit returns the settings of the unit in their order; hardened are those behind the comment that says so.
func unit(t *testing.T) (all, hardened []directive) {
	t.Helper()
	inHardening := false
	for line := range strings.Lines(read(t, unitFile)) {
		line = strings.TrimSpace(line)
		if line == "# Hardening" {
			inHardening = true
		}
		if strings.HasPrefix(line, "[") {
			inHardening = false
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		all = append(all, directive{name, value})
		if inHardening {
			hardened = append(hardened, directive{name, value})
		}
	}
	return all, hardened
}

// dockerfile returns the instructions of the Dockerfile, continued lines joined.
func dockerfile(t *testing.T) []directive {
	t.Helper()
	var all []directive
	text := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(read(t, imageFile), "")
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			all = append(all, directive{name, strings.TrimSpace(value)})
		}
	}
	return all
}

// value returns the only value of a name.
func value(t *testing.T, file string, all []directive, name string) string {
	t.Helper()
	var found []string
	for _, d := range all {
		if d.name == name {
			found = append(found, d.value)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s: %s is there %d times: %q", file, name, len(found), found)
	}
	return found[0]
}

// Each exit code after which the unit stays down is one of the program, and is the one that its page says.
func TestUnitExitCodes(t *testing.T) {
	t.Parallel()
	all, _ := unit(t)
	staysDown := strings.Fields(value(t, unitFile, all, "RestartPreventExitStatus"))
	documented := column(table(t, "docs/operations.md", "exit code"), 0)
	for _, code := range staysDown {
		if code == "0" || !slices.Contains(documented, code) {
			t.Errorf("%s: %s is no exit code of an error", unitFile, code)
		}
	}
	// Whoever gives these another number has to look at the unit again.
	same(t, unitFile, staysDown, inCode(t, "cmd/rowhook/report.go", `(?m)^\texit(?:Usage|Source|InUse|Data) += (\d)`))
	last := len(staysDown) - 1
	if said := "codes " + strings.Join(staysDown[:last], ", ") + " and " + staysDown[last]; !strings.Contains(read(t, "docs/operations.md"), said) {
		t.Errorf("docs/operations.md does not say %q", said)
	}
}

// Whoever stops the process waits longer than its requests in flight may take.
func TestStopTimeouts(t *testing.T) {
	t.Parallel()
	drain := inCode(t, "internal/app/app.go", `\bdrain += (\d+) \* time\.Second`)[0]
	draining, err := time.ParseDuration(drain + "s")
	if err != nil {
		t.Fatal(err)
	}
	all, _ := unit(t)
	for where, text := range map[string]string{
		unitFile:             value(t, unitFile, all, "TimeoutStopSec"),
		"docs/operations.md": inCode(t, "docs/operations.md", `--stop-timeout (\d+)`)[0] + "s",
	} {
		if wait, err := time.ParseDuration(text); err != nil || wait < draining+10*time.Second {
			t.Errorf("%s waits %v (%v), the process drains for %v and then writes its progress", where, wait, err, draining)
		}
	}
}

// The unit and the image start a command that exists, with the same folders and as the pages say.
func TestPackagedCommand(t *testing.T) {
	t.Parallel()
	all, _ := unit(t)
	program, args, _ := strings.Cut(value(t, unitFile, all, "ExecStart"), " ")
	image := dockerfile(t)
	var entry, command []string
	for name, into := range map[string]*[]string{"ENTRYPOINT": &entry, "CMD": &command} {
		if err := json.Unmarshal([]byte(value(t, imageFile, image, name)), into); err != nil {
			t.Fatalf("%s: %s: %v", imageFile, name, err)
		}
	}
	if !slices.Equal(entry, []string{program}) || strings.Join(command, " ") != args {
		t.Errorf("the image runs %q %q, the unit %q %q", entry, command, program, args)
	}
	tryCommand(t, block{page: unitFile}, binary(t), append([]string{"rowhook"}, command...))
	if dir := "/var/lib/" + value(t, unitFile, all, "StateDirectory"); dir != value(t, imageFile, image, "VOLUME") {
		t.Errorf("the unit keeps its data in %s, the image in %s", dir, value(t, imageFile, image, "VOLUME"))
	}
	if dir := "/etc/" + value(t, unitFile, all, "ConfigurationDirectory") + "/"; !strings.Contains(args, dir) {
		t.Errorf("%s: %s is not in %s", unitFile, args, dir)
	}
	for _, path := range []string{program, "/etc/rowhook/rowhook.yaml", "data_dir: " + value(t, imageFile, image, "VOLUME")} {
		if !strings.Contains(read(t, "docs/operations.md"), path) {
			t.Errorf("docs/operations.md does not say %s", path)
		}
	}
	if text := read(t, imageFile); !strings.Contains(text, " /out/rowhook "+program+"\n") {
		t.Errorf("%s puts nothing at %s", imageFile, program)
	}
}

// A reload sends a signal that the process knows; any other would end it.
func TestReloadSignal(t *testing.T) {
	t.Parallel()
	all, _ := unit(t)
	name, process, _ := strings.Cut(strings.TrimPrefix(value(t, unitFile, all, "ExecReload"), "/bin/kill -"), " ")
	if process != "$MAINPID" || !strings.Contains(read(t, "cmd/rowhook/serve.go"), "syscall.SIG"+name+")") {
		t.Errorf("%s: cmd/rowhook/serve.go does not ask for SIG%s of %s", unitFile, name, process)
	}
}

// The reason of each line of hardening is on the page.
func TestHardening(t *testing.T) {
	t.Parallel()
	_, hardened := unit(t)
	var names []string
	for _, d := range hardened {
		names = append(names, d.name)
	}
	same(t, "hardening", column(table(t, "docs/operations.md", "setting"), 0), names)
}

// The image is built as make build does, with the Go of go.mod, and ends without root.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	image := dockerfile(t)
	build := regexp.MustCompile(`CGO_ENABLED=0 go build [^\n]* ./cmd/rowhook\n`)
	if made, packed := plainBuild(build.FindString(read(t, "Makefile"))), plainBuild(build.FindString(read(t, imageFile))); made == "" || made != packed {
		t.Errorf("the image is built by\n%s\nand make build is\n%s", packed, made)
	}
	version := inCode(t, "go.mod", `(?m)^go ([\d.]+)$`)[0]
	var stages []string
	for _, d := range image {
		if d.name == "FROM" {
			stages = append(stages, d.value)
		}
	}
	if len(stages) != 2 || !strings.HasPrefix(stages[0], "golang:"+version+"-") || !strings.HasSuffix(stages[1], ":nonroot") {
		t.Errorf("the stages are %q; want golang:%s, and one without root", stages, version)
	}
	if user := value(t, imageFile, image, "USER"); !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(user) || !strings.Contains(read(t, imageFile), "--chown="+user+" ") {
		t.Errorf("USER %s is no number other than 0, or does not own the data folder", user)
	}
	if signal := value(t, imageFile, image, "STOPSIGNAL"); signal != "SIGTERM" {
		t.Errorf("STOPSIGNAL %s", signal)
	}
}

// plainBuild is a build command without what may differ: quotes, the way a variable is written, and where the result goes.
func plainBuild(line string) string {
	line = strings.NewReplacer(`"`, "", "'", "", "$(VERSION)", "VERSION", "${VERSION}", "VERSION").Replace(line)
	return strings.TrimSpace(regexp.MustCompile(`-o \S+`).ReplaceAllString(line, ""))
}

// The builder gets every folder that the command is built from, and no more than that.
func TestDockerIgnore(t *testing.T) {
	t.Parallel()
	var lets []string
	lines := strings.Split(strings.TrimSpace(read(t, ignoreFile)), "\n")
	if !slices.Contains(lines, "*") {
		t.Fatalf("%s does not begin with nothing", ignoreFile)
	}
	for _, line := range lines {
		if name, ok := strings.CutPrefix(line, "!"); ok {
			lets = append(lets, name)
		}
	}
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if .Module}}{{if .Module.Main}}{{.Dir}}{{end}}{{end}}", "./cmd/rowhook")
	list.Dir, list.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	needs := []string{"go.mod", "go.sum"}
	for dir := range strings.FieldsSeq(string(out)) {
		rel, err := filepath.Rel(here, dir)
		if err != nil {
			t.Fatal(err)
		}
		if top, _, _ := strings.Cut(filepath.ToSlash(rel), "/"); !slices.Contains(needs, top) {
			needs = append(needs, top)
		}
	}
	slices.Sort(lets)
	slices.Sort(needs)
	if !slices.Equal(lets, needs) {
		t.Errorf("%s lets in %q, the command is built from %q", ignoreFile, lets, needs)
	}
}
