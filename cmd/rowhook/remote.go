package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/config"
)

// remote is how a command finds the running process, and how it prints.
type remote struct {
	config, socket, server, key string
	allowHTTP                   bool
	asJSON                      bool
}

// add gives the command the flags. Keys come from the environment: a command line is seen by everybody.
func (r *remote) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&r.config, "config", "c", defaultConfig, "the configuration file of the process on this machine")
	f.StringVar(&r.socket, "socket", "", "the process's Unix socket, in place of the one that --config leads to")
	f.StringVar(&r.server, "server", os.Getenv("ROWHOOK_SERVER"), "ask a process on another machine, such as https://rowhook.example.com:8500 ($ROWHOOK_SERVER); its key is taken from $ROWHOOK_API_KEY")
	f.BoolVar(&r.allowHTTP, "allow-http", false, "let the key travel without TLS")
	f.BoolVar(&r.asJSON, "json", false, "print JSON")
	r.key = os.Getenv("ROWHOOK_API_KEY")
}

func (r *remote) client() (*api.Client, error) {
	o := api.ClientOptions{Server: r.server, Key: r.key, Socket: r.socket, AllowHTTP: r.allowHTTP, UserAgent: "rowhook/" + version}
	if r.server == "" && r.socket == "" {
		socket, err := config.Socket(r.config, os.LookupEnv)
		if err != nil {
			return nil, err
		}
		o.Socket = socket
	}
	if r.socket != "" {
		o.Server = "" // of the environment
	}
	k, err := api.NewClient(o)
	if err != nil {
		return nil, &usageError{"rowhook", err}
	}
	return k, nil
}

// print writes v as JSON, or lets a table be written.
func (r *remote) print(w io.Writer, v any, fill func(*table)) error {
	if r.asJSON {
		return printJSON(w, v)
	}
	t := &table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	fill(t)
	return t.w.Flush()
}

// table lines up columns for people.
type table struct{ w *tabwriter.Writer }

// row writes one line; empty cells show as a dash.
func (t *table) row(cells ...any) {
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(t.w, "\t")
		}
		text := fmt.Sprint(c)
		if text == "" {
			text = "-"
		}
		fmt.Fprint(t.w, oneLine(text))
	}
	fmt.Fprintln(t.w)
}

// line writes text below the columns, as it is.
func (t *table) line(format string, args ...any) { fmt.Fprintf(t.w, format+"\n", args...) }

// oneLine keeps what others wrote, such as a description, from moving the cursor or breaking the table.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, s)
}

func ago(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return time.Since(*t).Round(time.Second).String() + " ago"
}

func at(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

// command makes one that asks the process. The number of its arguments is that of the words in capitals in use.
func (r *remote) command(use, short string, run func(c *cobra.Command, args []string) error) *cobra.Command {
	n := 0
	for _, word := range strings.Fields(use) {
		if strings.ToUpper(word) == word {
			n++
		}
	}
	c := &cobra.Command{Use: use, Short: short, Args: usageArgs(cobra.ExactArgs(n)), RunE: run}
	r.add(c)
	return c
}

// usageArgs makes a wrong number of arguments a mistake on the command line.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return &usageError{c.CommandPath(), err}
		}
		return nil
	}
}

// family groups commands under a word.
func family(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short,
		Args: usageArgs(func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q", args[0])
			}
			return nil
		}),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(commands...)
	return c
}

// require makes flags ones that must be given.
func require(c *cobra.Command, flags ...string) {
	c.PreRunE = func(c *cobra.Command, _ []string) error {
		for _, f := range flags {
			if !c.Flags().Changed(f) {
				return &usageError{c.CommandPath(), fmt.Errorf("--%s is missing", f)}
			}
		}
		return nil
	}
}
