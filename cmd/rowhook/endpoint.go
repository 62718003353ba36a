package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rowhook/rowhook/internal/api"
)

func newEndpoint() *cobra.Command {
	return family("endpoint", "Make, change and watch endpoints",
		newEndpointList(), newEndpointShow(), newEndpointCreate(), newEndpointUpdate(), newEndpointDelete(), newEndpointPause(),
		newEndpointResume(), newEndpointRotate(), newEndpointTest(), newEndpointAttempts(), newEndpointExceptions())
}

func newEndpointList() *cobra.Command {
	var r remote
	var tenant string
	c := r.command("list", "List the endpoints", func(c *cobra.Command, _ []string) error {
		all, err := collect(c.Context(), &r, func(ctx context.Context, k *api.Client, l api.List) (api.Items[api.Endpoint], error) {
			return k.ListEndpoints(ctx, tenant, l)
		})
		if err != nil {
			return err
		}
		return r.print(c.OutOrStdout(), all, func(t *table) {
			t.row("ENDPOINT", "STATE", "BEHIND", "WAITING", "PARKED", "TENANT", "URL")
			for _, e := range all {
				behind, waiting, parked := totals(e)
				t.row(e.ID, e.State, behind, waiting, parked, e.Tenant, e.URL)
			}
		})
	})
	c.Flags().StringVar(&tenant, "tenant", "", "only those of this tenant")
	return c
}

func totals(e api.Endpoint) (behind uint64, waiting, parked int64) {
	for _, p := range e.Progress {
		behind, waiting, parked = behind+p.Behind, waiting+p.Waiting, parked+p.Parked
	}
	return behind, waiting, parked
}

func newEndpointShow() *cobra.Command {
	var r remote
	return r.command("show ENDPOINT", "Show one endpoint", func(c *cobra.Command, args []string) error {
		return r.endpoint(c, func(ctx context.Context, k *api.Client) (api.Endpoint, error) { return k.Endpoint(ctx, args[0]) })
	})
}

// endpoint asks for an endpoint and prints it.
func (r *remote) endpoint(c *cobra.Command, ask func(context.Context, *api.Client) (api.Endpoint, error)) error {
	k, err := r.client()
	if err != nil {
		return err
	}
	defer k.Close()
	e, err := ask(c.Context(), k)
	if err != nil {
		return err
	}
	return r.print(c.OutOrStdout(), e, func(t *table) { showEndpoint(t, e) })
}

func showEndpoint(t *table, e api.Endpoint) {
	t.row("endpoint", e.ID)
	if e.Declared {
		t.row("declared", "in the configuration file")
	}
	t.row("url", e.URL)
	t.row("tenant", e.Tenant)
	t.row("description", e.Description)
	state := string(e.State)
	if e.StateReason != "" {
		state += ": " + e.StateReason
	}
	if since := at(e.StateSince); since != "" {
		state += ", since " + since
	}
	t.row("state", state)
	t.row("settings", fmt.Sprintf("concurrency %d, timeout %s, queue %d bytes, order %s", e.Concurrency, e.Timeout, e.QueueBytes, e.Order))
	for _, s := range e.Secrets {
		until := ""
		if s.ExpiresAt != nil {
			until = " until " + at(s.ExpiresAt)
		}
		t.row("signs with", s.ID+until)
	}
	for _, p := range e.Progress {
		t.row("source "+p.Source, fmt.Sprintf("all done up to seq %d, %d behind the end of the log, %d waiting, %d parked", p.Floor, p.Behind, p.Waiting, p.Parked))
	}
	t.row("version", e.Version)
}

// endpointFlags are the settings that a command may set.
type endpointFlags struct {
	url, description, order string
	concurrency             int
	timeout                 time.Duration
	queueBytes              int64
}

func (f *endpointFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.url, "url", "", "where events are posted to")
	c.Flags().StringVar(&f.description, "description", "", "for people")
	c.Flags().StringVar(&f.order, "order", "", "key or none")
	c.Flags().IntVar(&f.concurrency, "concurrency", 0, "requests in flight at once")
	c.Flags().DurationVar(&f.timeout, "timeout", 0, "of one attempt")
	c.Flags().Int64Var(&f.queueBytes, "queue-bytes", 0, "memory for what waits")
}

// given returns what was given on the command line, and nil for what was not.
func given[T any](c *cobra.Command, flag string, v T) *T {
	if !c.Flags().Changed(flag) {
		return nil
	}
	return &v
}

func newEndpointCreate() *cobra.Command {
	var r remote
	var f endpointFlags
	var e api.NewEndpoint
	var key, secretFile string
	c := r.command("create", "Make an endpoint; prints its secret, this once", func(c *cobra.Command, _ []string) error {
		k, err := r.client()
		if err != nil {
			return err
		}
		defer k.Close()
		if e.Secret, err = readSecret(c, secretFile); err != nil {
			return err
		}
		e.URL, e.Description, e.Order = f.url, f.description, given(c, "order", f.order)
		e.Concurrency, e.Timeout, e.QueueBytes = given(c, "concurrency", f.concurrency), given(c, "timeout", f.timeout), given(c, "queue-bytes", f.queueBytes)
		made, err := k.CreateEndpoint(c.Context(), e, key)
		if err != nil {
			return err
		}
		return r.print(c.OutOrStdout(), made, func(t *table) {
			showEndpoint(t, made.Endpoint)
			t.row("secret", made.Secret)
		})
	})
	f.add(c)
	c.Flags().StringVar(&e.Tenant, "tenant", "", "whose it is; events of other tenants never reach it")
	c.Flags().StringVar(&secretFile, "secret-file", "", "read the secret from this file, - for standard input, in place of making one")
	c.Flags().StringVar(&key, "idempotency-key", "", "make a repeat of this command safe")
	return c
}

// readSecret keeps secrets off the command line, which everybody on the machine can see.
func readSecret(c *cobra.Command, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	in := c.InOrStdin()
	if file != "-" {
		f, err := openRegular(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, 4096))
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", &usageError{c.CommandPath(), errors.New("the file of --secret-file holds no secret")}
	}
	return secret, nil
}

func newEndpointUpdate() *cobra.Command {
	var r remote
	var f endpointFlags
	var ifMatch uint64
	c := r.command("update ENDPOINT", "Change an endpoint", func(c *cobra.Command, args []string) error {
		ch := api.EndpointChange{
			URL: given(c, "url", f.url), Description: given(c, "description", f.description), Order: given(c, "order", f.order),
			Concurrency: given(c, "concurrency", f.concurrency), Timeout: given(c, "timeout", f.timeout), QueueBytes: given(c, "queue-bytes", f.queueBytes),
		}
		return r.endpoint(c, func(ctx context.Context, k *api.Client) (api.Endpoint, error) {
			return k.UpdateEndpoint(ctx, args[0], ifMatch, ch)
		})
	})
	f.add(c)
	c.Flags().Uint64Var(&ifMatch, "if-version", 0, "change it only if it still has this version")
	return c
}

func newEndpointDelete() *cobra.Command {
	var r remote
	var ifMatch uint64
	c := r.command("delete ENDPOINT", "Delete an endpoint and what waits for it", func(c *cobra.Command, args []string) error {
		return r.done(c, args[0]+" deleted", func(ctx context.Context, k *api.Client) error { return k.DeleteEndpoint(ctx, args[0], ifMatch) })
	})
	c.Flags().Uint64Var(&ifMatch, "if-version", 0, "delete it only if it still has this version")
	return c
}

// done runs what gives no answer.
func (r *remote) done(c *cobra.Command, what string, run func(context.Context, *api.Client) error) error {
	k, err := r.client()
	if err != nil {
		return err
	}
	defer k.Close()
	if err := run(c.Context(), k); err != nil {
		return err
	}
	return r.print(c.OutOrStdout(), map[string]bool{"done": true}, func(t *table) { t.line("%s", oneLine(what)) })
}

func newEndpointPause() *cobra.Command {
	var r remote
	var reason string
	c := r.command("pause ENDPOINT", "Send an endpoint nothing until it is resumed; it keeps its place", func(c *cobra.Command, args []string) error {
		return r.endpoint(c, func(ctx context.Context, k *api.Client) (api.Endpoint, error) {
			return k.PauseEndpoint(ctx, args[0], reason)
		})
	})
	c.Flags().StringVar(&reason, "reason", "", "for whoever wonders later")
	return c
}

func newEndpointResume() *cobra.Command {
	var r remote
	return r.command("resume ENDPOINT", "Go on with a paused or disabled endpoint where it was", func(c *cobra.Command, args []string) error {
		return r.endpoint(c, func(ctx context.Context, k *api.Client) (api.Endpoint, error) { return k.ResumeEndpoint(ctx, args[0]) })
	})
}

func newEndpointRotate() *cobra.Command {
	var r remote
	var overlap time.Duration
	var ifMatch uint64
	var key, secretFile string
	c := r.command("rotate-secret ENDPOINT", "Give an endpoint a new secret; prints it, this once", func(c *cobra.Command, args []string) error {
		k, err := r.client()
		if err != nil {
			return err
		}
		defer k.Close()
		secret, err := readSecret(c, secretFile)
		if err != nil {
			return err
		}
		e, err := k.RotateSecret(c.Context(), args[0], ifMatch, secret, overlap, key)
		if err != nil {
			return err
		}
		return r.print(c.OutOrStdout(), e, func(t *table) {
			showEndpoint(t, e.Endpoint)
			t.row("secret", e.Secret)
		})
	})
	c.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long the old secret signs too")
	c.Flags().Uint64Var(&ifMatch, "if-version", 0, "only if it still has this version")
	c.Flags().StringVar(&secretFile, "secret-file", "", "read the secret from this file, - for standard input, in place of making one")
	c.Flags().StringVar(&key, "idempotency-key", "", "make a repeat of this command safe")
	return c
}

func newEndpointTest() *cobra.Command {
	var r remote
	var eventType string
	c := r.command("test ENDPOINT", "Send an endpoint a test event and show the answer", func(c *cobra.Command, args []string) error {
		k, err := r.client()
		if err != nil {
			return err
		}
		defer k.Close()
		res, err := k.TestEndpoint(c.Context(), args[0], eventType)
		if err != nil {
			return err
		}
		return r.print(c.OutOrStdout(), res, func(t *table) {
			t.row("EVENT", "OUTCOME", "STATUS", "MS", "ERROR")
			t.row(res.EventID, res.Outcome, status(res.Status), res.DurationMS, res.Error)
		})
	})
	c.Flags().StringVar(&eventType, "type", "", "the event type whose columns get made-up values (default rowhook.test)")
	return c
}

func status(code int) string {
	if code == 0 {
		return ""
	}
	return fmt.Sprint(code)
}

func newEndpointAttempts() *cobra.Command {
	var r remote
	var limit int
	c := r.command("attempts ENDPOINT", "List the latest requests to an endpoint, newest first", func(c *cobra.Command, args []string) error {
		k, err := r.client()
		if err != nil {
			return err
		}
		defer k.Close()
		page, err := k.EndpointAttempts(c.Context(), args[0], api.List{Limit: limit})
		if err != nil {
			return err
		}
		return r.print(c.OutOrStdout(), page, func(t *table) { showAttempts(t, page.Items) })
	})
	c.Flags().IntVar(&limit, "limit", 20, "how many, up to 200")
	return c
}

func showAttempts(t *table, all []api.Attempt) {
	t.row("STARTED", "EVENT", "TYPE", "ENDPOINT", "TRY", "OUTCOME", "STATUS", "MS", "CAUSE", "ERROR")
	for _, a := range all {
		t.row(at(&a.StartedAt), a.EventID, a.Type, a.Endpoint, a.Attempt, a.Outcome, status(a.Status), a.DurationMS, a.Cause, a.Error)
	}
}

func newEndpointExceptions() *cobra.Command {
	var r remote
	var state string
	var limit int
	c := r.command("exceptions ENDPOINT", "List the events of an endpoint that wait or are parked", func(c *cobra.Command, args []string) error {
		k, err := r.client()
		if err != nil {
			return err
		}
		defer k.Close()
		page, err := k.EndpointExceptions(c.Context(), args[0], state, api.List{Limit: limit})
		if err != nil {
			return err
		}
		return r.print(c.OutOrStdout(), page, func(t *table) { showExceptions(t, page.Items) })
	})
	c.Flags().StringVar(&state, "state", "", "waiting, behind or parked")
	c.Flags().IntVar(&limit, "limit", 20, "how many, up to 200")
	return c
}

func showExceptions(t *table, all []api.Exception) {
	t.row("EVENT", "TYPE", "ENDPOINT", "SEQ", "STATE", "TRIES", "NEXT", "REASON")
	for _, x := range all {
		t.row(x.EventID, x.Type, x.Endpoint, x.Seq, x.State, x.Attempts, at(x.NextAttempt), x.Reason)
	}
}

// collect asks for every page of a list.
func collect[T any](ctx context.Context, r *remote, ask func(context.Context, *api.Client, api.List) (api.Items[T], error)) ([]T, error) {
	k, err := r.client()
	if err != nil {
		return nil, err
	}
	defer k.Close()
	all, l := []T{}, api.List{Limit: 200}
	for {
		page, err := ask(ctx, k, l)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if l.Cursor = page.NextCursor; l.Cursor == "" {
			return all, nil
		}
	}
}
