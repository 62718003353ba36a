package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/webhook"
)

func TestEndpointRecords(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	s := open(t, dir)
	s.SetSealer(testSealer(t, 1))
	r := testRecord("ep_1", "acme")
	if err := s.CreateEndpoint(ctx, &r); err != nil {
		t.Fatal(err)
	}
	if r.Version != 1 || r.CreatedAt.IsZero() || !r.UpdatedAt.Equal(r.CreatedAt) {
		t.Errorf("%+v", r)
	}
	again := testRecord("ep_1", "other")
	if err := s.CreateEndpoint(ctx, &again); err == nil {
		t.Error("the same id twice")
	}
	stale := r
	r.URL, r.Description, r.Settings.Ordered = "https://example.com/2", "", false
	r.Secrets = append([]SigningSecret{{Secret: webhook.NewSecret()}}, SigningSecret{Secret: r.Secrets[0].Secret, ExpiresAt: now().Add(time.Hour)})
	if err := s.UpdateEndpoint(ctx, &r); err != nil || r.Version != 2 {
		t.Fatal(err)
	}
	err := s.UpdateEndpoint(ctx, &stale)
	var ve *VersionError
	if !errors.Is(err, ErrVersion) || !errors.As(err, &ve) || ve.Have != 2 || ve.Wanted != 1 {
		t.Errorf("a stale change: %v", err)
	}
	missing := testRecord("ep_2", "")
	if err := s.UpdateEndpoint(ctx, &missing); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if _, err := s.Endpoint(ctx, "ep_1"); !errors.Is(err, ErrNoSealer) {
		t.Error(err)
	}
	s.SetSealer(testSealer(t, 1))
	got, err := s.Endpoint(ctx, "ep_1")
	if d := cmp.Diff(r, got, cmp.Comparer(webhook.Secret.Equal)); d != "" || err != nil {
		t.Error(err, d)
	}
	s.SetSealer(testSealer(t, 9))
	if _, err := s.Endpoint(ctx, "ep_1"); !errors.Is(err, ErrUnknownKey) {
		t.Error(err)
	}
}

func TestEndpointPages(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openSealed(t)
	for i := range 7 {
		r := testRecord("ep_"+itoa(i), map[bool]string{true: "acme"}[i%2 == 0])
		if err := s.CreateEndpoint(ctx, &r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.BeginDeleteEndpoint(ctx, "ep_2", 1); err != nil {
		t.Fatal(err)
	}
	ids := func(tenant string) (out []string) {
		for after := ""; ; {
			page, err := s.Endpoints(ctx, tenant, after, 2)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page {
				out = append(out, r.ID)
				after = r.ID
			}
			if len(page) < 2 {
				return out
			}
		}
	}
	if d := cmp.Diff([]string{"ep_0", "ep_1", "ep_3", "ep_4", "ep_5", "ep_6"}, ids("")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"ep_0", "ep_4", "ep_6"}, ids("acme")); d != "" {
		t.Error(d)
	}
	if n, err := s.CountEndpoints(ctx); n != 6 || err != nil {
		t.Error(n, err)
	}
	if _, err := s.CreateKey(ctx, &KeyRecord{Tenant: "zoo"}); err != nil {
		t.Fatal(err)
	}
	tenants, err := s.Tenants(ctx, "", 10)
	if d := cmp.Diff([]TenantCount{{"acme", 3, 0}, {"zoo", 0, 1}}, tenants); d != "" || err != nil {
		t.Error(err, d)
	}
	if tenants, err = s.Tenants(ctx, "acme", 10); len(tenants) != 1 || err != nil {
		t.Error(tenants, err)
	}
}

func TestEndpointIsDeletedInTwoSteps(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openSealed(t)
	r, sub := testRecord("ep_1", ""), testSubscription("sub_1", "ep_1")
	if err := s.CreateEndpoint(ctx, &r); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateSubscription(ctx, &sub, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.BeginDeleteEndpoint(ctx, "ep_1", 7); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
	if err := s.BeginDeleteEndpoint(ctx, "ep_1", 0); err != nil {
		t.Fatal(err)
	}
	if err := s.BeginDeleteEndpoint(ctx, "ep_1", 0); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if err := s.UpdateEndpoint(ctx, &r); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	late := testSubscription("sub_2", "ep_1")
	if err := s.CreateSubscription(ctx, &late, nil); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := s.APISubscription(ctx, "sub_1"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if subs, err := s.APISubscriptions(ctx, "", "", "", 10); len(subs) != 0 || err != nil {
		t.Error(subs, err)
	}
	if ids, err := s.DeletedEndpoints(ctx); len(ids) != 1 || err != nil {
		t.Error(ids, err)
	}
	for range 2 {
		if err := s.DeleteEndpoint(ctx, "ep_1"); err != nil {
			t.Fatal(err)
		}
	}
	if ids, err := s.DeletedEndpoints(ctx); len(ids) != 0 || err != nil {
		t.Error(ids, err)
	}
	if n := rowCount(t, s, "api_subscriptions"); n != 0 {
		t.Errorf("%d subscriptions are left", n)
	}
}

func TestExpiredSecrets(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openSealed(t)
	at := now()
	for i, ends := range []time.Time{{}, at.Add(time.Hour), at.Add(time.Minute)} {
		r := testRecord("ep_"+itoa(i), "")
		r.Secrets = append(r.Secrets, SigningSecret{Secret: webhook.NewSecret(), ExpiresAt: ends})
		if err := s.CreateEndpoint(ctx, &r); err != nil {
			t.Fatal(err)
		}
	}
	for after, want := range map[time.Duration][]string{time.Minute - 1: nil, time.Minute: {"ep_2"}, time.Hour: {"ep_2", "ep_1"}} {
		got, err := s.ExpiredSecrets(ctx, at.Add(after), 10)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Error(after, err, d)
		}
	}
	r, err := s.Endpoint(ctx, "ep_2")
	if err != nil {
		t.Fatal(err)
	}
	r.Secrets = r.Secrets[:1]
	if err := s.UpdateEndpoint(ctx, &r); err != nil {
		t.Fatal(err)
	}
	if got, err := s.ExpiredSecrets(ctx, at.Add(time.Minute), 10); len(got) != 0 || err != nil {
		t.Error(got, err)
	}
}

func testSubscription(id, endpoint string) SubscriptionRecord {
	return SubscriptionRecord{ID: id, Endpoint: endpoint, Description: "d", Types: []string{"rental.*", "a"}, Subject: "rentals/*"}
}

func testRange(sub *SubscriptionRecord, version, from, to uint64) deliver.Range {
	return deliver.Range{
		Source: testSource, Endpoint: sub.Endpoint, Subscription: sub.ID, Version: version,
		Types: sub.Types, Subject: sub.Subject, From: from, LiveFrom: from, To: to, Backfilled: true,
	}
}

func TestSubscriptionRecords(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openSealed(t)
	for _, tenant := range []string{"", "acme"} {
		r := testRecord("ep_"+tenant, tenant)
		if err := s.CreateEndpoint(ctx, &r); err != nil {
			t.Fatal(err)
		}
	}
	sub := testSubscription("sub_1", "ep_")
	first := testRange(&sub, 1, 10, 0)
	if err := s.CreateSubscription(ctx, &sub, []deliver.Range{first}); err != nil || sub.Version != 1 {
		t.Fatal(err)
	}
	other := testSubscription("sub_2", "ep_acme")
	if err := s.CreateSubscription(ctx, &other, nil); err != nil {
		t.Fatal(err)
	}
	orphan := testSubscription("sub_3", "ep_none")
	if err := s.CreateSubscription(ctx, &orphan, []deliver.Range{testRange(&orphan, 1, 1, 0)}); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	stale := sub
	first.To = 20
	sub.Types, sub.Paused = []string{"b"}, true
	second := testRange(&sub, 2, 20, 0)
	if err := s.UpdateSubscription(ctx, &sub, []deliver.Range{first, second}); err != nil || sub.Version != 2 {
		t.Fatal(err)
	}
	third := testRange(&sub, 3, 30, 0)
	if err := s.UpdateSubscription(ctx, &stale, []deliver.Range{third}); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
	ranges, err := s.RangesOf(ctx, testSource, "ep_", "sub_1")
	if d := cmp.Diff([]deliver.Range{first, second}, ranges); d != "" || err != nil {
		t.Error(err, d)
	}
	if all, err := s.Ranges(ctx, testSource); len(all) != 2 || err != nil {
		t.Errorf("ranges of changes that were refused: %v %v", all, err)
	}
	got, err := s.APISubscription(ctx, "sub_1")
	if d := cmp.Diff(sub, got); d != "" || err != nil {
		t.Error(err, d)
	}
	for _, c := range []struct {
		endpoint, tenant, after string
		want                    []string
	}{
		{"", "", "", []string{"sub_1", "sub_2"}}, {"", "", "sub_1", []string{"sub_2"}}, {"ep_", "", "", []string{"sub_1"}},
		{"", "acme", "", []string{"sub_2"}}, {"ep_", "acme", "", nil},
	} {
		subs, err := s.APISubscriptions(ctx, c.endpoint, c.tenant, c.after, 10)
		var ids []string
		for _, r := range subs {
			ids = append(ids, r.ID)
		}
		if d := cmp.Diff(c.want, ids); d != "" || err != nil {
			t.Errorf("%+v: %v %s", c, err, d)
		}
	}
	if n, err := s.CountAPISubscriptions(ctx); n != 2 || err != nil {
		t.Error(n, err)
	}
	second.To = 40
	if err := s.DeleteSubscription(ctx, "sub_1", 1, []deliver.Range{second}); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
	if err := s.DeleteSubscription(ctx, "sub_1", 2, []deliver.Range{second}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteSubscription(ctx, "sub_1", 0, nil); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if ranges, err = s.RangesOf(ctx, testSource, "ep_", "sub_1"); err != nil || len(ranges) != 2 || ranges[1].To != 40 {
		t.Errorf("what was ended is delivered still: %+v %v", ranges, err)
	}
}

// TestUpdateRace lets many change one record at one version: one of them wins each.
func TestUpdateRace(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openSealed(t)
	r := testRecord("ep_1", "")
	if err := s.CreateEndpoint(ctx, &r); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		var mu sync.Mutex
		won := 0
		before := r
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				mine := before
				mine.Description = itoa(i)
				err := s.UpdateEndpoint(ctx, &mine)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won, r = won+1, mine
				} else if !errors.Is(err, ErrVersion) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got, err := s.Endpoint(ctx, "ep_1")
		if won != 1 || err != nil || got.Description != r.Description || got.Version != before.Version+1 {
			t.Fatalf("%d won, %+v, %v", won, got, err)
		}
	}
}

func TestStoredJSONIsStrict(t *testing.T) {
	t.Parallel()
	for _, text := range []string{``, `{`, `{"concurrency":1,"other":2}`, `{} {}`, `[]`, `{"concurrency":"1"}`} {
		var v storedSettings
		if err := strictJSON([]byte(text), &v); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}

func TestRandomText(t *testing.T) {
	t.Parallel()
	seen := map[byte]bool{}
	for range 200 {
		text := RandomText(16)
		if !IsRandomText(text, 16) || IsRandomText(text, 15) {
			t.Fatal(text)
		}
		for i := range len(text) {
			seen[text[i]] = true
		}
	}
	if len(seen) != 32 {
		t.Errorf("%d characters of 32", len(seen))
	}
	for _, bad := range []string{"w", "A", "/", ":", "`", "\x00", "é"} {
		if IsRandomText(bad, len(bad)) {
			t.Errorf("%q", bad)
		}
	}
}

// TestMigrationsFollowEachOther fails when two steps have one number, or one is missing between them.
func TestMigrationsFollowEachOther(t *testing.T) {
	t.Parallel()
	files, err := migrations.ReadDir("migrations/sqlite")
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		if ok, err := filepath.Match(fmt.Sprintf("%05d_*.sql", i+1), f.Name()); !ok || err != nil {
			t.Errorf("step %d is %s", i+1, f.Name())
		}
	}
}

func TestPausedDeclaredSubscriptions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, t.TempDir())
	d := DeclaredSubscription{Endpoint: "billing", Name: "all"}
	r := deliver.Range{Source: testSource, Endpoint: "billing", Subscription: "all", Version: 1, From: 1, LiveFrom: 1, To: 5, Backfilled: true}
	for range 2 {
		if err := s.SetPaused(ctx, d, true, []deliver.Range{r}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Paused(ctx)
	if diff := cmp.Diff([]DeclaredSubscription{d}, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if rs, err := s.RangesOf(ctx, testSource, "billing", "all"); len(rs) != 1 || rs[0].To != 5 || err != nil {
		t.Error(rs, err)
	}
	if err := s.SetPaused(ctx, d, false, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Paused(ctx); len(got) != 0 || err != nil {
		t.Error(got, err)
	}
}
