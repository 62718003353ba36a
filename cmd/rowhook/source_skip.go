package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/app"
	"github.com/rowhook/rowhook/internal/config"
)

func newSourceSkip() *cobra.Command {
	var r remote
	var g api.NewGap
	c := r.command("skip SOURCE", "Give up the transaction that a source stopped at, and record the gap", func(c *cobra.Command, args []string) error {
		if (g.GTID == "") == (g.Position == "") || g.Reason == "" {
			return &usageError{c.CommandPath(), errors.New("name the transaction with --gtid, or with --position where it has none, and say why with --reason")}
		}
		return r.skip(c, args[0], g)
	})
	f := c.Flags()
	f.StringVar(&g.GTID, "gtid", "", "the GTID of the transaction, as the stop names it")
	f.StringVar(&g.Position, "position", "", "file:offset of the transaction, as the stop names it, where it has no GTID")
	f.StringVar(&g.Reason, "reason", "", "why, for those who find the gap")
	c.Long = "Give up the transaction that a source stopped at: its changes will not be in the log, nobody is told of them, and the source goes on\n" +
		"behind it. The gap is recorded for good, and listed by `rowhook source show`. A process that has ended, because its only source\n" +
		"stopped, goes on behind the gap when it is started again."
	return c
}

// skip asks the process; where none runs, it is done on the data folder, whose lock keeps one from starting meanwhile.
func (r *remote) skip(c *cobra.Command, source string, g api.NewGap) error {
	k, err := r.client()
	if err != nil {
		return err
	}
	defer k.Close()
	s, err := k.SkipSource(c.Context(), source, g)
	if errors.Is(err, api.ErrNotRunning) && r.server == "" && r.socket == "" {
		return r.skipStopped(c.Context(), c, source, g)
	}
	if err != nil {
		return err
	}
	return r.print(c.OutOrStdout(), s, func(t *table) {
		t.row("source", s.Name)
		t.row("state", s.State)
		showGaps(t, s.Gaps)
	})
}

func (r *remote) skipStopped(ctx context.Context, c *cobra.Command, source string, g api.NewGap) error {
	cfg, err := config.Load(r.config, os.LookupEnv)
	if err != nil {
		return err
	}
	if err := app.SkipStopped(ctx, cfg, source, g, slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))); err != nil {
		return err
	}
	return r.print(c.OutOrStdout(), g, func(t *table) {
		t.line("the gap is recorded; rowhook serve goes on behind %s", fmt.Sprint(g.GTID, g.Position))
	})
}
