package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rowhook/rowhook/internal/api"
)

func newSubscription() *cobra.Command {
	return family("subscription", "Make and change subscriptions",
		newSubscriptionList(), newSubscriptionCreate(), newSubscriptionUpdate(), newSubscriptionDelete(),
		newSubscriptionOne("show SUBSCRIPTION", "Show one subscription", (*api.Client).Subscription),
		newSubscriptionOne("pause SUBSCRIPTION", "Hold back what commits from now on", (*api.Client).PauseSubscription),
		newSubscriptionOne("resume SUBSCRIPTION", "Go on, and send what was held back", (*api.Client).ResumeSubscription))
}

func newSubscriptionList() *cobra.Command {
	var r remote
	var endpoint string
	c := r.command("list", "List the subscriptions", func(c *cobra.Command, _ []string) error {
		all, err := collect(c.Context(), &r, func(ctx context.Context, k *api.Client, l api.List) (api.Items[api.Subscription], error) {
			return k.ListSubscriptions(ctx, endpoint, l)
		})
		if err != nil {
			return err
		}
		return r.print(c.OutOrStdout(), all, func(t *table) {
			t.row("SUBSCRIPTION", "ENDPOINT", "TYPES", "SUBJECT", "BEGINS AFTER", "PAUSED")
			for _, s := range all {
				t.row(s.ID, s.Endpoint, strings.Join(s.Types, " "), s.Subject, starts(s.Starts), yes(s.Paused))
			}
		})
	})
	c.Flags().StringVar(&endpoint, "endpoint", "", "only those of this endpoint")
	return c
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func starts(all []api.Start) string {
	var out []string
	for _, s := range all {
		text := fmt.Sprintf("%s:%d", s.Source, s.Seq)
		if s.Backfilling {
			text += " (backfilling)"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

// subscription asks for a subscription and prints it.
func (r *remote) subscription(c *cobra.Command, ask func(context.Context, *api.Client) (api.Subscription, error)) error {
	k, err := r.client()
	if err != nil {
		return err
	}
	defer k.Close()
	s, err := ask(c.Context(), k)
	if err != nil {
		return err
	}
	return r.print(c.OutOrStdout(), s, func(t *table) {
		t.row("subscription", s.ID)
		if s.Declared {
			t.row("declared", "in the configuration file")
		}
		t.row("endpoint", s.Endpoint)
		t.row("types", strings.Join(s.Types, " "))
		t.row("subject", s.Subject)
		t.row("description", s.Description)
		t.row("begins after", starts(s.Starts))
		t.row("paused", yes(s.Paused))
		t.row("version", s.Version)
	})
}

func newSubscriptionOne(use, short string, ask func(*api.Client, context.Context, string) (api.Subscription, error)) *cobra.Command {
	var r remote
	return r.command(use, short, func(c *cobra.Command, args []string) error {
		return r.subscription(c, func(ctx context.Context, k *api.Client) (api.Subscription, error) { return ask(k, ctx, args[0]) })
	})
}

func newSubscriptionCreate() *cobra.Command {
	var r remote
	var s api.NewSubscription
	var from, key string
	c := r.command("create", "Subscribe an endpoint to event types", func(c *cobra.Command, _ []string) error {
		var err error
		if s.From, err = api.ParseFrom(from); err != nil {
			return &usageError{c.CommandPath(), fmt.Errorf("--from: %w", err)}
		}
		return r.subscription(c, func(ctx context.Context, k *api.Client) (api.Subscription, error) {
			return k.CreateSubscription(ctx, s, key)
		})
	})
	c.Flags().StringVar(&s.Endpoint, "endpoint", "", "the endpoint's id")
	c.Flags().StringSliceVar(&s.Types, "types", nil, "event types, where * is any run of characters")
	c.Flags().StringVar(&s.Subject, "subject", "", "only events about these subjects, where * is any run of characters")
	c.Flags().StringVar(&s.Description, "description", "", "for people")
	c.Flags().StringVar(&from, "from", "now", "where it begins: now, earliest, a time such as 2026-11-22T09:30:00Z, or source:seq")
	c.Flags().StringVar(&key, "idempotency-key", "", "make a repeat of this command safe")
	require(c, "endpoint", "types")
	return c
}

func newSubscriptionUpdate() *cobra.Command {
	var r remote
	var types []string
	var subject, description string
	var ifMatch uint64
	c := r.command("update SUBSCRIPTION", "Change a subscription: a new version begins, and the old one ends at the same seq", func(c *cobra.Command, args []string) error {
		ch := api.SubscriptionChange{Types: given(c, "types", types), Subject: given(c, "subject", subject), Description: given(c, "description", description)}
		return r.subscription(c, func(ctx context.Context, k *api.Client) (api.Subscription, error) {
			return k.UpdateSubscription(ctx, args[0], ifMatch, ch)
		})
	})
	c.Flags().StringSliceVar(&types, "types", nil, "event types, where * is any run of characters")
	c.Flags().StringVar(&subject, "subject", "", "only events about these subjects; empty is any")
	c.Flags().StringVar(&description, "description", "", "for people")
	c.Flags().Uint64Var(&ifMatch, "if-version", 0, "change it only if it still has this version")
	return c
}

func newSubscriptionDelete() *cobra.Command {
	var r remote
	var ifMatch uint64
	c := r.command("delete SUBSCRIPTION", "End a subscription; what committed before is still sent", func(c *cobra.Command, args []string) error {
		return r.done(c, args[0]+" deleted", func(ctx context.Context, k *api.Client) error { return k.DeleteSubscription(ctx, args[0], ifMatch) })
	})
	c.Flags().Uint64Var(&ifMatch, "if-version", 0, "delete it only if it still has this version")
	return c
}
