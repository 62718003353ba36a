package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/webhook"
)

// forwardTimeout is what the receiver that is being developed may take.
const forwardTimeout = 30 * time.Second

func newListen() *cobra.Command {
	var r remote
	var f tailFlags
	var forwardTo, secretFile string
	c := r.command("listen", "Forward events to a receiver on this machine while you develop it", func(c *cobra.Command, _ []string) error {
		filter, err := f.filter(c)
		if err != nil {
			return err
		}
		fw, err := newForwarder(c, forwardTo, secretFile)
		if err != nil {
			return err
		}
		fw.asJSON = r.asJSON
		c.PrintErrf("forwarding to %s, signed with %s\n", forwardTo, fw.secret.Reveal())
		return r.tail(c, filter, func(e *api.TailEvent) error { return fw.forward(c.Context(), c.OutOrStdout(), e) })
	})
	c.Long = "Forward events to a receiver on this machine, signed as deliveries are, as a subscription does that lives as long as the command. No\n" +
		"public URL is needed and nothing is recorded. What the receiver refuses is shown, and not sent again."
	f.add(c)
	c.Flags().StringVar(&forwardTo, "forward-to", "", "the receiver's URL, such as http://localhost:3000/hooks")
	c.Flags().StringVar(&secretFile, "secret-file", "", "sign with the secret in this file, - for standard input, in place of one made for this run")
	require(c, "forward-to")
	return c
}

// forwarder posts events to one URL.
type forwarder struct {
	url    string
	secret webhook.Secret
	signer *webhook.Signer
	client http.Client
	asJSON bool
}

// forwarded is what came of one event.
type forwarded struct {
	Time    time.Time `json:"time"`
	EventID string    `json:"event_id"`
	Type    string    `json:"type"`
	// Answer is the receiver's status line, Error why there was none.
	Answer     string  `json:"answer,omitempty"`
	Error      string  `json:"error,omitempty"`
	DurationMS float64 `json:"duration_ms"`
}

func newForwarder(c *cobra.Command, to, secretFile string) (*forwarder, error) {
	u, err := url.Parse(to)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, &usageError{c.CommandPath(), errors.New("--forward-to is not a URL such as http://localhost:3000/hooks")}
	}
	f := &forwarder{url: to, secret: webhook.NewSecret(), client: http.Client{Timeout: forwardTimeout}}
	f.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	text, err := readSecret(c, secretFile)
	if err != nil {
		return nil, err
	}
	if text != "" {
		if f.secret, err = webhook.ParseSecret(text); err != nil {
			return nil, &usageError{c.CommandPath(), fmt.Errorf("--secret-file: %w", err)}
		}
	}
	f.signer, err = webhook.NewSigner(f.secret)
	return f, err
}

// forward posts one event and prints what came of it, one line an event.
func (f *forwarder) forward(ctx context.Context, w io.Writer, e *api.TailEvent) error {
	began := time.Now()
	answer, err := f.post(ctx, e)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the command was interrupted
	}
	took := time.Since(began)
	out := forwarded{Time: began.UTC(), EventID: e.ID, Type: e.Type, Answer: answer, DurationMS: float64(took.Microseconds()) / 1000}
	if err != nil {
		out.Answer, out.Error = "", err.Error()
	}
	if f.asJSON {
		return json.NewEncoder(w).Encode(out)
	}
	_, err = fmt.Fprintf(w, "%s  %s  %s  %s  %v\n", began.Format("15:04:05.000"), e.Type, e.ID, oneLine(cmp.Or(out.Error, answer)), took.Round(time.Millisecond))
	return err
}

func (f *forwarder) post(ctx context.Context, e *api.TailEvent) (answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(e.Payload))
	if err != nil {
		return "", err
	}
	if req.Header, err = f.signer.Sign(e.ID, time.Now(), e.Payload); err != nil {
		return "", err
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "Rowhook/" + version, "Rowhook-Attempt": "1", "Rowhook-Seq": strconv.FormatUint(e.Seq, 10),
	} {
		req.Header.Set(name, value)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return "", err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	return resp.Status, err
}

// openRegular opens a file that can be read to its end.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return os.Open(path)
}
