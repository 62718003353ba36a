package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/webhook"
)

func newKey() *cobra.Command {
	return family("key", "Make and revoke API keys", newKeyList(), newKeyCreate(), newKeyDelete())
}

func newKeyList() *cobra.Command {
	var r remote
	return r.command("list", "List the API keys", func(c *cobra.Command, _ []string) error {
		all, err := collect(c.Context(), &r, func(ctx context.Context, k *api.Client, l api.List) (api.Items[api.Key], error) {
			return k.ListKeys(ctx, l)
		})
		if err != nil {
			return err
		}
		return r.print(c.OutOrStdout(), all, func(t *table) {
			t.row("KEY", "NAME", "SCOPE", "TENANT", "EXPIRES", "LAST USED")
			for _, k := range all {
				t.row(k.ID, k.Name, k.Scope, k.Tenant, at(k.ExpiresAt), ago(k.LastUsedAt))
			}
		})
	})
}

func newKeyCreate() *cobra.Command {
	var r remote
	var n api.NewKey
	var expires time.Duration
	var key string
	c := r.command("create", "Make an API key; prints it, this once", func(c *cobra.Command, _ []string) error {
		if expires < 0 {
			return &usageError{c.CommandPath(), fmt.Errorf("--expires-in is %v: it must be 0 (never) or more", expires)}
		}
		if expires > 0 {
			n.ExpiresAt = time.Now().Add(expires)
		}
		k, err := r.client()
		if err != nil {
			return err
		}
		defer k.Close()
		made, err := k.CreateKey(c.Context(), n, key)
		if err != nil {
			return err
		}
		return r.print(c.OutOrStdout(), made, func(t *table) {
			t.row("id", made.ID)
			t.row("scope", made.Scope)
			t.row("tenant", made.Tenant)
			t.row("expires", at(made.ExpiresAt))
			t.row("key", made.Secret)
		})
	})
	c.Flags().StringVar(&n.Name, "name", "", "what it is for")
	c.Flags().StringVar((*string)(&n.Scope), "scope", string(api.ScopeRead), "read, manage or admin")
	c.Flags().StringVar(&n.Tenant, "tenant", "", "whose it is: it sees nothing of others")
	c.Flags().DurationVar(&expires, "expires-in", 0, "such as 720h; 0 is never")
	c.Flags().StringVar(&key, "idempotency-key", "", "make a repeat of this command safe")
	require(c, "name")
	return c
}

func newKeyDelete() *cobra.Command {
	var r remote
	return r.command("delete KEY", "Revoke an API key, at once", func(c *cobra.Command, args []string) error {
		return r.done(c, args[0]+" revoked", func(ctx context.Context, k *api.Client) error { return k.DeleteKey(ctx, args[0]) })
	})
}

// newSecret prints a secret for an endpoint that is declared in the configuration.
func newSecret() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "secret", Short: "Make a secret for a declared endpoint",
		RunE: func(c *cobra.Command, _ []string) error {
			s := webhook.NewSecret().Reveal()
			if asJSON {
				return printJSON(c.OutOrStdout(), map[string]string{"secret": s})
			}
			_, err := fmt.Fprintln(c.OutOrStdout(), s)
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
