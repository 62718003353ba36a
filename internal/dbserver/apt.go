package dbserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// distro is what differs between the two families of packages.
type distro struct {
	id       string
	codename string
	keyrings []string // of the archive itself, as against other vendors' archives
}

// aptSource is one archive the machine is configured with.
type aptSource struct {
	uri        string
	suites     []string
	components []string
	signedBy   string
}

// sourcesFor is the text of an apt sources file from which the server can be had, on the mirror this
// machine uses already.
func sourcesFor(kind Kind, suite string) (string, error) {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", fmt.Errorf("finding out which system this is: %w", err)
	}
	d, err := parseRelease(string(release))
	if err != nil {
		return "", err
	}
	sources, err := readSources("/etc/apt")
	if err != nil {
		return "", err
	}
	mirror := chooseMirror(d, sources)
	if mirror == "" {
		return "", fmt.Errorf("no %s archive with suite %s among this machine's apt sources", d.id, d.codename)
	}
	keyring, err := firstFile(d.keyrings)
	if err != nil {
		return "", fmt.Errorf("finding the archive's keyring: %w", err)
	}
	return sourcesText(kind, suite, d, mirror, keyring), nil
}

// sourcesText writes the one-line form. Without a suite it is the machine's own release, but Debian's
// releases have no MySQL, only its unstable suite has.
func sourcesText(kind Kind, suite string, d distro, mirror, keyring string) string {
	suites, components := []string{d.codename}, "main"
	if d.id == "ubuntu" {
		suites, components = append(suites, d.codename+"-updates"), "main universe"
	}
	switch {
	case suite != "":
		suites = []string{suite}
	case kind == MySQL && d.id == "debian":
		suites = []string{"sid"}
	}
	var b strings.Builder
	for _, suite := range suites {
		fmt.Fprintf(&b, "deb [signed-by=%s] %s %s %s\n", keyring, mirror, suite, components)
	}
	return b.String()
}

// parseRelease reads os-release.
func parseRelease(text string) (distro, error) {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[key] = strings.Trim(value, `"'`)
	}
	id, codename := values["ID"], values["VERSION_CODENAME"]
	if id != "debian" && id != "ubuntu" {
		return distro{}, fmt.Errorf("this system is %q; packages can be unpacked on debian and ubuntu only", id)
	}
	if codename == "" {
		return distro{}, errors.New("/etc/os-release has no VERSION_CODENAME")
	}
	stem := "/usr/share/keyrings/" + id + "-archive-keyring"
	return distro{id: id, codename: codename, keyrings: []string{stem + ".gpg", stem + ".pgp"}}, nil
}

// chooseMirror picks the mirror of the distribution's own archive. Other vendors name their suites after
// the distribution's too, so a source signed by another key is never taken.
func chooseMirror(d distro, sources []aptSource) string {
	best := ""
	for _, s := range sources {
		known := slices.Contains(s.suites, d.codename) || slices.Contains(s.suites, "sid") || slices.Contains(s.suites, "unstable")
		if !known || !slices.Contains(s.components, "main") || strings.HasPrefix(s.uri, "cdrom:") {
			continue
		}
		if slices.Contains(d.keyrings, s.signedBy) {
			return s.uri
		}
		if s.signedBy == "" && best == "" {
			best = s.uri
		}
	}
	return best
}

// readSources reads all sources under the apt configuration folder, in both forms.
func readSources(etc string) ([]aptSource, error) {
	files, err := filepath.Glob(filepath.Join(etc, "sources.list.d", "*"))
	if err != nil {
		return nil, fmt.Errorf("listing apt sources: %w", err)
	}
	var sources []aptSource
	for _, path := range append([]string{filepath.Join(etc, "sources.list")}, files...) {
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading apt sources: %w", err)
		}
		switch filepath.Ext(path) {
		case ".list":
			sources = append(sources, parseOneLine(string(text))...)
		case ".sources":
			sources = append(sources, parseDeb822(string(text))...)
		}
	}
	return sources, nil
}

// parseOneLine reads the form "deb [option=value ...] uri suite component ...".
func parseOneLine(text string) []aptSource {
	var sources []aptSource
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !ok || strings.TrimLeft(rest, " \t") == rest {
			continue // empty, deb-src, or something else
		}
		options := ""
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			options, rest, _ = strings.Cut(rest[1:], "]")
		}
		fields := strings.Fields(rest)
		if len(fields) < 2 {
			continue
		}
		s := aptSource{uri: fields[0], suites: fields[1:2], components: fields[2:]}
		for _, option := range strings.Fields(options) {
			if value, ok := strings.CutPrefix(option, "signed-by="); ok {
				s.signedBy = value
			}
		}
		sources = append(sources, s)
	}
	return sources
}

// parseDeb822 reads the form with one "Field: value" a line and an empty line between the sources.
func parseDeb822(text string) []aptSource {
	var sources []aptSource
	fields := map[string]string{}
	last := ""
	flush := func() {
		sources = append(sources, deb822Sources(fields)...)
		fields, last = map[string]string{}, ""
	}
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "":
			flush()
		case strings.HasPrefix(trimmed, "#"):
		case line[0] == ' ' || line[0] == '\t':
			fields[last] += " " + trimmed
		default:
			key, value, _ := strings.Cut(trimmed, ":")
			last = strings.ToLower(key)
			fields[last] = strings.TrimSpace(value)
		}
	}
	flush()
	return sources
}

// deb822Sources turns one paragraph into a source for each of its URIs.
func deb822Sources(fields map[string]string) []aptSource {
	if !slices.Contains(strings.Fields(fields["types"]), "deb") || strings.EqualFold(fields["enabled"], "no") {
		return nil
	}
	var sources []aptSource
	for _, uri := range strings.Fields(fields["uris"]) {
		sources = append(sources, aptSource{
			uri:        uri,
			suites:     strings.Fields(fields["suites"]),
			components: strings.Fields(fields["components"]),
			signedBy:   fields["signed-by"],
		})
	}
	return sources
}

// firstFile is the first of the paths that exists.
func firstFile(paths []string) (string, error) {
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("none of %s exists", strings.Join(paths, ", "))
}
