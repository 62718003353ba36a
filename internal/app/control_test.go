package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/event"
)

// TestTenantsDoNotSeeEachOther asks for what belongs to another tenant in every way there is: the answer is that of an id that never was.
func TestTenantsDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.declare("own", "")
	w.declare("red-file", "red")
	w.start()
	ctx, c := t.Context(), w.control
	red, blue := tenant("red"), tenant("blue")
	theirs, _ := w.endpoint(red, "red")
	theirSub := w.subscribe(red, theirs.ID, api.From{}, "order.changed")
	mine, _ := w.endpoint(blue, "blue")
	w.subscribe(blue, mine.ID, api.From{}, "order.*")
	w.insert("shop", 1, "red", "secret")
	theirEvent := w.receiver.wait(t, "red", 1)[0].header.Get("Webhook-Id")
	w.receiver.wait(t, "red-file", 1)
	eventually(t, "the attempts are recorded", func() bool {
		attempts, err := w.app.store.AttemptsOfEvent(ctx, theirEvent)
		return err == nil && len(attempts) == 3
	})

	text := "x"
	for _, id := range []string{theirs.ID, "red-file", "own", "ep_0000000000000000", "never was", ""} {
		for name, call := range map[string]func() error{
			"get": func() error { _, err := c.Endpoint(ctx, blue, id); return err },
			"update": func() error {
				_, err := c.UpdateEndpoint(ctx, blue, id, 0, api.EndpointChange{Description: &text})
				return err
			},
			"delete":     func() error { return c.DeleteEndpoint(ctx, blue, id, 0) },
			"pause":      func() error { _, err := c.PauseEndpoint(ctx, blue, id, ""); return err },
			"resume":     func() error { _, err := c.ResumeEndpoint(ctx, blue, id); return err },
			"rotate":     func() error { _, _, err := c.RotateSecret(ctx, blue, id, 0, "", time.Hour); return err },
			"test":       func() error { _, err := c.TestEndpoint(ctx, blue, id, ""); return err },
			"attempts":   func() error { _, _, err := c.EndpointAttempts(ctx, blue, id, api.Page{Limit: 5}); return err },
			"exceptions": func() error { _, _, err := c.EndpointExceptions(ctx, blue, id, "", api.Page{Limit: 5}); return err },
			"subscribing": func() error {
				_, err := c.CreateSubscription(ctx, blue, api.NewSubscription{Endpoint: id, Types: []string{"*"}})
				return err
			},
		} {
			if err := call(); problem(err) != "not_found" || err.Error() != "not_found: there is no such endpoint" {
				t.Errorf("%s %q: %v", name, id, err)
			}
		}
	}
	for _, id := range []string{theirSub.ID, "red-file/all", "own/all", "sub_0000000000000000", "a/b", "a/b/c", ""} {
		for name, call := range map[string]func() error{
			"get": func() error { _, err := c.Subscription(ctx, blue, id); return err },
			"update": func() error {
				_, err := c.UpdateSubscription(ctx, blue, id, 0, api.SubscriptionChange{Subject: &text})
				return err
			},
			"delete": func() error { return c.DeleteSubscription(ctx, blue, id, 0) },
			"pause":  func() error { _, err := c.PauseSubscription(ctx, blue, id); return err },
			"resume": func() error { _, err := c.ResumeSubscription(ctx, blue, id); return err },
		} {
			if err := call(); problem(err) != "not_found" || err.Error() != "not_found: there is no such subscription" {
				t.Errorf("%s %q: %v", name, id, err)
			}
		}
	}
	if _, err := c.Event(ctx, blue, theirEvent); problem(err) != "not_found" {
		t.Errorf("their event: %v", err)
	}
	if _, _, err := c.EventAttempts(ctx, blue, theirEvent, api.Page{Limit: 5}); problem(err) != "not_found" {
		t.Errorf("attempts of their event: %v", err)
	}
	if _, _, err := c.CreateEndpoint(ctx, blue, api.NewEndpoint{Tenant: "red", URL: w.receiver.url("x")}); problem(err) != "invalid" {
		t.Errorf("an endpoint for another tenant: %v", err)
	}
	eps, _, err := c.ListEndpoints(ctx, blue, "", api.Page{Limit: 200})
	if err != nil || len(eps) != 1 || eps[0].ID != mine.ID || eps[0].Tenant != "blue" {
		t.Errorf("list: %+v %v", eps, err)
	}
	if eps, _, err := c.ListEndpoints(ctx, blue, "red", api.Page{Limit: 200}); err != nil || len(eps) != 0 {
		t.Errorf("list of another tenant: %+v %v", eps, err)
	}
	subs, _, err := c.ListSubscriptions(ctx, blue, "", api.Page{Limit: 200})
	if err != nil || len(subs) != 1 || subs[0].Endpoint != mine.ID {
		t.Errorf("list: %+v %v", subs, err)
	}
	if subs, _, err := c.ListSubscriptions(ctx, blue, theirs.ID, api.Page{Limit: 200}); err != nil || len(subs) != 0 {
		t.Errorf("list of another's endpoint: %+v %v", subs, err)
	}
	if err := c.Tail(ctx, blue, api.TailFilter{Tenant: "red"}, nil); problem(err) != "not_found" {
		t.Errorf("tail: %v", err)
	}
	for name, err := range map[string]error{
		"list keys": func() error { _, _, err := c.ListKeys(ctx, blue, api.Page{}); return err }(),
		"make keys": func() error { _, _, err := c.CreateKey(ctx, blue, api.NewKey{Scope: api.ScopeRead}); return err }(),
		"end keys":  c.DeleteKey(ctx, blue, "x"),
	} {
		if problem(err) != "forbidden" {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The owner and the operator see it; so nothing above failed for another reason.
	for attempts, who := range map[int]api.Caller{2: red, 3: operator()} { // the operator's own endpoint got it too
		if _, err := c.Endpoint(ctx, who, theirs.ID); err != nil {
			t.Error(err)
		}
		if _, err := c.Subscription(ctx, who, "red-file/all"); err != nil {
			t.Error(err)
		}
		ev, err := c.Event(ctx, who, theirEvent)
		if err != nil || ev.Tenant != "red" || len(ev.Attempts) != attempts || !strings.Contains(string(ev.Payload), `"secret"`) {
			t.Errorf("%+v %v", ev, err)
		}
	}
	if w.receiver.count("blue") != 0 {
		t.Error("another tenant's event was sent")
	}
}

// TestChangeRace lets 64 callers change one endpoint at one version, and one subscription: one wins, the others are told.
func TestChangeRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	ctx, c := t.Context(), w.control
	e, _ := w.endpoint(operator(), "a")
	s := w.subscribe(operator(), e.ID, api.From{}, "order.changed")
	for name, change := range map[string]func(i int) error{
		"endpoint": func(i int) error {
			text := fmt.Sprint(i)
			_, err := c.UpdateEndpoint(ctx, operator(), e.ID, e.Version, api.EndpointChange{Description: &text})
			return err
		},
		"subscription": func(i int) error {
			text := fmt.Sprint(i)
			_, err := c.UpdateSubscription(ctx, operator(), s.ID, s.Version, api.SubscriptionChange{Subject: &text})
			return err
		},
	} {
		var mu sync.Mutex
		results := map[string]int{}
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				code := problem(change(i))
				mu.Lock()
				defer mu.Unlock()
				results[code]++
			})
		}
		wg.Wait()
		if d := cmp.Diff(map[string]int{"": 1, "precondition_failed": 63}, results); d != "" {
			t.Error(name, d)
		}
	}
	if rs, err := w.app.store.RangesOf(ctx, "shop", e.ID, s.ID); err != nil || len(rs) != 2 || rs[0].To != rs[1].LiveFrom || rs[1].To != 0 {
		t.Errorf("%+v %v", rs, err)
	}
	if n := len(c.locks.held); n != 0 {
		t.Errorf("%d locks are left", n)
	}
}

func TestRequestsThatAreWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.declare("file", "")
	w.start()
	ctx, c := t.Context(), w.control
	e, _ := w.endpoint(operator(), "a")
	zero, long, size, word := 0, time.Hour, int64(1), "sometimes"
	url := w.receiver.url("x")
	for name, n := range map[string]api.NewEndpoint{
		"body.url":         {URL: "http://10.0.0.1/"},
		"body.url ":        {URL: "https://user:pass@example.com/"},
		"body.url  ":       {URL: "ftp://example.com/"},
		"body.url   ":      {},
		"body.url    ":     {URL: "https://nothing.invalid/"},
		"body.concurrency": {URL: url, Concurrency: &zero},
		"body.timeout":     {URL: url, Timeout: &long},
		"body.queue_bytes": {URL: url, QueueBytes: &size},
		"body.order":       {URL: url, Order: &word},
		"body.secret":      {URL: url, Secret: "whsec_c2hvcnQ="},
		"body.secret ":     {URL: url, Secret: "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="},
	} {
		_, _, err := c.CreateEndpoint(ctx, operator(), n)
		wantField(t, err, strings.TrimSpace(name))
		if err != nil && (strings.Contains(err.Error(), "pass") || strings.Contains(err.Error(), "c2hvcnQ")) {
			t.Errorf("it quotes what is secret: %v", err)
		}
	}
	bad := "http://127.0.0.1:99999/"
	_, err := c.UpdateEndpoint(ctx, operator(), e.ID, 0, api.EndpointChange{URL: &bad})
	wantField(t, err, "body.url")
	_, _, err = c.RotateSecret(ctx, operator(), e.ID, 0, "", 8*24*time.Hour)
	wantField(t, err, "body.overlap")
	now := time.Now()
	for name, n := range map[string]api.NewSubscription{
		"body.types":        {},
		"body.types[1]":     {Types: []string{"*", "nothing.*"}},
		"body.from.nowhere": {Types: []string{"*"}, From: api.From{Seqs: map[string]uint64{"nowhere": 1}}},
		"body.from.shop":    {Types: []string{"*"}, From: api.From{Seqs: map[string]uint64{"shop": 1}}},
		"body.from":         {Types: []string{"*"}, From: api.From{Time: &now, Earliest: true}},
	} {
		n.Endpoint = e.ID
		_, err := c.CreateSubscription(ctx, operator(), n)
		wantField(t, err, name)
	}
	for name, err := range map[string]error{
		"query.cursor": func() error { _, _, err := c.EndpointAttempts(ctx, operator(), e.ID, api.Page{After: "x"}); return err }(),
		"query.cursor ": func() error {
			_, _, err := c.EndpointExceptions(ctx, operator(), e.ID, "", api.Page{After: "a/b"})
			return err
		}(),
		"query.state": func() error { _, _, err := c.EndpointExceptions(ctx, operator(), e.ID, "odd", api.Page{}); return err }(),
		"body.type":   func() error { _, err := c.TestEndpoint(ctx, operator(), e.ID, "no.such"); return err }(),
		"body.scope": func() error {
			_, _, err := c.CreateKey(ctx, operator(), api.NewKey{Scope: api.ScopeAdmin, Tenant: "t"})
			return err
		}(),
		"body.scope ": func() error { _, _, err := c.CreateKey(ctx, operator(), api.NewKey{Scope: "all"}); return err }(),
		"body.expires_at": func() error {
			_, _, err := c.CreateKey(ctx, operator(), api.NewKey{Scope: api.ScopeRead, ExpiresAt: now.Add(-time.Second)})
			return err
		}(),
	} {
		wantField(t, err, strings.TrimSpace(name))
	}
	text := "x"
	for name, err := range map[string]error{
		"change": func() error {
			_, err := c.UpdateEndpoint(ctx, operator(), "file", 0, api.EndpointChange{Description: &text})
			return err
		}(),
		"delete": c.DeleteEndpoint(ctx, operator(), "file", 0),
		"rotate": func() error { _, _, err := c.RotateSecret(ctx, operator(), "file", 0, "", 0); return err }(),
		"subscribe": func() error {
			_, err := c.CreateSubscription(ctx, operator(), api.NewSubscription{Endpoint: "file", Types: []string{"*"}})
			return err
		}(),
		"resubscribe": func() error {
			_, err := c.UpdateSubscription(ctx, operator(), "file/all", 0, api.SubscriptionChange{Subject: &text})
			return err
		}(),
		"unsubscribe": c.DeleteSubscription(ctx, operator(), "file/all", 0),
	} {
		if problem(err) != "declared" {
			t.Errorf("%s what is declared: %v", name, err)
		}
	}
}

func wantField(t *testing.T, err error, location string) {
	t.Helper()
	p, ok := errors.AsType[*api.Problem](err)
	if !ok || p.Status != 422 || len(p.Fields) == 0 || p.Fields[0].Location != location || p.Fields[0].Message == "" {
		t.Errorf("%s: %+v", location, err)
	}
}

func TestKeysAndAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	ctx, c := t.Context(), w.control
	k, text, err := c.CreateKey(ctx, operator(), api.NewKey{Name: "n", Scope: api.ScopeManage, Tenant: "red", ExpiresAt: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	who, ok, err := c.Authenticate(ctx, text)
	if d := cmp.Diff(api.Caller{KeyID: k.ID, Scope: api.ScopeManage, Tenant: "red"}, who); d != "" || !ok || err != nil {
		t.Error(ok, err, d)
	}
	keys, next, err := c.ListKeys(ctx, operator(), api.Page{Limit: 5})
	if err != nil || next != "" || len(keys) != 1 || keys[0].LastUsedAt == nil || keys[0].ExpiresAt == nil {
		t.Errorf("%+v %q %v", keys, next, err)
	}
	request := [32]byte{1}
	if a, _, err := c.BeginIdempotent(ctx, who, "i", request); a != nil || err != nil {
		t.Error(a, err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	given := &api.StoredAnswer{Status: 201, Headers: map[string]string{"Location": "/x"}, Body: []byte("b")}
	if err := c.FinishIdempotent(gone, who, "i", given); err != nil {
		t.Errorf("the caller has gone, and the answer with it: %v", err)
	}
	a, same, err := c.BeginIdempotent(ctx, who, "i", request)
	if d := cmp.Diff(given, a); d != "" || !same || err != nil {
		t.Error(same, err, d)
	}
	if err := c.DeleteKey(ctx, operator(), k.ID); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := c.Authenticate(ctx, text); ok || err != nil {
		t.Error(ok, err)
	}
	if err := c.DeleteKey(ctx, operator(), k.ID); problem(err) != "not_found" {
		t.Error(err)
	}
}

func TestLocksAreByKey(t *testing.T) {
	t.Parallel()
	k := keyedLocks{held: map[string]*keyedLock{}}
	unlock, err := k.lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	other, err := k.lock(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.lock(gone, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("a lock that is held: %v", err)
	}
	unlock()
	shared := 0
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			unlock, err := k.lock(t.Context(), "a")
			if err != nil {
				t.Error(err)
				return
			}
			shared++
			unlock()
		})
	}
	wg.Wait()
	if shared != 64 || len(k.held) != 0 {
		t.Error(shared, len(k.held))
	}
}

func TestTenantsOfEvents(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tenant string
		move   event.Move
		of     string
		want   bool
	}{
		{"", event.MoveNone, "red", true}, {"", event.MoveUpdate, "red", true}, {"", event.MoveOut, "red", false}, {"", event.MoveIn, "red", false},
		{"red", event.MoveNone, "red", true}, {"red", event.MoveOut, "red", true}, {"red", event.MoveIn, "red", true},
		{"red", event.MoveUpdate, "red", false}, {"red", event.MoveNone, "blue", false}, {"red", event.MoveIn, "blue", false}, {"red", event.MoveNone, "", false},
	} {
		if got := sees(c.tenant, &event.Event{Tenant: c.of, Move: c.move}); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
