package dbserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// program is an installed server: the machine's own, or one unpacked into the cache. An unpacked one is
// run by the dynamic loader and the libraries unpacked with it, so it needs neither root nor chroot, and
// may be newer than the machine's.
type program struct {
	kind    Kind
	binary  string
	loader  string // empty for the machine's own
	share   string // the folder of its messages, character sets and SQL files
	plugins string // empty: as compiled in
	version string
}

// binaryNames are what the server is called, best first.
func (k Kind) binaryNames() []string {
	if k == MariaDB {
		return []string{"mariadbd", "mysqld"}
	}
	return []string{"mysqld"}
}

// programOnMachine finds a server of this kind that is installed on this machine, or returns nil.
func programOnMachine(ctx context.Context, kind Kind) *program {
	path := filepath.SplitList(os.Getenv("PATH"))
	path = append(path, "/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/usr/local/mysql/bin")
	for _, name := range kind.binaryNames() {
		for _, dir := range path {
			if p := openProgram(ctx, kind, filepath.Join(dir, name), ""); p != nil {
				return p
			}
		}
	}
	return nil
}

// programInRoot finds the server of this kind in a folder of unpacked packages.
func programInRoot(ctx context.Context, kind Kind, root string) (*program, error) {
	loaders, _ := filepath.Glob(filepath.Join(root, "usr/lib/*/ld-linux*.so.*"))
	if len(loaders) == 0 {
		return nil, fmt.Errorf("no dynamic loader in %s; remove that folder to unpack it anew", root)
	}
	for _, name := range kind.binaryNames() {
		if p := openProgram(ctx, kind, filepath.Join(root, "usr/sbin", name), loaders[0]); p != nil {
			p.plugins = filepath.Join(root, "usr/lib/mysql/plugin")
			return p, nil
		}
	}
	return nil, fmt.Errorf("no %s server that runs in %s; remove that folder to unpack it anew", kind, root)
}

// openProgram looks at one file; it returns nil unless that is a server of this kind that runs.
//
// A MariaDB without the SQL files a first data folder is made from is none either.
func openProgram(ctx context.Context, kind Kind, binary, loader string) *program {
	if _, err := os.Stat(binary); err != nil {
		return nil
	}
	p := &program{kind: kind, binary: binary, loader: loader}
	argv := append(p.argv(), "--no-defaults", "--version")
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = p.env()
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	p.version, err = parseVersion(kind, string(out))
	if err != nil {
		return nil
	}
	p.share = shareDir(binary)
	if _, err := mariaDBTables(p.share); kind == MariaDB && err != nil {
		return nil
	}
	return p
}

// versionText is how both kinds answer --version: "... Ver 10.11.9-MariaDB-0+deb12u1 for debian...".
var versionText = regexp.MustCompile(`\bVer (\S+)`)

// parseVersion reads the answer to --version, and refuses the other kind's: MariaDB installs itself
// under MySQL's names too.
func parseVersion(kind Kind, out string) (string, error) {
	if strings.Contains(out, "MariaDB") != (kind == MariaDB) {
		return "", fmt.Errorf("not %s: %s", kind, strings.TrimSpace(out))
	}
	m := versionText.FindStringSubmatch(out)
	if m == nil {
		return "", errors.New("no version in: " + strings.TrimSpace(out))
	}
	return m[1], nil
}

// shareDir is the folder of the server's messages and SQL files, beside the folder of its binary.
func shareDir(binary string) string {
	if target, err := filepath.EvalSymlinks(binary); err == nil {
		binary = target
	}
	prefix := filepath.Dir(filepath.Dir(binary))
	for _, dir := range []string{"share/mariadb", "share/mysql", "share"} {
		if _, err := os.Stat(filepath.Join(prefix, dir, "english", "errmsg.sys")); err == nil {
			return filepath.Join(prefix, dir)
		}
	}
	return filepath.Join(prefix, "share")
}

// argv begins the server's command line.
func (p *program) argv() []string {
	if p.loader == "" {
		return []string{p.binary}
	}
	return []string{p.loader, "--library-path", filepath.Dir(p.loader), p.binary}
}

// env is the server's environment: nothing of ours, so that tests run alike everywhere.
func (p *program) env() []string {
	env := []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TZ=UTC"}
	if p.loader != "" {
		// Its OpenSSL may be newer than the one the machine's configuration is written for.
		env = append(env, "OPENSSL_CONF=/dev/null")
	}
	return env
}

// baseArgs are the arguments both the first run and all others need.
func (p *program) baseArgs(dataDir string) []string {
	args := []string{"--no-defaults", "--datadir=" + dataDir, "--secure-file-priv="}
	if os.Getuid() == 0 {
		args = append(args, "--user=root") // without it, both refuse to run as root
	}
	if p.loader != "" {
		args = append(args,
			"--basedir="+filepath.Dir(filepath.Dir(p.binary)),
			"--lc-messages-dir="+p.share,
			"--character-sets-dir="+filepath.Join(p.share, "charsets"),
			"--plugin-dir="+p.plugins)
	}
	return args
}
