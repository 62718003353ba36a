package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/rowhook/rowhook/internal/app"
	"github.com/rowhook/rowhook/internal/config"
)

// initTimeout bounds looking at all tables of a server.
const initTimeout = 2 * time.Minute

func newInit() *cobra.Command {
	var dir, name string
	var tables []string
	c := &cobra.Command{
		Use: "init DSN", Short: "Write a first configuration by looking at a server's tables",
		Long: "Write rowhook.yaml and types/<name>.yaml for a server, such as mysql://rowhook:password@127.0.0.1:3306/, with an event type for each\n" +
			"table. A password that is not in the DSN is taken from $MYSQL_PWD. It is never written into a file: the configuration names a\n" +
			"variable for it. Nothing that is there is overwritten.",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			source, err := sourceOf(args[0], name, tables)
			if err != nil {
				return &usageError{c.CommandPath(), err}
			}
			return initialise(c.Context(), c.OutOrStdout(), dir, source)
		},
	}
	c.Flags().StringVar(&dir, "dir", ".", "the folder to write into")
	c.Flags().StringVar(&name, "name", "main", "the source's name, a part of every event's id: 1 to 32 of a-z 0-9 _ -")
	c.Flags().StringSliceVar(&tables, "tables", []string{"*.*"}, "the tables to look at, as schema.table, where * is any run of characters")
	return c
}

// sourceOf reads the DSN by the rules of the configuration file.
func sourceOf(dsn, name string, tables []string) (config.Source, error) {
	u, err := url.Parse(dsn)
	if err == nil && u.User != nil {
		if _, has := u.User.Password(); !has && os.Getenv("MYSQL_PWD") != "" {
			u.User = url.UserPassword(u.User.Username(), os.Getenv("MYSQL_PWD"))
			dsn = u.String()
		}
	}
	return config.ParseSource(name, dsn, tables)
}

func initialise(ctx context.Context, w io.Writer, dir string, source config.Source) error {
	typesFile := filepath.Join("types", source.Name+".yaml")
	for _, f := range []string{defaultConfig, typesFile} {
		if _, err := os.Lstat(filepath.Join(dir, f)); !errors.Is(err, os.ErrNotExist) {
			return &existsError{filepath.Join(dir, f)}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	s, err := app.NewScaffold(ctx, app.ScaffoldOptions{Source: source, TypesFile: typesFile}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "types"), 0o755); err != nil {
		return err
	}
	if err := writeNew(filepath.Join(dir, typesFile), s.Types); err != nil {
		return err
	}
	if err := writeNew(filepath.Join(dir, defaultConfig), s.Config); err != nil {
		return err
	}
	fmt.Fprintf(w, "wrote %s and %s: %d tables of %s\n", filepath.Join(dir, defaultConfig), filepath.Join(dir, typesFile), len(s.Tables), source.Address)
	for _, l := range s.Left {
		fmt.Fprintln(w, "  left out", oneLine(l))
	}
	fmt.Fprintln(w, "\nnext:")
	if !source.Password.Equal(config.NewPassword("")) {
		fmt.Fprintf(w, "  export %s=…        # the password, which is in no file\n", s.Variable)
	}
	_, err = fmt.Fprintf(w, "  rowhook check      # is the server set up for it?\n  rowhook serve\n  rowhook tail       # in another terminal: watch the events\n")
	return err
}

func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// existsError says that a file stands where one would be written.
type existsError struct{ path string }

func (e *existsError) Error() string { return e.path + " is there already" }
