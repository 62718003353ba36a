package app

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/deliver"
)

// seqs waits for n requests and returns their seqs in order.
func (w *world) seqs(path string, n int) []int {
	w.t.Helper()
	var out []int
	for _, r := range w.receiver.wait(w.t, path, n) {
		seq, err := strconv.Atoi(r.seq())
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, seq)
	}
	slices.Sort(out)
	return out
}

func TestSubscriptionBeginsWhereItSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop", "bar")
	w.start()
	for i := range 4 {
		w.insert("shop", i, "red", "x")
	}
	w.insert("bar", 1, "red", "x")
	past := time.Now().Add(-time.Hour)
	for path, c := range map[string]struct {
		from   api.From
		starts []api.Start
		want   []int
	}{
		"now":      {api.From{}, []api.Start{{Source: "shop", Seq: 4}, {Source: "bar", Seq: 1}}, []int{5}},
		"earliest": {api.From{Earliest: true}, []api.Start{{Source: "shop", Seq: 0}, {Source: "bar", Seq: 0}}, []int{1, 1, 2, 3, 4, 5}},
		"seq":      {api.From{Seqs: map[string]uint64{"shop": 2}}, []api.Start{{Source: "shop", Seq: 2}, {Source: "bar", Seq: 1}}, []int{3, 4, 5}},
		"time":     {api.From{Time: &past}, []api.Start{{Source: "shop", Seq: 0}, {Source: "bar", Seq: 0}}, []int{1, 1, 2, 3, 4, 5}},
	} {
		e, _ := w.endpoint(operator(), path)
		s := w.subscribe(operator(), e.ID, c.from, "order.changed")
		for i := range s.Starts {
			s.Starts[i].Backfilling = false // it may be done already
		}
		if d := cmp.Diff(c.starts, s.Starts); d != "" {
			t.Error(path, d)
		}
		defer func() {
			if d := cmp.Diff(c.want, w.seqs(path, len(c.want))); d != "" {
				t.Error(path, d)
			}
		}()
	}
	w.insert("shop", 5, "red", "x")
}

func TestSubscriptionFromMadeToGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	ctx, c := t.Context(), w.control
	e, _ := w.endpoint(operator(), "a")
	made, err := c.CreateSubscription(ctx, operator(), api.NewSubscription{
		Endpoint: e.ID, Description: "d", Types: []string{"order.changed"}, Subject: "orders/1*",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := api.Subscription{
		ID: made.ID, Endpoint: e.ID, Description: "d", Types: []string{"order.changed"}, Subject: "orders/1*",
		Starts: []api.Start{{Source: "shop"}}, Version: 1, CreatedAt: made.CreatedAt, UpdatedAt: made.UpdatedAt,
	}
	if d := cmp.Diff(want, made); d != "" || made.CreatedAt.IsZero() {
		t.Error(d)
	}
	w.insert("shop", 1, "red", "x")   // 1
	w.insert("shop", 2, "red", "x")   // 2: another subject
	w.insert("shop", 100, "red", "x") // 3
	if d := cmp.Diff([]int{1, 3}, w.seqs("a", 2)); d != "" {
		t.Error(d)
	}
	// A description is no new version of what is sent.
	text := "other"
	s, err := c.UpdateSubscription(ctx, operator(), made.ID, 1, api.SubscriptionChange{Description: &text})
	if err != nil || s.Version != 2 || s.Starts[0].Seq != 0 || s.Description != text {
		t.Errorf("%+v %v", s, err)
	}
	if _, err := c.UpdateSubscription(ctx, operator(), made.ID, 1, api.SubscriptionChange{Description: &text}); problem(err) != "precondition_failed" {
		t.Error(err)
	}
	subject := "orders/2*"
	if s, err = c.UpdateSubscription(ctx, operator(), made.ID, 2, api.SubscriptionChange{Subject: &subject}); err != nil || s.Version != 3 || s.Starts[0].Seq != 3 {
		t.Errorf("%+v %v", s, err)
	}
	w.insert("shop", 10, "red", "x") // 4: not any more
	w.insert("shop", 20, "red", "x") // 5
	if d := cmp.Diff([]int{1, 3, 5}, w.seqs("a", 3)); d != "" {
		t.Error(d)
	}
	if s, err = c.PauseSubscription(ctx, operator(), made.ID); err != nil || !s.Paused || s.Version != 4 {
		t.Errorf("%+v %v", s, err)
	}
	if again, err := c.PauseSubscription(ctx, operator(), made.ID); err != nil || cmp.Diff(s, again) != "" {
		t.Errorf("%+v %v", again, err)
	}
	w.insert("shop", 21, "red", "x") // 6: held back
	w.stop()
	w.start()
	ctx, c = t.Context(), w.control
	w.insert("shop", 22, "red", "x") // 7: held back
	if s, err = c.Subscription(ctx, operator(), made.ID); err != nil || !s.Paused {
		t.Errorf("%+v %v", s, err)
	}
	if s, err = c.ResumeSubscription(ctx, operator(), made.ID); err != nil || s.Paused || s.Starts[0].Seq != 5 {
		t.Errorf("%+v %v", s, err)
	}
	if d := cmp.Diff([]int{1, 3, 5, 6, 7}, w.seqs("a", 5)); d != "" {
		t.Error(d)
	}
	if err := c.DeleteSubscription(ctx, operator(), made.ID, 4); problem(err) != "precondition_failed" {
		t.Error(err)
	}
	if err := c.DeleteSubscription(ctx, operator(), made.ID, s.Version); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Subscription(ctx, operator(), made.ID); problem(err) != "not_found" {
		t.Error(err)
	}
	w.insert("shop", 23, "red", "x") // 8: nobody's
	w.subscribe(operator(), e.ID, api.From{}, "order.changed")
	w.insert("shop", 24, "red", "x") // 9
	if d := cmp.Diff([]int{1, 3, 5, 6, 7, 9}, w.seqs("a", 6)); d != "" {
		t.Error(d)
	}
}

func TestDeclaredSubscriptionIsPaused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.declare("file", "")
	w.start()
	ctx := t.Context()
	s, err := w.control.Subscription(ctx, operator(), "file/all")
	want := api.Subscription{ID: "file/all", Declared: true, Endpoint: "file", Types: []string{"order.changed"}, Starts: []api.Start{{Source: "shop"}}}
	if d := cmp.Diff(want, s); d != "" || err != nil {
		t.Error(err, d)
	}
	w.insert("shop", 1, "red", "x")
	w.seqs("file", 1)
	if s, err = w.control.PauseSubscription(ctx, operator(), "file/all"); err != nil || !s.Paused {
		t.Fatalf("%+v %v", s, err)
	}
	w.insert("shop", 2, "red", "x")
	w.stop()
	w.start()
	w.insert("shop", 3, "red", "x")
	if s, err = w.control.ResumeSubscription(ctx, operator(), "file/all"); err != nil || s.Paused || s.Starts[0].Seq != 1 {
		t.Fatalf("%+v %v", s, err)
	}
	if d := cmp.Diff([]int{1, 2, 3}, w.seqs("file", 3)); d != "" {
		t.Error(d)
	}
}

// TestReconcile leaves the engines and the records as crashes between the two can leave them.
func TestReconcile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	ctx := t.Context()
	w.insert("shop", 0, "red", "x") // the first change of a log is in every range that ended before it
	made := map[string]api.Subscription{}
	for _, path := range []string{"deleting", "changing", "pausing", "resuming", "whole"} {
		e, _ := w.endpoint(operator(), path)
		made[path] = w.subscribe(operator(), e.ID, api.From{}, "order.changed")
	}
	e, _ := w.endpoint(operator(), "making")
	if _, err := w.control.PauseSubscription(ctx, operator(), made["resuming"].ID); err != nil {
		t.Fatal(err)
	}
	engine := w.app.sources[0].engine
	for _, path := range []string{"deleting", "pausing"} { // both end the ranges first
		if _, ok, err := engine.EndSubscription(ctx, made[path].Endpoint, made[path].ID); !ok || err != nil {
			t.Fatal(err)
		}
	}
	for path, def := range map[string]deliver.Range{
		"changing": {Endpoint: made["changing"].Endpoint, Subscription: made["changing"].ID, Types: []string{"order.noted"}},
		"resuming": {Endpoint: made["resuming"].Endpoint, Subscription: made["resuming"].ID, Types: []string{"order.changed"}},
		"making":   {Endpoint: e.ID, Subscription: "sub_0000000000000000", Types: []string{"order.changed"}},
	} {
		def.From = deliver.FromNow
		if _, _, err := engine.Subscribe(ctx, def); err != nil {
			t.Fatal(path, err)
		}
	}
	w.stop()
	w.start()
	eventually(t, "everything is in line", func() bool {
		rs, err := w.app.store.Ranges(t.Context(), "shop")
		if err != nil {
			return false
		}
		open := map[string]string{}
		for _, r := range rs {
			if r.To == 0 {
				open[r.Subscription] = r.Types[0]
			}
		}
		return cmp.Diff(map[string]string{
			made["deleting"].ID: "order.changed", made["changing"].ID: "order.changed", made["pausing"].ID: "order.changed", made["whole"].ID: "order.changed",
		}, open) == ""
	})
	w.insert("shop", 1, "red", "x")
	for _, path := range []string{"deleting", "changing", "pausing", "whole"} {
		r := w.receiver.wait(t, path, 1)
		if got := string(r[0].body); len(r) != 1 || !strings.Contains(got, `"type":"order.changed"`) {
			t.Errorf("%s: %s", path, got)
		}
	}
	for _, path := range []string{"resuming", "making"} {
		if n := w.receiver.count(path); n != 0 {
			t.Errorf("%s: %d requests", path, n)
		}
	}
}

// TestNewSource: subscriptions that were made before a source was added get all of it.
func TestNewSource(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shop")
	w.start()
	e, _ := w.endpoint(operator(), "a")
	s := w.subscribe(operator(), e.ID, api.From{}, "order.changed")
	w.stop()
	w.cfg.Sources = append(w.cfg.Sources, w.cfg.Sources[0])
	w.cfg.Sources[1].Name, w.next["bar"] = "bar", 1
	w.start()
	w.insert("bar", 1, "red", "x")
	w.seqs("a", 1)
	eventually(t, "it has a place in both", func() bool {
		got, err := w.control.Subscription(t.Context(), operator(), s.ID)
		return err == nil && len(got.Starts) == 2
	})
}

// TestRestore puts back what a change had ended or replaced before the store refused it. Nothing of the old definition is missed.
func TestRestore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	ctx, c := t.Context(), w.control
	w.insert("shop", 0, "red", "x") // 1
	for path, change := range map[string]func(def deliver.Range) ([]deliver.Range, error){
		"ended": func(def deliver.Range) ([]deliver.Range, error) { return c.end(ctx, def) },
		"replaced": func(def deliver.Range) ([]deliver.Range, error) {
			def.Subject = "orders/nothing"
			return c.place(ctx, def, func(*source) uint64 { return deliver.FromNow })
		},
	} {
		e, _ := w.endpoint(operator(), path)
		s := w.subscribe(operator(), e.ID, api.From{}, "order.changed")
		r, err := w.app.store.APISubscription(ctx, s.ID)
		if err != nil {
			t.Fatal(err)
		}
		changed, err := change(definitionOf(&r))
		if err != nil || len(changed) == 0 {
			t.Fatal(changed, err)
		}
		seq := int(w.next["shop"])
		if path == "ended" {
			w.insert("shop", 1, "red", "x") // while it was ended
		}
		c.restore(ctx, definitionOf(&r), changed)
		last := int(w.insert("shop", 2, "red", "x"))
		var want []int
		for ; seq <= last; seq++ {
			want = append(want, seq)
		}
		if d := cmp.Diff(want, w.seqs(path, len(want))); d != "" {
			t.Error(path, d)
		}
	}
}
