package dbserver

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

func TestParseOneLine(t *testing.T) {
	t.Parallel()
	got := parseOneLine(`
# deb http://commented.example/debian bookworm main
deb http://mirror.example/debian bookworm main contrib # trailing
deb-src http://mirror.example/debian bookworm main
deb	[arch=amd64 signed-by=/k/vendor.gpg] https://vendor.example/apt bookworm main
deb [ trusted=yes ] file:/srv/flat ./
deb
nonsense
`)
	want := []aptSource{
		{uri: "http://mirror.example/debian", suites: []string{"bookworm"}, components: []string{"main", "contrib"}},
		{uri: "https://vendor.example/apt", suites: []string{"bookworm"}, components: []string{"main"}, signedBy: "/k/vendor.gpg"},
		{uri: "file:/srv/flat", suites: []string{"./"}, components: []string{}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(aptSource{})); diff != "" {
		t.Error(diff)
	}
}

func TestParseDeb822(t *testing.T) {
	t.Parallel()
	got := parseDeb822(`Types: deb deb-src
# a comment between the fields
URIs: http://a.example/debian
  http://b.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: ` + debianKeyring + `

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: http://src.example/debian
Suites: bookworm
Components: main


types: deb
uris: https://vendor.example/apt
suites: bookworm
components: main
signed-by:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
`)
	suites, components := []string{"bookworm", "bookworm-updates"}, []string{"main"}
	want := []aptSource{
		{uri: "http://a.example/debian", suites: suites, components: components, signedBy: debianKeyring},
		{uri: "http://b.example/debian", suites: suites, components: components, signedBy: debianKeyring},
		{uri: "https://vendor.example/apt", suites: suites[:1], components: components, signedBy: " -----BEGIN PGP PUBLIC KEY BLOCK----- . abc"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(aptSource{})); diff != "" {
		t.Error(diff)
	}
}

func TestChooseMirror(t *testing.T) {
	t.Parallel()
	d := distro{id: "debian", codename: "bookworm", keyrings: []string{debianKeyring}}
	source := func(uri, suite, component, signedBy string) aptSource {
		return aptSource{uri: uri, suites: []string{suite}, components: []string{component}, signedBy: signedBy}
	}
	for _, tc := range []struct {
		name    string
		sources []aptSource
		want    string
	}{
		{"nothing", nil, ""},
		{"signed by the archive's key wins", []aptSource{source("http://u", "bookworm", "main", ""), source("http://s", "bookworm", "main", debianKeyring)}, "http://s"},
		{"unsigned will do, the first one", []aptSource{source("http://u", "bookworm", "main", ""), source("http://v", "bookworm", "main", "")}, "http://u"},
		{"a vendor's never", []aptSource{source("http://v", "bookworm", "main", "/k/vendor.gpg")}, ""},
		{"security is another archive", []aptSource{source("http://s", "bookworm-security", "main", debianKeyring)}, ""},
		{"a disc cannot be read", []aptSource{source("cdrom:[Debian]/", "bookworm", "main", "")}, ""},
		{"unstable", []aptSource{source("http://s", "unstable", "main", "")}, "http://s"},
		{"another component", []aptSource{source("http://s", "bookworm", "stable", "")}, ""},
	} {
		if got := chooseMirror(d, tc.sources); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestSourcesText(t *testing.T) {
	t.Parallel()
	debian, err := parseRelease("ID=debian\nVERSION_CODENAME=bookworm\n")
	if err != nil {
		t.Fatal(err)
	}
	ubuntu, err := parseRelease("NAME=\"Ubuntu\"\nID=ubuntu\nVERSION_CODENAME=\"noble\"\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		kind  Kind
		suite string
		d     distro
		want  string
	}{
		{MariaDB, "", debian, "deb [signed-by=/k] http://m bookworm main\n"},
		{MariaDB, "sid", debian, "deb [signed-by=/k] http://m sid main\n"},
		{MySQL, "", debian, "deb [signed-by=/k] http://m sid main\n"},
		{MySQL, "", ubuntu, "deb [signed-by=/k] http://m noble main universe\ndeb [signed-by=/k] http://m noble-updates main universe\n"},
	} {
		if got := sourcesText(tc.kind, tc.suite, tc.d, "http://m", "/k"); got != tc.want {
			t.Errorf("%s %q on %s: %q, want %q", tc.kind, tc.suite, tc.d.id, got, tc.want)
		}
	}
	if _, err := parseRelease("ID=fedora\n"); err == nil {
		t.Error("fedora has no apt, yet no error")
	}
}

func TestReadSources(t *testing.T) {
	t.Parallel()
	etc := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(etc, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := readSources(etc); err != nil || len(got) != 0 {
		t.Errorf("no files: %v, %v", got, err)
	}
	write("sources.list", "deb http://one.example/ bookworm main\n")
	write("sources.list.d/debian.sources", "Types: deb\nURIs: http://two.example/\nSuites: bookworm\nComponents: main\n")
	write("sources.list.d/old.list.disabled", "deb http://three.example/ bookworm main\n")
	got, err := readSources(etc)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].uri != "http://one.example/" || got[1].uri != "http://two.example/" {
		t.Errorf("sources = %+v", got)
	}
}

func TestParseVersion(t *testing.T) {
	t.Parallel()
	const maria = "mariadbd  Ver 10.11.9-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)\n"
	const mysql = "/usr/sbin/mysqld  Ver 8.0.39-0ubuntu0.24.04.2 for Linux on x86_64 ((Ubuntu))\n"
	if v, err := parseVersion(MariaDB, maria); err != nil || v != "10.11.9-MariaDB-0+deb12u1" {
		t.Errorf("MariaDB: %q, %v", v, err)
	}
	if v, err := parseVersion(MySQL, mysql); err != nil || v != "8.0.39-0ubuntu0.24.04.2" {
		t.Errorf("MySQL: %q, %v", v, err)
	}
	if v, err := parseVersion(MySQL, maria); err == nil {
		t.Errorf("MariaDB under MySQL's name was taken for MySQL %q", v)
	}
}
