package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/rowhook/rowhook/internal/deliver"
)

func aRange(endpoint, subscription string, version uint64) deliver.Range {
	return deliver.Range{Source: testSource, Endpoint: endpoint, Subscription: subscription, Version: version,
		Types: []string{"order.*", `a"b`}, Subject: "orders/*", From: 5, LiveFrom: 9}
}

func ranges(t *testing.T, s *Store) []deliver.Range {
	t.Helper()
	rs, err := s.Ranges(t.Context(), testSource)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func TestRangesKeepTheOrderInWhichTheyWereMade(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	z, a, other := aRange("z", "z", 1), aRange("a", "a", 1), aRange("a", "a", 1)
	other.Source = "other"
	if err := errors.Join(s.PutRanges(t.Context(), z, other), s.PutRanges(t.Context(), a), s.PutRanges(t.Context())); err != nil {
		t.Fatal(err)
	}
	z.Types, z.Subject, z.To = []string{"*"}, "", 20
	if err := s.PutRanges(t.Context(), z); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]deliver.Range{z, a}, ranges(t, s)); d != "" {
		t.Error(d)
	}
}

// Whoever stores a range may have an older copy of it than the engine has written since.
func TestPutRangesTakesNothingBack(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	r := aRange(testEndpoint, "all", 1)
	done := r
	done.To, done.Backfilled = 30, true
	if err := s.PutRanges(t.Context(), done, r); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]deliver.Range{done}, ranges(t, s)); d != "" {
		t.Error(d)
	}
}

func TestForgetRangesTakesTheProgressOfTheirBackfills(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, t.TempDir())
	c := claimOne(t, s, "o", testEndpoint)
	one, two := aRange(testEndpoint, "all", 1), aRange(testEndpoint, "all", 2)
	lane := func(r *deliver.Range) deliver.EndpointProgress {
		return deliver.EndpointProgress{Source: testSource, Endpoint: r.LaneName(), Progress: deliver.Progress{Floor: 6}}
	}
	err := s.Commit(ctx, deliver.Batch{Source: testSource, Slots: []deliver.SlotWrite{{Slot: c.Slot, Epoch: c.Epoch,
		Ranges: []deliver.Range{one, two}, Progress: []deliver.EndpointProgress{lane(&one), lane(&two)}}}})
	if err != nil {
		t.Fatal(err)
	}
	gone, err := s.ForgetRanges(ctx, func(r deliver.Range) bool { return r.Version == 2 })
	if d := cmp.Diff([]deliver.Range{one}, gone); d != "" || err != nil {
		t.Error(err, d)
	}
	if d := cmp.Diff([]deliver.Range{two}, ranges(t, s)); d != "" {
		t.Error(d)
	}
	progress, err := s.LoadProgress(ctx, testSource)
	if d := cmp.Diff([]deliver.EndpointProgress{lane(&two)}, progress); d != "" || err != nil {
		t.Error(err, d)
	}
	if gone, err := s.ForgetRanges(ctx, func(deliver.Range) bool { return true }); len(gone) > 0 || err != nil {
		t.Error(gone, err)
	}
}

// An endpoint that is forgotten may come back in the same write; its neighbours by name stay.
func TestCommitForgetsAnEndpointFirst(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, t.TempDir())
	commit := func(source, endpoint string, w deliver.SlotWrite) {
		t.Helper()
		c := claimOne(t, s, "o", endpoint)
		w.Slot, w.Epoch = c.Slot, c.Epoch
		if err := s.Commit(ctx, deliver.Batch{Source: source, Slots: []deliver.SlotWrite{w}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, endpoint := range []string{"acme", "acme-2", "acm"} {
		r := aRange(endpoint, "all", 1)
		commit(testSource, endpoint, deliver.SlotWrite{
			Ranges:   []deliver.Range{r},
			Progress: []deliver.EndpointProgress{{Source: testSource, Endpoint: endpoint}, {Source: testSource, Endpoint: r.LaneName()}},
			Put:      []deliver.Exception{exception(endpoint, 5, deliver.Waiting)},
			States:   []deliver.EndpointState{{Endpoint: endpoint, Paused: true, Reason: "tea", At: time.UnixMilli(5).UTC()}},
			Attempts: []deliver.Attempt{attempt(endpoint, 1, 1)},
		})
	}
	elsewhere := exception("acme", 9, deliver.Waiting)
	elsewhere.Source = "other"
	commit("other", "acme", deliver.SlotWrite{Put: []deliver.Exception{elsewhere}})
	again := aRange("acme", "again", 1)
	commit(testSource, "acme", deliver.SlotWrite{Forget: []string{"acme"}, Ranges: []deliver.Range{again}})

	if d := cmp.Diff([]deliver.Range{aRange("acme-2", "all", 1), aRange("acm", "all", 1), again}, ranges(t, s)); d != "" {
		t.Error(d)
	}
	progress, err := s.LoadProgress(ctx, testSource)
	var lanes []string
	for _, p := range progress {
		lanes = append(lanes, p.Endpoint)
	}
	if d := cmp.Diff([]string{"acm", "acm#all@1", "acme-2", "acme-2#all@1"}, lanes); d != "" || err != nil {
		t.Error(err, d)
	}
	if n := rowCount(t, s, "exceptions"); n != 3 {
		t.Errorf("%d exceptions, want those of two endpoints and of another source", n)
	}
	states, err := s.EndpointStates(ctx)
	if len(states) != 2 || !states[0].Paused || states[0].Disabled || states[0].Reason != "tea" || err != nil {
		t.Errorf("%+v %v", states, err)
	}
	if attempts, err := s.AttemptsOfEndpoint(ctx, "acme", 10); len(attempts) != 1 || err != nil {
		t.Error("the attempts went too", attempts, err)
	}
}

func TestCommitRefusesRangesOfAnotherSlot(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	c := claimOne(t, s, "o", testEndpoint)
	foreign := aRange("somebody-else", "all", 1)
	for name, w := range map[string]deliver.SlotWrite{
		"range":  {Ranges: []deliver.Range{foreign}},
		"forget": {Forget: []string{foreign.Endpoint}},
		"lane":   {Progress: []deliver.EndpointProgress{{Source: testSource, Endpoint: foreign.LaneName()}}},
	} {
		w.Slot, w.Epoch = c.Slot, c.Epoch
		if err := s.Commit(t.Context(), deliver.Batch{Source: testSource, Slots: []deliver.SlotWrite{w}}); err == nil {
			t.Errorf("%s: it was written", name)
		}
	}
	own := aRange(testEndpoint, "all", 1)
	w := deliver.SlotWrite{Slot: c.Slot, Epoch: c.Epoch - 1, Ranges: []deliver.Range{own}, Forget: []string{testEndpoint}}
	if err := s.Commit(t.Context(), deliver.Batch{Source: testSource, Slots: []deliver.SlotWrite{w}}); !errors.Is(err, deliver.ErrStale) {
		t.Errorf("a stale epoch: %v", err)
	}
	if rs := ranges(t, s); len(rs) > 0 {
		t.Error(rs)
	}
}

// Version 1 knew where a subscription began, and its definition stood in the configuration alone.
func TestMigratesSubscriptionsOfVersionOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	versionOne(t, filepath.Join(dir, "rowhook.db"))
	s := open(t, dir)
	want := deliver.Range{Source: testSource, Endpoint: testEndpoint, Subscription: "all", Version: 1, From: 7, LiveFrom: 7, Backfilled: true}
	if d := cmp.Diff([]deliver.Range{want}, ranges(t, s)); d != "" {
		t.Error(d)
	}
	states, err := s.EndpointStates(t.Context())
	if d := cmp.Diff([]deliver.EndpointState{{Endpoint: "gone", Disabled: true, Reason: "gone", At: time.UnixMilli(3).UTC()}}, states); d != "" || err != nil {
		t.Error(err, d)
	}
	want.Types = []string{"*"}
	if err := s.PutRanges(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]deliver.Range{want}, ranges(t, s)); d != "" {
		t.Error(d)
	}
}

func versionOne(t *testing.T, path string) {
	t.Helper()
	ctx := context.Background()
	db, err := sql.Open("sqlite", dsn(path, "_txlock=immediate"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	steps, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, steps, goose.WithDisableGlobalRegistry(true), goose.WithTableName("schema_version"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(ctx, 1); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		`INSERT INTO subscriptions VALUES ('` + testSource + `', '` + testEndpoint + `', 'all', 'declared', 7, 1)`,
		`INSERT INTO endpoint_states VALUES ('gone', 1, 'gone', 3)`,
	} {
		if _, err := db.ExecContext(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
}
