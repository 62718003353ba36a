package app

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/store"
	"github.com/rowhook/rowhook/webhook"
)

func TestEndpointFromMadeToGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop", "bar")
	w.start()
	ctx, c := t.Context(), w.control
	concurrency, timeout, queue, order := 3, 1500*time.Millisecond, int64(1<<20), "none"
	e, secret, err := c.CreateEndpoint(ctx, operator(), api.NewEndpoint{
		Tenant: "red", URL: w.receiver.url("a"), Description: "d", Concurrency: &concurrency, Timeout: &timeout, QueueBytes: &queue, Order: &order,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := api.Endpoint{
		Tenant: "red", URL: w.receiver.url("a"), Description: "d", State: api.EndpointActive, Version: 1,
		EndpointSettings: api.EndpointSettings{Concurrency: 3, Timeout: "1.5s", QueueBytes: 1 << 20, Order: "none"},
		Secrets:          e.Secrets, Progress: []api.SourceProgress{{Source: "shop"}, {Source: "bar"}},
		ID: e.ID, CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt,
	}
	if d := cmp.Diff(want, e); d != "" || !strings.HasPrefix(e.ID, "ep_") || len(e.ID) != 19 || len(e.Secrets) != 1 || e.CreatedAt.IsZero() {
		t.Errorf("%+v\n%s", e, d)
	}
	if got, err := c.Endpoint(ctx, operator(), e.ID); cmp.Diff(e, got) != "" || err != nil {
		t.Error(err, cmp.Diff(e, got))
	}
	w.subscribe(operator(), e.ID, api.From{}, "order.changed")
	w.insert("shop", 1, "red", "x")
	w.insert("bar", 1, "red", "x")
	w.insert("bar", 2, "blue", "x")
	for _, r := range w.receiver.wait(t, "a", 2) {
		verify(t, r, secret)
	}
	url, text := w.receiver.url("b"), ""
	e, err = c.UpdateEndpoint(ctx, operator(), e.ID, 1, api.EndpointChange{URL: &url, Description: &text})
	if err != nil || e.Version != 2 || e.URL != url || e.Description != "" || e.Concurrency != 3 {
		t.Errorf("%+v %v", e, err)
	}
	w.insert("shop", 2, "red", "x")
	w.receiver.wait(t, "b", 1)
	if err := c.DeleteEndpoint(ctx, operator(), e.ID, 1); problem(err) != "precondition_failed" {
		t.Error(err)
	}
	if err := c.DeleteEndpoint(ctx, operator(), e.ID, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Endpoint(ctx, operator(), e.ID); problem(err) != "not_found" {
		t.Error(err)
	}
	if err := c.DeleteEndpoint(ctx, operator(), e.ID, 0); problem(err) != "not_found" {
		t.Error(err)
	}
	for _, s := range []string{"shop", "bar"} {
		if rs, err := w.app.store.Ranges(ctx, s); len(rs) != 0 || err != nil {
			t.Errorf("%s keeps %+v %v", s, rs, err)
		}
	}
	other, _ := w.endpoint(operator(), "other")
	w.subscribe(operator(), other.ID, api.From{}, "order.changed")
	w.insert("shop", 3, "red", "x")
	w.receiver.wait(t, "other", 1) // what was to come to the deleted one would have come before
	if n := w.receiver.count("a") + w.receiver.count("b"); n != 3 {
		t.Errorf("%d requests", n)
	}
}

func verify(t *testing.T, r received, secrets ...string) {
	t.Helper()
	if n := len(strings.Fields(r.header.Get("Webhook-Signature"))); n != len(secrets) {
		t.Errorf("%d signatures, want %d", n, len(secrets))
	}
	for _, text := range secrets {
		s, err := webhook.ParseSecret(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := webhook.Verify([]webhook.Secret{s}, r.header, r.body); err != nil {
			t.Error(err)
		}
	}
}

func TestSecretsRotate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	ctx, c := t.Context(), w.control
	e, first := w.endpoint(operator(), "a")
	w.subscribe(operator(), e.ID, api.From{}, "order.changed")
	given := webhook.NewSecret().Reveal()
	e, second, err := c.RotateSecret(ctx, operator(), e.ID, 1, given, time.Hour)
	if err != nil || second != given || e.Version != 2 || len(e.Secrets) != 2 || e.Secrets[0].ExpiresAt != nil || e.Secrets[1].ExpiresAt == nil {
		t.Fatalf("%+v %v", e, err)
	}
	w.insert("shop", 1, "red", "x")
	verify(t, w.receiver.wait(t, "a", 1)[0], second, first)
	if _, _, err := c.RotateSecret(ctx, operator(), e.ID, 1, "", time.Hour); problem(err) != "precondition_failed" {
		t.Error(err)
	}
	if _, _, err := c.RotateSecret(ctx, operator(), e.ID, 0, given, time.Hour); problem(err) != "secret_in_use" {
		t.Error(err)
	}
	for range 3 {
		if _, _, err = c.RotateSecret(ctx, operator(), e.ID, 0, "", 2*time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := c.RotateSecret(ctx, operator(), e.ID, 0, "", time.Hour); problem(err) != "too_many_secrets" {
		t.Error(err)
	}

	// The end of a secret: it stops signing and leaves the store.
	r, err := w.app.store.Endpoint(ctx, e.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Secrets[4].ExpiresAt.Before(time.Now().Add(time.Hour + time.Second)) {
		t.Errorf("the first secret was to end in an hour, then in two: %v", r.Secrets[4].ExpiresAt)
	}
	for i := 1; i < 5; i++ {
		r.Secrets[i].ExpiresAt = time.Now().Add(-time.Second)
	}
	if err := w.app.store.UpdateEndpoint(ctx, &r); err != nil {
		t.Fatal(err)
	}
	if err := c.expireSecrets(ctx); err != nil {
		t.Fatal(err)
	}
	if r, err = w.app.store.Endpoint(ctx, e.ID); err != nil || len(r.Secrets) != 1 {
		t.Errorf("%d secrets %v", len(r.Secrets), err)
	}
	w.insert("shop", 2, "red", "x")
	verify(t, w.receiver.wait(t, "a", 2)[1], r.Secrets[0].Secret.Reveal())

	// No overlap ends the old one at once.
	_, last, err := c.RotateSecret(ctx, operator(), e.ID, 0, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	w.insert("shop", 3, "red", "x")
	verify(t, w.receiver.wait(t, "a", 3)[2], last)
}

func TestPauseAndResumeEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop", "bar")
	w.declare("file", "")
	w.start()
	ctx, c := t.Context(), w.control
	made, _ := w.endpoint(operator(), "made")
	w.subscribe(operator(), made.ID, api.From{}, "order.changed")
	for _, id := range []string{made.ID, "file"} {
		e, err := c.PauseEndpoint(ctx, operator(), id, "for repairs")
		if err != nil || e.State != api.EndpointPaused || e.StateReason != "for repairs" || e.StateSince == nil {
			t.Fatalf("%+v %v", e, err)
		}
	}
	w.insert("shop", 1, "red", "x")
	w.insert("bar", 1, "red", "x")
	// A pause outlives the process.
	w.stop()
	w.start()
	ctx, c = t.Context(), w.control
	for _, path := range []string{"made", "file"} {
		id := map[string]string{"made": made.ID, "file": "file"}[path]
		if w.receiver.count(path) != 0 {
			t.Error("a paused endpoint was sent to")
		}
		eventually(t, "the lanes are there", func() bool {
			e, err := c.Endpoint(ctx, operator(), id)
			return err == nil && e.State == api.EndpointPaused && len(e.Progress) == 2
		})
		if e, err := c.ResumeEndpoint(ctx, operator(), id); err != nil || e.State == api.EndpointPaused || e.StateReason != "" {
			t.Errorf("%+v %v", e, err)
		}
		w.receiver.wait(t, path, 2)
	}
	// One that waits for a request in flight when its caller goes is paused all the same.
	release := w.receiver.hold("made")
	defer release()
	w.insert("shop", 2, "red", "x")
	w.receiver.wait(t, "made", 3)
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if e, err := c.PauseEndpoint(short, operator(), made.ID, ""); err != nil || e.State != api.EndpointPaused || short.Err() == nil {
		t.Errorf("%+v %v", e, err)
	}
}

func TestTestEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop", "bar")
	w.declare("file", "")
	w.start()
	ctx, c := t.Context(), w.control
	e, secret := w.endpoint(tenant("red"), "a")
	w.subscribe(tenant("red"), e.ID, api.From{}, "order.changed")
	w.insert("bar", 1, "blue", "x") // a table to take columns from
	w.receiver.wait(t, "file", 1)

	res, err := c.TestEndpoint(ctx, tenant("red"), e.ID, "")
	if err != nil || res.Outcome != "ok" || res.Status != 200 {
		t.Fatalf("%+v %v", res, err)
	}
	got := w.receiver.wait(t, "a", 1)[0]
	verify(t, got, secret)
	if got.header.Get("Webhook-Id") != res.EventID || got.header.Get("Rowhook-Test") != "1" || !strings.Contains(string(got.body), `"type":"rowhook.test"`) {
		t.Errorf("%v %s", got.header, got.body)
	}
	w.receiver.answer("a", 500)
	if res, err = c.TestEndpoint(ctx, tenant("red"), e.ID, "order.changed"); err != nil || res.Outcome != "http_500" || res.Status != 500 {
		t.Errorf("%+v %v", res, err)
	}
	got = w.receiver.wait(t, "a", 2)[1]
	for _, want := range []string{`"type":"order.changed"`, `"tenant":"red"`, `"test":true`, `"note":`} {
		if !strings.Contains(string(got.body), want) {
			t.Errorf("%s is not in %s", want, got.body)
		}
	}
	eventually(t, "the test is found by its id", func() bool {
		ev, err := c.Event(ctx, tenant("red"), res.EventID)
		return err == nil && len(ev.Attempts) == 1 && ev.Attempts[0].Cause == "test" && ev.Payload == nil
	})
	if _, err := c.Event(ctx, tenant("blue"), res.EventID); problem(err) != "not_found" {
		t.Error(err)
	}

	w.receiver.answer("a", 0)
	all, err := c.Trigger(ctx, tenant("red"), "order.changed")
	if err != nil || len(all) != 1 || all[0].Endpoint != e.ID || all[0].Outcome != "ok" {
		t.Errorf("%+v %v", all, err)
	}
	if all, err = c.Trigger(ctx, operator(), "order.changed"); err != nil || len(all) != 1 || all[0].Endpoint != "file" {
		t.Errorf("%+v %v", all, err)
	}
	w.receiver.wait(t, "file", 2)
	if n := w.receiver.count("file"); n != 2 {
		t.Errorf("%d requests: it went out for each source", n)
	}
	for _, name := range []string{"no.such", ""} {
		if _, err := c.Trigger(ctx, operator(), name); problem(err) != "not_found" {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := c.Trigger(ctx, tenant("red"), "order.noted"); problem(err) != "not_found" {
		t.Errorf("a type that tells no tenants apart: %v", err)
	}
}

// TestListsAreMerged walks lists of what is declared and what is made, page by page.
func TestListsAreMerged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"a", "eo", "eq", "z"} {
		w.declare(name, "")
	}
	w.start()
	ctx, c := t.Context(), w.control
	want := []string{"a", "eo", "eq", "z"}
	wantSubs := []string{"a/all", "eo/all", "eq/all", "z/all"}
	for range 3 {
		e, _ := w.endpoint(operator(), "x")
		want = append(want, e.ID)
		wantSubs = append(wantSubs, w.subscribe(operator(), e.ID, api.From{}, "*").ID)
	}
	slices.Sort(want)
	slices.Sort(wantSubs)
	for _, limit := range []int{1, 2, 3, 7, 200} {
		var got, subs []string
		for p := (api.Page{Limit: limit}); ; {
			page, next, err := c.ListEndpoints(ctx, operator(), "", p)
			if err != nil || len(page) > limit {
				t.Fatal(len(page), err)
			}
			for _, e := range page {
				got = append(got, e.ID)
			}
			if p.After = next; next == "" {
				break
			}
		}
		for p := (api.Page{Limit: limit}); ; {
			page, next, err := c.ListSubscriptions(ctx, operator(), "", p)
			if err != nil || len(page) > limit {
				t.Fatal(len(page), err)
			}
			for _, s := range page {
				subs = append(subs, s.ID)
			}
			if p.After = next; next == "" {
				break
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(limit, d)
		}
		if d := cmp.Diff(wantSubs, subs); d != "" {
			t.Error(limit, d)
		}
	}
}

// TestDeletionIsFinishedAfterACrash leaves an endpoint in every state that a crash in its deletion can leave.
func TestDeletionIsFinishedAfterACrash(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	ctx := t.Context()
	e, _ := w.endpoint(operator(), "a")
	w.receiver.answer("a", 500)
	w.subscribe(operator(), e.ID, api.From{}, "order.changed")
	w.insert("shop", 1, "red", "x")
	w.receiver.wait(t, "a", 1)
	if err := w.app.store.BeginDeleteEndpoint(ctx, e.ID, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := w.control.Endpoint(ctx, operator(), e.ID); problem(err) != "not_found" {
		t.Errorf("it is being deleted: %v", err)
	}
	w.stop()
	w.start()
	eventually(t, "nothing of it is left", func() bool {
		ids, err := w.app.store.DeletedEndpoints(t.Context())
		rs, rerr := w.app.store.Ranges(t.Context(), "shop")
		xs, xerr := w.app.store.EndpointExceptions(t.Context(), e.ID, 0, deliver.ExceptionKey{}, 10)
		return err == nil && rerr == nil && xerr == nil && len(ids)+len(rs)+len(xs) == 0
	})
	w.insert("shop", 2, "red", "x")
	if n := w.receiver.count("a"); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestEndpointOutlivesTheGuard: a stricter guard keeps a delivery in, not the process down.
func TestEndpointOutlivesTheGuard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	e, _ := w.endpoint(operator(), "a")
	w.subscribe(operator(), e.ID, api.From{}, "order.changed")
	w.stop()
	w.cfg.Egress = deliver.EgressPolicy{}
	w.start()
	w.insert("shop", 1, "red", "x")
	eventually(t, "the guard has stopped a delivery", func() bool {
		page, _, err := w.control.EndpointAttempts(t.Context(), operator(), e.ID, api.Page{Limit: 1})
		return err == nil && len(page) == 1 && page[0].Outcome == "egress"
	})
	text := "still changeable"
	if _, err := w.control.UpdateEndpoint(t.Context(), operator(), e.ID, 0, api.EndpointChange{Description: &text}); err != nil {
		t.Error(err)
	}
	url := e.URL
	_, err := w.control.UpdateEndpoint(t.Context(), operator(), e.ID, 0, api.EndpointChange{URL: &url})
	wantField(t, err, "body.url")
	if w.receiver.count("a") != 0 {
		t.Error("it was let through")
	}
}

func TestRotateEndsSecretsNoLater(t *testing.T) {
	t.Parallel()
	now := time.Now()
	old, soon := webhook.NewSecret(), webhook.NewSecret()
	r := store.EndpointRecord{Secrets: []store.SigningSecret{{Secret: old}, {Secret: soon, ExpiresAt: now.Add(time.Minute)}}}
	if err := rotate(&r, webhook.NewSecret(), now, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if !r.Secrets[1].ExpiresAt.Equal(now.Add(time.Hour)) || !r.Secrets[2].ExpiresAt.Equal(now.Add(time.Minute)) {
		t.Errorf("%+v", r.Secrets)
	}
}
