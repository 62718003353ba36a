package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/rowhook/rowhook/internal/app"
	"github.com/rowhook/rowhook/internal/config"
)

// checkTimeout bounds the whole preflight of one source.
const checkTimeout = time.Minute

func newCheck() *cobra.Command {
	var path string
	var asJSON bool
	c := &cobra.Command{
		Use: "check", Short: "Look at the configuration and the sources before serving them",
		Long: "Look at the configuration, the event types and every source, and report all that would stop or hurt: each finding with the SQL\n" +
			"to run. Ends with code 3 if there is an error among them.",
		RunE: func(c *cobra.Command, _ []string) error { return check(c.Context(), c.OutOrStdout(), path, asJSON) },
	}
	c.Flags().StringVarP(&path, "config", "c", defaultConfig, "the configuration file")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// findingsError says how many errors the preflight found; they are printed already.
type findingsError struct {
	errors int
	sql    bool // some of them come with SQL
}

func (e *findingsError) Error() string {
	return fmt.Sprintf("%d of the findings must be put right before Rowhook can follow", e.errors)
}

func check(ctx context.Context, w io.Writer, path string, asJSON bool) error {
	cfg, err := config.Load(path, os.LookupEnv)
	if err != nil {
		return err
	}
	types, err := app.CompileTypes(cfg)
	if err != nil {
		return err
	}
	var all []app.Finding
	for _, s := range cfg.Sources {
		found, err := app.Check(ctx, s, types, checkTimeout, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		all = append(all, found...)
	}
	if asJSON {
		err = printJSON(w, map[string]any{"findings": all})
	} else {
		err = printFindings(w, all)
	}
	if n := app.CountErrors(all); err == nil && n > 0 {
		return &findingsError{n, slices.ContainsFunc(all, func(f app.Finding) bool { return f.SQL != "" })}
	}
	return err
}

func printFindings(w io.Writer, all []app.Finding) error {
	for _, f := range all {
		if _, err := fmt.Fprintf(w, "%-7s  %s  %s\n         %s\n", f.Severity, f.Source, f.Code, f.Message); err != nil {
			return err
		}
		if f.SQL != "" {
			if _, err := fmt.Fprintf(w, "         run: %s\n", f.SQL); err != nil {
				return err
			}
		}
	}
	return nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
