package dbserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// pristineVersion is part of the pristine folders' names: raise it when the way they are made changes.
const pristineVersion = "1"

// localRoot lets root in over TCP: with name resolution off, 127.0.0.1 is not localhost.
const localRoot = "CREATE USER IF NOT EXISTS 'root'@'127.0.0.1';\n" +
	"GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n" +
	"GRANT PROXY ON ''@'' TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n"

// pristineData returns the data folder every server of this program starts as a copy of, making it the
// first time. Other processes that want the same one wait.
func pristineData(ctx context.Context, p *program, log *slog.Logger) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	name := strings.Join([]string{"data", string(p.kind), safeName(p.version), pristineVersion}, "-")
	return cached(ctx, filepath.Join(cache, name), func(temp string, guard *os.File) error {
		began := time.Now()
		bootstrap := bootstrapMySQL
		if p.kind == MariaDB {
			bootstrap = bootstrapMariaDB
		}
		if err := bootstrap(ctx, p, temp, guard); err != nil {
			return err
		}
		log.Info("prepared the first data folder", "server", p.kind, "version", p.version, "took", time.Since(began).Round(time.Millisecond))
		return nil
	})
}

// cached returns path, first letting build fill it when it is missing. build gets a folder beside it
// that does not exist yet; only a finished one gets the name, so a crash leaves nothing half done. build
// hands guard, the lock, on to the processes it runs: they may outlive us, and the next builder must wait
// until they too are gone.
func cached(ctx context.Context, path string, build func(temp string, guard *os.File) error) (string, error) {
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("making the cache folder: %w", err)
	}
	guard, err := lockPath(ctx, path+".lock")
	if err != nil {
		return "", err
	}
	defer guard.Close()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err // another process built it while we waited
	}
	temp := path + ".new"
	if err := os.RemoveAll(temp); err != nil {
		return "", fmt.Errorf("removing what a crash left: %w", err)
	}
	if err := build(temp, guard); err != nil {
		return "", errors.Join(err, os.RemoveAll(temp))
	}
	if err := os.Rename(temp, path); err != nil {
		return "", fmt.Errorf("keeping what was built: %w", err)
	}
	return path, nil
}

// bootstrapMySQL makes a first data folder with mysqld's own --initialize.
func bootstrapMySQL(ctx context.Context, p *program, dir string, guard *os.File) error {
	sql := dir + ".sql"
	if err := os.WriteFile(sql, []byte(localRoot), 0o600); err != nil {
		return fmt.Errorf("writing the first statements: %w", err)
	}
	defer os.Remove(sql)
	return runBootstrap(ctx, p, append(p.baseArgs(dir), "--initialize-insecure", "--init-file="+sql), "", guard)
}

// bootstrapMariaDB makes a first data folder by feeding the server the SQL files that come with it, as
// mariadb-install-db does; that script cannot be used with a server unpacked to another folder.
func bootstrapMariaDB(ctx context.Context, p *program, dir string, guard *os.File) error {
	if err := os.MkdirAll(filepath.Join(dir, "mysql"), 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	sql, err := mariaDBTables(p.share)
	if err != nil {
		return err
	}
	args := append(p.baseArgs(dir), "--bootstrap", "--innodb-log-file-size=4M", "--max-allowed-packet=8M",
		"--net-buffer-length=16K", "--log-warnings=0", "--enforce-storage-engine=")
	return runBootstrap(ctx, p, args, sql, guard)
}

// mariaDBTables is the text that makes a MariaDB server's system tables, with a root user that needs no
// password. The help texts are left out.
func mariaDBTables(share string) (string, error) {
	var b strings.Builder
	// One statement a line: that is all the bootstrap mode can read.
	b.WriteString("create database if not exists mysql;\nuse mysql;\nSET @auth_root_socket=NULL;\n")
	for _, name := range []string{"system_tables", "performance_tables", "system_tables_data", "maria_add_gis_sp_bootstrap", "sys_schema"} {
		text, err := readFirst(
			filepath.Join(share, "mariadb_"+name+".sql"),
			filepath.Join(share, "mysql_"+name+".sql"),
			filepath.Join(share, name+".sql"))
		if err != nil {
			return "", fmt.Errorf("reading MariaDB's own SQL files: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			// This machine's name means nothing to a server that resolves none.
			if !strings.Contains(line, "@current_hostname") {
				b.WriteString(line)
			}
		}
		b.WriteString("\n")
	}
	return b.String(), nil
}

// readFirst reads the first of the files that exists.
func readFirst(paths ...string) (data []byte, err error) {
	for _, path := range paths {
		if data, err = os.ReadFile(path); err == nil {
			return data, nil
		}
	}
	return nil, err
}

// runBootstrap runs the server once, to its end, with sql on its standard input.
func runBootstrap(ctx context.Context, p *program, args []string, sql string, guard *os.File) error {
	argv := append(p.argv(), args...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Stdin = p.env(), strings.NewReader(sql)
	cmd.ExtraFiles = []*os.File{guard}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("the server's first run: %w:\n%s", err, out)
	}
	return nil
}

// safeName keeps of a version what is fit for a file's name.
func safeName(version string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune(".+-", r) {
			return r
		}
		return '_'
	}, version)
}
