package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/spf13/cobra"

	"github.com/rowhook/rowhook/internal/api"
)

func newEvent() *cobra.Command {
	var r remote
	return family("event", "Look at single events",
		r.command("show EVENT", "Show an event, what it said and where it went", func(c *cobra.Command, args []string) error {
			k, err := r.client()
			if err != nil {
				return err
			}
			defer k.Close()
			e, err := k.Event(c.Context(), args[0])
			if err != nil {
				return err
			}
			return r.print(c.OutOrStdout(), e, func(t *table) { showEvent(t, e) })
		}))
}

func showEvent(t *table, e api.Event) {
	t.row("event", e.ID)
	t.row("type", e.Type)
	t.row("source", fmt.Sprintf("%s, seq %d", e.Source, e.Seq))
	t.row("subject", e.Subject)
	t.row("tenant", e.Tenant)
	if e.Expired {
		t.row("payload", "has expired from the log")
	} else {
		t.line("\n%s", indented(e.Payload))
	}
	if len(e.Attempts) > 0 {
		t.line("")
		showAttempts(t, e.Attempts)
	}
	if len(e.Exceptions) > 0 {
		t.line("")
		showExceptions(t, e.Exceptions)
	}
}

func indented(raw api.RawJSON) string {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}

// tailFlags say which events a command wants to see.
type tailFlags struct {
	types                 []string
	subject, tenant, from string
	source                string
}

func (f *tailFlags) add(c *cobra.Command) {
	c.Flags().StringSliceVar(&f.types, "type", nil, "only these event types, where * is any run of characters")
	c.Flags().StringVar(&f.subject, "subject", "", "only events about these subjects, where * is any run of characters")
	c.Flags().StringVar(&f.tenant, "tenant", "", "only what this tenant sees")
	c.Flags().StringVar(&f.source, "source", "", "only events of this source")
	c.Flags().StringVar(&f.from, "from", "now", "where to begin: now, earliest, a time such as 2026-11-22T09:30:00Z, or source:seq")
}

func (f *tailFlags) filter(c *cobra.Command) (api.TailFilter, error) {
	from, err := api.ParseFrom(f.from)
	if err != nil {
		return api.TailFilter{}, &usageError{c.CommandPath(), fmt.Errorf("--from: %w", err)}
	}
	return api.TailFilter{Types: f.types, Subject: f.subject, Tenant: f.tenant, Source: f.source, From: from}, nil
}

func newTail() *cobra.Command {
	var r remote
	var f tailFlags
	var format string
	c := r.command("tail", "Print events as they commit", func(c *cobra.Command, _ []string) error {
		filter, err := f.filter(c)
		if err != nil {
			return err
		}
		w := c.OutOrStdout()
		if r.asJSON {
			format = "json"
		}
		switch format {
		case "json":
			return r.tail(c, filter, func(e *api.TailEvent) error { _, err := fmt.Fprintf(w, "%s\n", e.Payload); return err })
		case "pretty":
			return r.tail(c, filter, func(e *api.TailEvent) error { return printEvent(w, e) })
		}
		return &usageError{c.CommandPath(), fmt.Errorf("--format is %q: it must be pretty or json", format)}
	})
	f.add(c)
	c.Flags().StringVar(&format, "format", "pretty", "pretty, or json: one event a line")
	return c
}

func printEvent(w io.Writer, e *api.TailEvent) error {
	var body struct {
		Time    time.Time       `json:"time"`
		Subject string          `json:"subject"`
		Op      string          `json:"op"`
		Data    json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(e.Payload, &body); err != nil {
		return fmt.Errorf("read event %s: %w", e.ID, err)
	}
	_, err := fmt.Fprintf(w, "%s  %-8s %s  %s  seq %d  %s\n", body.Time.Local().Format("15:04:05.000"), body.Op, e.Type, oneLine(body.Subject), e.Seq, body.Data)
	return err
}

// again bounds the pause before a lost tail is taken up anew.
const (
	firstAgain = 200 * time.Millisecond
	lastAgain  = 5 * time.Second
)

// tail calls f with each event until the command is interrupted. After a lost connection it goes on behind the last event.
func (r *remote) tail(c *cobra.Command, filter api.TailFilter, f func(*api.TailEvent) error) error {
	k, err := r.client()
	if err != nil {
		return err
	}
	defer k.Close()
	p := &tailPlace{filter: filter}
	if err := p.begin(c, k); err != nil {
		return err
	}
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = firstAgain, lastAgain
	for {
		var own error
		err := k.Tail(c.Context(), p.filter, func(e *api.TailEvent) error {
			wait.Reset()
			if e == nil || p.had(e) {
				return nil
			}
			if own = f(e); own == nil {
				p.passed(e)
			}
			return own
		})
		_, refused := errors.AsType[*api.Problem](err)
		switch {
		case c.Context().Err() != nil:
			return nil
		case own != nil:
			return own
		case refused:
			return err
		}
		c.PrintErrln("connection lost, trying again:", err)
		select {
		case <-c.Context().Done():
			return nil
		case <-time.After(wait.NextBackOff()):
		}
	}
}

// tailPlace is how far a tail has come, so that a lost connection costs no event and repeats none.
type tailPlace struct {
	filter api.TailFilter
	// The events of the newest seq: it may have more, of other types.
	source string
	seq    uint64
	ids    map[string]bool
}

// begin turns now into the seqs that it stands for.
func (p *tailPlace) begin(c *cobra.Command, k *api.Client) error {
	if from := p.filter.From; from.Time != nil || from.Earliest || len(from.Seqs) > 0 {
		return nil
	}
	sources, err := k.Sources(c.Context())
	if err != nil {
		return err
	}
	p.filter.From.Seqs = map[string]uint64{}
	for _, s := range sources {
		p.filter.From.Seqs[s.Name] = max(s.NextSeq, 1) - 1
	}
	return nil
}

func (p *tailPlace) had(e *api.TailEvent) bool {
	return e.Source == p.source && e.Seq == p.seq && p.ids[e.ID]
}

func (p *tailPlace) passed(e *api.TailEvent) {
	if e.Source != p.source || e.Seq != p.seq {
		p.source, p.seq, p.ids = e.Source, e.Seq, map[string]bool{}
	}
	p.ids[e.ID] = true
	seqs := maps.Clone(p.filter.From.Seqs)
	if seqs == nil {
		seqs = map[string]uint64{}
	}
	seqs[e.Source] = max(e.Seq, 1) - 1
	p.filter.From = api.From{Seqs: seqs}
}

func newTrigger() *cobra.Command {
	var r remote
	return r.command("trigger TYPE", "Send a made-up event of a type, marked as a test, to every endpoint that subscribes to it", func(c *cobra.Command, args []string) error {
		k, err := r.client()
		if err != nil {
			return err
		}
		defer k.Close()
		all, err := k.Trigger(c.Context(), args[0])
		if err != nil {
			return err
		}
		return r.print(c.OutOrStdout(), all, func(t *table) {
			if len(all) == 0 {
				t.line("no endpoint subscribes to %s", args[0])
				return
			}
			t.row("ENDPOINT", "EVENT", "OUTCOME", "STATUS", "MS", "ERROR")
			for _, x := range all {
				t.row(x.Endpoint, x.EventID, x.Outcome, status(x.Status), x.DurationMS, x.Error)
			}
		})
	})
}
