package config

import (
	"fmt"
	"strings"
)

// Document returns docs/configuration.md: each key with its default and its
// reason.
func Document() string {
	var b strings.Builder
	b.WriteString(documentHead)
	fmt.Fprintf(&b, "```yaml\n%s```\n", Example())
	section := ""
	for _, key := range Keys() {
		if top := topOf(key.Path); top != section {
			section = top
			fmt.Fprintf(&b, "\n## %s\n\n", top)
		}
		key.document(&b)
	}
	return b.String()
}

// documentHead is what stands before the keys.
const documentHead = `# Configuration

<!-- Made from internal/config/keys.go by: go test ./internal/config -run TestDocument -update -->

Rowhook reads one file, ` + "`rowhook.yaml`" + `, and the environment variables that it names. An unknown key,
a value of the wrong kind or out of its limits, and a variable that is not set are errors, each reported
with its place in the file, all of them at once.

- A *duration* is written ` + "`500ms`, `5s`, `1h30m` or `96h`" + `. A *size* is written ` + "`65536`, `64KiB`, `4MiB` or `1GiB`" + `.
- ` + "`${NAME}`" + ` in any value stands for an environment variable; ` + "`$${`" + ` stands for the characters ` + "`${`" + `.
  Keep passwords and secrets in variables, and out of the file.
- Relative paths are relative to the folder of the file.
- YAML anchors, aliases, merge keys and tags are refused: what a key is set to stands beside it.

A whole file:

`

// document writes one key.
func (k Key) document(b *strings.Builder) {
	fmt.Fprintf(b, "### `%s`\n\n", k.Path)
	switch {
	case k.Required:
		fmt.Fprintf(b, "Takes: %s. Required.\n\n", k.Value)
	case k.Default != "":
		fmt.Fprintf(b, "Takes: %s. Default: `%s`.\n\n", k.Value, k.Default)
	case k.holder:
	default:
		fmt.Fprintf(b, "Takes: %s. Default: none.\n\n", k.Value)
	}
	b.WriteString(k.Doc + "\n\n")
	if k.Reason != "" {
		b.WriteString("*Why:* " + k.Reason + "\n\n")
	}
}

// topOf is the top-level key that a path begins with.
func topOf(path string) string {
	return path[:strings.IndexAny(path+".", ".[")]
}
