package app

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/change/changetest"
)

// errEnough ends a tail.
var errEnough = errors.New("enough")

// tail returns what a tail gives until it has given n events.
func (w *world) tail(who api.Caller, filter api.TailFilter, n int) []*api.TailEvent {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	var out []*api.TailEvent
	err := w.control.Tail(ctx, who, filter, func(e *api.TailEvent) error {
		if e != nil {
			out = append(out, e)
		}
		if len(out) == n {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		w.t.Fatalf("%d of %d events, %v", len(out), n, err)
	}
	return out
}

func TestEventIsFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "bar", "shop")
	w.start()
	ctx, c := t.Context(), w.control
	e, _ := w.endpoint(tenant("red"), "a")
	w.receiver.answer("a", 500)
	w.subscribe(tenant("red"), e.ID, api.From{}, "order.changed")
	w.insert("bar", 9, "red", "x")
	for i := range 3 {
		w.insert("shop", i, []string{"blue", "red", "green"}[i], "x")
	}
	for i, ev := range w.tail(operator(), api.TailFilter{Source: "shop", Types: []string{"order.changed"}, From: api.From{Earliest: true}}, 3) {
		org := []string{"blue", "red", "green"}[i]
		if org == "red" {
			eventually(t, "it waits for a retry", func() bool {
				got, err := c.Event(ctx, operator(), ev.ID)
				return err == nil && len(got.Attempts) == 1 && len(got.Exceptions) == 1
			})
		}
		got, err := c.Event(ctx, tenant(org), ev.ID)
		if err != nil {
			t.Fatal(org, err)
		}
		if got.ID != ev.ID || got.Type != "order.changed" || got.Source != "shop" || got.Seq != uint64(i+1) || got.Tenant != org ||
			got.Subject != "orders/"+string(rune('0'+i)) || string(got.Payload) != string(ev.Payload) || got.Expired || got.Attempts == nil || got.Exceptions == nil {
			t.Errorf("%+v", got)
		}
		if _, err := c.Event(ctx, tenant("nobody"), ev.ID); problem(err) != "not_found" {
			t.Errorf("of %s: %v", org, err)
		}
		if org != "red" {
			continue
		}
		x := got.Exceptions[0]
		if x.State != "waiting" || x.Reason != "http_500" || x.NextAttempt == nil || x.Attempts != 1 || got.Attempts[0].Status != 500 || got.Attempts[0].BodySHA256 == "" {
			t.Errorf("%+v %+v", x, got.Attempts)
		}
		page, next, err := c.EventAttempts(ctx, tenant("red"), ev.ID, api.Page{Limit: 5})
		if d := cmp.Diff(got.Attempts, page); d != "" || next != "" || err != nil {
			t.Error(next, err, d)
		}
		xs, next, err := c.EndpointExceptions(ctx, tenant("red"), e.ID, "waiting", api.Page{Limit: 1})
		if err != nil || len(xs) != 1 || next == "" || xs[0].Source != "bar" {
			t.Fatalf("%+v %q %v", xs, next, err)
		}
		if xs, next, err = c.EndpointExceptions(ctx, tenant("red"), e.ID, "", api.Page{Limit: 1, After: next}); err != nil || next != "" || cmp.Diff(got.Exceptions, xs) != "" {
			t.Errorf("%+v %q %v", xs, next, err)
		}
		if xs, _, err = c.EndpointExceptions(ctx, tenant("red"), e.ID, "parked", api.Page{Limit: 1}); err != nil || len(xs) != 0 {
			t.Errorf("%+v %v", xs, err)
		}
		first, next, err := c.EndpointAttempts(ctx, tenant("red"), e.ID, api.Page{Limit: 1})
		if err != nil || len(first) != 1 || next == "" {
			t.Fatalf("%+v %q %v", first, next, err)
		}
		second, next, err := c.EndpointAttempts(ctx, tenant("red"), e.ID, api.Page{Limit: 1, After: next})
		if err != nil || len(second) != 1 || next != "" || first[0].EventID == second[0].EventID {
			t.Errorf("%+v %q %v", second, next, err)
		}
	}
	w.commit("shop", changetest.Change{ // 4
		Op: change.Update, Table: orders(), Before: changetest.Row{3, "red", "x"}, After: changetest.Row{3, "blue", "x"},
	})
	from := api.From{Seqs: map[string]uint64{"shop": 3}}
	update := w.tail(operator(), api.TailFilter{Source: "shop", Types: []string{"order.changed"}, From: from}, 1)[0]
	for _, org := range []string{"red", "blue"} {
		if _, err := c.Event(ctx, tenant(org), update.ID); problem(err) != "not_found" {
			t.Errorf("%s sees the move as the operator does: %v", org, err)
		}
		side := w.tail(tenant(org), api.TailFilter{Source: "shop", From: from}, 1)[0]
		if got, err := c.Event(ctx, tenant(org), side.ID); err != nil || got.Tenant != org {
			t.Errorf("%s does not see its side of the move: %+v %v", org, got, err)
		}
	}
	for _, id := range []string{"", "evt_", "evt_zzzz", "evt_00000000000000000000000000000000", strings.Repeat("x", 5000)} {
		if _, err := c.Event(ctx, operator(), id); problem(err) != "not_found" {
			t.Errorf("%.20q: %v", id, err)
		}
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop", "bar")
	w.start()
	w.insert("shop", 1, "red", "x")
	w.insert("shop", 2, "blue", "x")
	w.commit("shop", changetest.Change{
		Op: change.Update, Table: orders(), Before: changetest.Row{3, "red", "x"}, After: changetest.Row{3, "blue", "x"},
	})
	w.insert("bar", 4, "red", "x")
	earliest := api.From{Earliest: true}
	for name, c := range map[string]struct {
		who    api.Caller
		filter api.TailFilter
		want   []string
	}{
		"everything of a source": {operator(), api.TailFilter{Source: "shop", From: earliest},
			[]string{"order.changed 1 insert", "order.noted 1 insert", "order.changed 2 insert", "order.noted 2 insert", "order.changed 3 update", "order.noted 3 update"}},
		"types":                {operator(), api.TailFilter{Source: "shop", Types: []string{"no", "*.noted"}, From: earliest}, []string{"order.noted 1 insert", "order.noted 2 insert"}},
		"subject":              {operator(), api.TailFilter{Subject: "orders/2", From: earliest}, []string{"order.changed 2 insert"}},
		"a tenant and a move":  {tenant("red"), api.TailFilter{Source: "shop", From: earliest}, []string{"order.changed 1 insert", "order.changed 3 delete"}},
		"the other side":       {operator(), api.TailFilter{Source: "shop", Tenant: "blue", From: earliest}, []string{"order.changed 2 insert", "order.changed 3 insert"}},
		"a seq in one, now in": {operator(), api.TailFilter{Source: "shop", From: api.From{Seqs: map[string]uint64{"shop": 2}}}, []string{"order.changed 3 update"}},
		"another source":       {operator(), api.TailFilter{Source: "bar", From: earliest}, []string{"order.changed 1 insert"}},
	} {
		var got []string
		for _, e := range w.tail(c.who, c.filter, len(c.want)) {
			op := ""
			for _, o := range []string{"insert", "update", "delete"} {
				if strings.Contains(string(e.Payload), `"op":"`+o+`"`) {
					op = o
				}
			}
			got = append(got, e.Type+" "+string(rune('0'+e.Seq))+" "+op)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Error(name, d)
		}
	}
	if all := w.tail(operator(), api.TailFilter{From: earliest, Types: []string{"order.changed"}}, 4); len(all) != 4 {
		t.Error("both sources")
	}
	if err := w.control.Tail(t.Context(), operator(), api.TailFilter{Source: "nowhere"}, nil); problem(err) != "not_found" {
		t.Error(err)
	}
	// From now on, and until the caller goes.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := true
	var inserting sync.WaitGroup
	inserting.Go(func() { w.insert("shop", 5, "red", "late") })
	defer inserting.Wait()
	err := w.control.Tail(ctx, operator(), api.TailFilter{From: api.From{Seqs: map[string]uint64{"shop": 3}}}, func(e *api.TailEvent) error {
		if e != nil && first {
			first = false
			cancel()
		}
		return nil
	})
	if err != nil || first {
		t.Error(err, first)
	}
	if n := len(w.control.tails); n != 0 {
		t.Errorf("%d tails are left", n)
	}
}

func TestTailsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	for range maxTails {
		w.control.tails <- struct{}{}
	}
	err := w.control.Tail(t.Context(), operator(), api.TailFilter{}, nil)
	if problem(err) != "too_many_tails" {
		t.Error(err)
	}
	<-w.control.tails
	w.insert("shop", 1, "red", "x")
	w.tail(operator(), api.TailFilter{From: api.From{Earliest: true}}, 1)
}

// TestTailBeats holds that a tail never says nothing for 15 s.
func TestTailBeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tl := &tail{events: make(chan *api.TailEvent)}
		start, last, beats := time.Now(), time.Now(), 0
		err := tl.deliver(t.Context(), func(e *api.TailEvent) error {
			if time.Since(last) > 15*time.Second || e != nil {
				t.Errorf("after %v", time.Since(last))
			}
			last = time.Now()
			if beats++; beats == 5 {
				return errEnough
			}
			return nil
		})
		if !errors.Is(err, errEnough) || time.Since(start) > 75*time.Second {
			t.Error(err, time.Since(start))
		}
	})
}

func FuzzCursors(f *testing.F) {
	for _, text := range []string{"", "1", "-1", "shop/1/order.changed", "shop/x/t", "//", "a/18446744073709551615/b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := attemptCursor(text); err == nil && text != "" && cursorText(n) == "" {
			t.Errorf("%q is %d", text, n)
		}
		if k, err := exceptionCursor(text); err == nil && int64(k.Seq) < 0 {
			t.Errorf("%q is %+v", text, k)
		}
	})
}
