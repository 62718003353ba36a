package store

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, t.TempDir())
	var all []KeyRecord
	for _, name := range []string{"a", "b", "c"} {
		r := KeyRecord{Name: name, Scope: "manage", Tenant: "t", ExpiresAt: time.UnixMilli(1_990_000_000_000).UTC()}
		key, err := s.CreateKey(ctx, &r)
		if err != nil {
			t.Fatal(err)
		}
		if len(key) != 47 || !strings.HasPrefix(key, "rhk_"+r.ID+"_") || len(r.ID) != 10 || r.CreatedAt.IsZero() {
			t.Errorf("key %q of %+v", key, r)
		}
		if got, ok, err := s.Authenticate(ctx, key); err != nil || !ok || got.ID != r.ID || got.Scope != "manage" || got.Tenant != "t" {
			t.Errorf("%+v %v %v", got, ok, err)
		}
		all = append(all, r)
	}
	var listed []KeyRecord
	for after := ""; ; {
		page, err := s.Keys(ctx, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for i := range page {
			if page[i].LastUsedAt.IsZero() {
				t.Errorf("key %s was not used", page[i].Name)
			}
			page[i].LastUsedAt = time.Time{}
		}
		listed = append(listed, page...)
		if len(page) < 2 {
			break
		}
		after = page[1].ID
	}
	byID := cmp.Transformer("byID", func(rs []KeyRecord) map[string]KeyRecord {
		m := map[string]KeyRecord{}
		for _, r := range rs {
			m[r.ID] = r
		}
		return m
	})
	if d := cmp.Diff(all, listed, byID); d != "" {
		t.Error(d)
	}
}

func TestAuthenticateRefuses(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, t.TempDir())
	r := KeyRecord{Name: "a", Scope: "read"}
	key, err := s.CreateKey(ctx, &r)
	if err != nil {
		t.Fatal(err)
	}
	last := key[len(key)-1]
	for range 2 { // the second time the key is known
		for _, bad := range []string{
			"", "rhk_", key[:len(key)-1], key + "0", strings.ToUpper(key), "xxx" + key[3:], key[:len(key)-1] + string('0'+'1'-last%2),
			"rhk_0000000000_" + key[15:], key[:14] + "-" + key[15:], key[:20] + "\x00" + key[21:], key[:20] + "w" + key[21:],
		} {
			if _, ok, err := s.Authenticate(ctx, bad); ok || err != nil {
				t.Errorf("%q: %v %v", bad, ok, err)
			}
		}
		if _, ok, err := s.Authenticate(ctx, key); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if err := s.DeleteKey(ctx, r.ID); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Authenticate(ctx, key); ok || err != nil {
		t.Error("a deleted key is let in")
	}
	if err := s.DeleteKey(ctx, r.ID); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestKeyExpiresAndItsUseIsNoted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		s := open(t, dir)
		r := KeyRecord{Name: "a", Scope: "read", ExpiresAt: time.Now().Add(3 * time.Minute)}
		key, err := s.CreateKey(ctx, &r)
		if err != nil {
			t.Fatal(err)
		}
		used := func() time.Time {
			page, err := s.Keys(ctx, "", 1)
			if err != nil {
				t.Fatal(err)
			}
			return page[0].LastUsedAt
		}
		auth := func(want bool) {
			t.Helper()
			if _, ok, err := s.Authenticate(ctx, key); ok != want || err != nil {
				t.Fatal(ok, err)
			}
		}
		start := now()
		auth(true)
		if !used().Equal(start) {
			t.Errorf("first use is noted as %v", used())
		}
		time.Sleep(time.Minute - time.Millisecond) // the bubble's clock
		auth(true)
		if !used().Equal(start) {
			t.Errorf("a use within the minute is noted as %v", used())
		}
		time.Sleep(time.Millisecond)
		auth(true)
		if !used().Equal(start.Add(time.Minute)) {
			t.Errorf("the next minute's is noted as %v", used())
		}
		time.Sleep(2*time.Minute - time.Millisecond)
		auth(true)
		time.Sleep(time.Millisecond)
		auth(false)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestDeletedKeyIsNotKeptByARace lets one side verify a key while the other deletes it. Whoever was let in last, afterwards nobody is.
func TestDeletedKeyIsNotKeptByARace(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, t.TempDir())
	for range 20 {
		r := KeyRecord{Name: "a", Scope: "read"}
		key, err := s.CreateKey(ctx, &r)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, _, err := s.Authenticate(ctx, key); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			if err := s.DeleteKey(ctx, r.ID); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if _, ok, err := s.Authenticate(ctx, key); ok || err != nil {
			t.Fatal("a deleted key is let in")
		}
	}
}

func TestKnownKeysAreBounded(t *testing.T) {
	t.Parallel()
	var c knownKeys
	for i := range maxKnownKeys + 10 {
		c.use(0, knownKey{record: KeyRecord{ID: itoa(i)}}, time.Now())
	}
	if len(c.keys) != maxKnownKeys {
		t.Errorf("%d keys", len(c.keys))
	}
	_, _, generation := c.get("x")
	c.forget("x")
	c.use(generation, knownKey{record: KeyRecord{ID: "x"}}, time.Now())
	if _, ok, _ := c.get("x"); ok {
		t.Error("what was read before the deletion came in after it")
	}
}

func FuzzAuthenticate(f *testing.F) {
	s := open(f, f.TempDir())
	key, err := s.CreateKey(f.Context(), &KeyRecord{Name: "a", Scope: "read"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(key)
	f.Add("rhk_0000000000_00000000000000000000000000000000")
	f.Fuzz(func(t *testing.T, k string) {
		if _, ok, err := s.Authenticate(t.Context(), k); err != nil || ok != (k == key) {
			t.Fatalf("%q: %v %v", k, ok, err)
		}
	})
}
