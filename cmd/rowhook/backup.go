package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/rowhook/rowhook/internal/app"
	"github.com/rowhook/rowhook/internal/config"
)

func newBackup() *cobra.Command {
	var r remote
	c := r.command("backup FILE", "Write the running process's store and logs into an archive", func(c *cobra.Command, args []string) error {
		k, err := r.client()
		if err != nil {
			return err
		}
		defer k.Close()
		size, err := writeBackup(args[0], func(w io.Writer) error { return k.Backup(c.Context(), w) })
		if err != nil {
			return err
		}
		return r.print(c.OutOrStdout(), map[string]any{"file": args[0], "bytes": size}, func(t *table) {
			t.line("wrote %s: %d MiB", args[0], size>>20)
			t.line("the encryption key is not in it: keep that elsewhere")
		})
	})
	c.Long = "Write the running process's store and logs into an archive, while everything goes on. The encryption key is not in it. FILE must not\n" +
		"exist; it appears when it is whole."
	return c
}

// writeBackup makes the file whole or not at all.
func writeBackup(path string, write func(io.Writer) error) (size int64, err error) {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return 0, &existsError{path}
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".rowhook-backup-*")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	n := &counter{w: f}
	if err := write(n); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	if err := os.Link(f.Name(), path); err != nil { // unlike a rename, never over another file
		return 0, err
	}
	return n.n, errors.Join(f.Close(), os.Remove(f.Name()))
}

type counter struct {
	w io.Writer
	n int64
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func newRestore() *cobra.Command {
	var path string
	var asJSON bool
	c := &cobra.Command{
		Use: "restore FILE", Short: "Make a data folder from an archive",
		Long: "Make the data folder that the configuration names from an archive of rowhook backup. The folder must be empty or missing. What was\n" +
			"delivered after the backup is delivered again, with the same ids; what was captured after it is captured again, as long as the\n" +
			"server has the binlog. Never let the process that was backed up run again beside it.",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := config.Load(path, os.LookupEnv)
			if err != nil {
				return err
			}
			if err := restore(c.Context(), cfg, args[0]); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), map[string]string{"data_dir": cfg.DataDir})
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "restored %s\nput the encryption key in place, then: rowhook serve\n", cfg.DataDir)
			return err
		},
	}
	c.Flags().StringVarP(&path, "config", "c", defaultConfig, "the configuration file")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func restore(ctx context.Context, cfg *config.Config, path string) (err error) {
	f, err := openRegular(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return app.Restore(ctx, cfg, f, slog.New(slog.DiscardHandler))
}
