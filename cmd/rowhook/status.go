package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rowhook/rowhook/internal/api"
)

func newStatus() *cobra.Command {
	var r remote
	return r.command("status", "Show the running process at a glance", func(c *cobra.Command, _ []string) error {
		k, err := r.client()
		if err != nil {
			return err
		}
		defer k.Close()
		s, err := k.Status(c.Context())
		if err != nil {
			return err
		}
		return r.print(c.OutOrStdout(), s, func(t *table) {
			t.line("rowhook %s, up %s, %d endpoints, %d subscriptions, event types version %d, %d MiB resident\n", s.Version,
				time.Since(s.StartedAt).Round(time.Second), s.Endpoints, s.Subscriptions, s.TypesVersion, s.ResidentBytes>>20)
			showSources(t, s.Sources)
			if s.Reload != nil {
				showReason(t, "the last reload, at "+at(&s.Reload.At)+", changed nothing", s.Reload.Error)
			}
		})
	})
}

func newReload() *cobra.Command {
	var r remote
	return r.command("reload", "Read the configuration and the event types again; a mistake in them changes nothing", func(c *cobra.Command, _ []string) error {
		k, err := r.client()
		if err != nil {
			return err
		}
		defer k.Close()
		res, err := k.Reload(c.Context())
		if err != nil {
			return err
		}
		if res.Error != nil {
			return &reasonError{*res.Error}
		}
		return r.print(c.OutOrStdout(), res, func(t *table) { showReload(t, res) })
	})
}

// reasonError is an error that the process has already put into words.
type reasonError struct{ reason api.Reason }

func (e *reasonError) Error() string { return e.reason.Message }

func showReload(t *table, res api.Reload) {
	if len(res.Changed) == 0 {
		t.line("nothing has changed")
	}
	for _, c := range res.Changed {
		t.line("%s", oneLine(c))
	}
	for _, s := range res.Starts {
		t.line("source %s: in force after seq %d", s.Source, s.Seq)
	}
}

func newType() *cobra.Command {
	var list, show remote
	return family("type", "Look at the event types in force",
		list.command("list", "List the event types", func(c *cobra.Command, _ []string) error {
			k, err := list.client()
			if err != nil {
				return err
			}
			defer k.Close()
			all, err := k.EventTypes(c.Context())
			if err != nil {
				return err
			}
			return list.print(c.OutOrStdout(), all, func(t *table) {
				t.row("TYPE", "TABLE", "ON", "SUBJECT", "TENANT")
				for _, e := range all {
					t.row(e.Name, e.Table, strings.Join(e.On, " "), e.Subject, e.Tenant)
				}
			})
		}),
		show.command("show TYPE", "Show one event type", func(c *cobra.Command, args []string) error {
			k, err := show.client()
			if err != nil {
				return err
			}
			defer k.Close()
			e, err := k.EventType(c.Context(), args[0])
			if err != nil {
				return err
			}
			return show.print(c.OutOrStdout(), e, func(t *table) { showType(t, e) })
		}))
}

func showType(t *table, e api.EventType) {
	for _, row := range [][2]string{
		{"type", e.Name}, {"table", e.Table}, {"on", strings.Join(e.On, " ")}, {"columns", strings.Join(e.Columns, " ")}, {"when", e.When},
		{"subject", e.Subject}, {"tenant", e.Tenant}, {"key", strings.Join(e.Key, " ")}, {"data", strings.Join(e.Data, " ")},
	} {
		if row[1] != "" {
			t.row(row[0], row[1])
		}
	}
	for column, mask := range e.Mask {
		t.row("mask", fmt.Sprintf("%s: %s", column, mask))
	}
}
