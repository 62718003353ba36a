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
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rowhook/rowhook/internal/app"
	"github.com/rowhook/rowhook/internal/config"
)

// initTimeout bounds looking at all tables of a server.
const initTimeout = 2 * time.Minute

func newInit() *cobra.Command {
	var dir, name string
	var asJSON bool
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
			return initialise(c.Context(), c.OutOrStdout(), dir, source, asJSON)
		},
	}
	c.Flags().StringVar(&dir, "dir", ".", "the folder to write into")
	c.Flags().StringVar(&name, "name", "main", "the source's name, a part of every event's id: 1 to 32 of a-z 0-9 _ -")
	c.Flags().StringSliceVar(&tables, "tables", []string{"*.*"}, "the tables to look at, as schema.table, where * is any run of characters")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// initialised is what was written.
type initialised struct {
	Config string   `json:"config"`
	Types  string   `json:"types"`
	Tables []string `json:"tables"`
	// Left are the tables without an event type, each with the reason.
	Left []string `json:"left"`
	// Variable is to hold the password; empty if there is none.
	Variable string `json:"variable,omitempty"`
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

func initialise(ctx context.Context, w io.Writer, dir string, source config.Source, asJSON bool) error {
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
	out := initialised{Config: filepath.Join(dir, defaultConfig), Types: filepath.Join(dir, typesFile), Tables: s.Tables, Left: s.Left}
	if !source.Password.Equal(config.NewPassword("")) {
		out.Variable = s.Variable
	}
	if asJSON {
		return printJSON(w, out)
	}
	return out.print(w, source.Address)
}

func (i initialised) print(w io.Writer, address string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "wrote %s and %s: %d tables of %s\n", i.Config, i.Types, len(i.Tables), address)
	for _, l := range i.Left {
		fmt.Fprintln(&b, "  left out", oneLine(l))
	}
	b.WriteString("\nnext:\n")
	if i.Variable != "" {
		fmt.Fprintf(&b, "  export %s=…        # the password, which is in no file\n", i.Variable)
	}
	b.WriteString("  rowhook check      # is the server set up for it?\n  rowhook serve\n  rowhook tail       # in another terminal: watch the events\n")
	_, err := io.WriteString(w, b.String())
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
