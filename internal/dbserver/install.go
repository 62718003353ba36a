package dbserver

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// unpackScript unpacks packages of an apt archive into a folder; see its own head.
//
//go:embed unpack.sh
var unpackScript []byte

// corePackage matches the names of the package that has the server alone, without a service. Some
// releases have the version in the name.
var corePackage = map[Kind]string{
	MariaDB: `^mariadb-server-core$`,
	MySQL:   `^mysql-server-core(-[0-9.]+)?$`,
}

// ensure finds a server of this kind: this machine's own, or the one in the cache, unpacked now if it is
// missing. A suite asks for that suite's server, whatever the machine has.
func ensure(ctx context.Context, kind Kind, suite string, log *slog.Logger) (*program, error) {
	if kind != MariaDB && kind != MySQL {
		return nil, fmt.Errorf("no such kind of server: %q", kind)
	}
	name := "root-" + string(kind)
	if suite != "" {
		name += "-" + suite
	} else if p := programOnMachine(ctx, kind); p != nil {
		return p, nil
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	root, err := cached(ctx, filepath.Join(cache, name), func(temp string, guard *os.File) error {
		return unpack(ctx, kind, suite, temp, guard, log)
	})
	if err != nil {
		return nil, fmt.Errorf("%w\n(install a %s server by hand so that it is in PATH, or name a running one in %s)", err, kind, kind.EnvDSN())
	}
	return programInRoot(ctx, kind, root)
}

// unpack fills root with the server's package and all it needs, from the apt archive this machine uses.
func unpack(ctx context.Context, kind Kind, suite, root string, guard *os.File, log *slog.Logger) error {
	began := time.Now()
	for _, tool := range []string{"apt-get", "apt-cache", "apt-config", "dpkg-deb", "tar"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("only Debian and Ubuntu packages can be unpacked: %w", err)
		}
	}
	text, err := sourcesFor(kind, suite)
	if err != nil {
		return err
	}
	sources := root + ".list"
	if err := os.WriteFile(sources, []byte(text), 0o644); err != nil {
		return fmt.Errorf("writing the apt sources: %w", err)
	}
	defer os.Remove(sources)
	log.Info("installing a database server for tests, once", "server", kind, "from", strings.TrimSpace(text))
	if err := runUnpack(ctx, log, guard, root, sources, corePackage[kind]); err != nil {
		return err
	}
	log.Info("installed", "server", kind, "folder", strings.TrimSuffix(root, ".new"), "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// runUnpack runs the script, logging each step it announces. The script ends with ctx, and its
// children with it.
func runUnpack(ctx context.Context, log *slog.Logger, guard *os.File, args ...string) error {
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-s", "--"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.ExtraFiles = []*os.File{guard}
	var complaints bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(unpackScript), &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("running the unpacker: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("running the unpacker: %w", err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		log.Info(lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("unpacking packages: %w: %s", errors.Join(err, ctx.Err()), strings.TrimSpace(complaints.String()))
	}
	return nil
}
