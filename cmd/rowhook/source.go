package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rowhook/rowhook/internal/api"
)

func newSource() *cobra.Command {
	return family("source", "Watch, stop and start sources",
		newSourceList(),
		newSourceOne("show SOURCE", "Show one source", (*api.Client).Source),
		newSourceOne("start SOURCE", "Follow a stopped source again, from where it was", (*api.Client).StartSource),
		newSourceOne("stop SOURCE", "Stop following a source; what its log holds is still delivered", (*api.Client).StopSource),
		newSourceSkip())
}

func newSourceList() *cobra.Command {
	var r remote
	return r.command("list", "List the sources", func(c *cobra.Command, _ []string) error {
		k, err := r.client()
		if err != nil {
			return err
		}
		defer k.Close()
		all, err := k.Sources(c.Context())
		if err != nil {
			return err
		}
		return r.print(c.OutOrStdout(), all, func(t *table) { showSources(t, all) })
	})
}

func showSources(t *table, all []api.Source) {
	t.row("SOURCE", "STATE", "NEXT SEQ", "READ TO", "LAGGING", "DELIVERED", "FAILED", "PARKED", "LAST HEARD", "LAST COMMIT")
	for _, s := range all {
		t.row(s.Name, s.State, s.NextSeq, s.LiveSeq, s.Lagging, s.Delivered, s.Failed, s.Parked, ago(s.LastHeard), ago(s.CommitTime))
	}
	for _, s := range all {
		showReason(t, s.Name, s.Error)
	}
}

func showReason(t *table, what string, r *api.Reason) {
	if r == nil {
		return
	}
	t.line("")
	t.line("%s: %s: %s", what, r.Code, r.Message)
	if r.Hint != "" {
		t.line("  hint: %s", r.Hint)
	}
}

func newSourceOne(use, short string, ask func(*api.Client, context.Context, string) (api.Source, error)) *cobra.Command {
	var r remote
	return r.command(use, short, func(c *cobra.Command, args []string) error {
		k, err := r.client()
		if err != nil {
			return err
		}
		defer k.Close()
		s, err := ask(k, c.Context(), args[0])
		if err != nil {
			return err
		}
		return r.print(c.OutOrStdout(), s, func(t *table) {
			t.row("source", s.Name)
			t.row("state", s.State)
			t.row("address", s.Address)
			t.row("tables", strings.Join(s.Tables, " "))
			t.row("next seq", s.NextSeq)
			t.row("delivery has read to", s.LiveSeq)
			t.row("gtid set", s.GTIDSet)
			t.row("binlog", s.File+" "+status(int(s.Offset)))
			t.row("generation", s.Generation)
			t.row("last heard", ago(s.LastHeard))
			t.row("last commit", at(s.CommitTime))
			t.row("lagging endpoints", s.Lagging)
			t.row("since the start", "delivered", s.Delivered, "failed", s.Failed, "parked", s.Parked)
			showReason(t, s.Name, s.Error)
			showGaps(t, s.Gaps)
		})
	})
}

func showGaps(t *table, gaps []api.Gap) {
	if len(gaps) == 0 {
		return
	}
	t.line("")
	t.row("GAP", "AT", "SEQ", "STOP", "GIVEN UP", "BY", "REASON")
	for _, g := range gaps {
		t.row(g.GTID, g.Position, g.Seq, g.Code, at(&g.At), g.By, g.Reason)
	}
}
