package store

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/deliver"
)

func TestAttemptPages(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, t.TempDir())
	c := claimOne(t, s, "a", testEndpoint)
	b := attemptsBatch(c, 0, 5)
	for i := range 3 {
		a := attempt(testEndpoint, 100, c.Epoch)
		a.Attempt = uint32(i + 1)
		b.Slots[0].Attempts = append(b.Slots[0].Attempts, a)
	}
	if err := s.Commit(ctx, b); err != nil {
		t.Fatal(err)
	}
	all := b.Slots[0].Attempts
	var got []deliver.Attempt
	for cursor, pages := int64(0), 0; ; pages++ {
		page, next, err := s.EndpointAttempts(ctx, testEndpoint, cursor, 4)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page...)
		if next == 0 {
			if pages != 1 {
				t.Errorf("%d pages before the last", pages)
			}
			break
		}
		cursor = next
	}
	if len(got) != len(all) {
		t.Fatalf("%d of %d attempts", len(got), len(all))
	}
	for i := range got {
		if d := cmp.Diff(all[len(all)-1-i], got[i]); d != "" {
			t.Error(d)
		}
	}
	page, next, err := s.EventAttempts(ctx, eventID(100), 0, 2)
	if d := cmp.Diff(all[5:7], page); d != "" || err != nil || next == 0 {
		t.Error(next, err, d)
	}
	page, next, err = s.EventAttempts(ctx, eventID(100), next, 2)
	if d := cmp.Diff(all[7:], page); d != "" || err != nil || next != 0 {
		t.Error(next, err, d)
	}
}

func TestExceptionPages(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, t.TempDir())
	c := claimOne(t, s, "a", testEndpoint)
	var want []deliver.Exception
	for _, source := range []string{"a", "b"} {
		if err := s.SaveSource(ctx, SourceRecord{Name: source, LogID: source}); err != nil {
			t.Fatal(err)
		}
		w := deliver.SlotWrite{Slot: c.Slot, Epoch: c.Epoch}
		for seq := range uint64(4) {
			e := exception(testEndpoint, seq, []deliver.ExceptionState{deliver.Waiting, deliver.Parked}[seq%2])
			e.Source = source
			second := e
			second.Type = "z"
			w.Put = append(w.Put, e, second)
		}
		if err := s.Commit(ctx, deliver.Batch{Source: source, Slots: []deliver.SlotWrite{w}}); err != nil {
			t.Fatal(err)
		}
		for _, e := range w.Put {
			e.Payload = nil
			want = append(want, e)
		}
	}
	walk := func(state deliver.ExceptionState, limit int) (out []deliver.Exception) {
		var after deliver.ExceptionKey
		for {
			page, err := s.EndpointExceptions(ctx, testEndpoint, state, after, limit)
			if err != nil || len(page) > limit {
				t.Fatal(len(page), err)
			}
			out = append(out, page...)
			if len(page) < limit {
				return out
			}
			after = page[limit-1].ExceptionKey()
		}
	}
	for _, limit := range []int{1, 3, 8, 100} {
		if d := cmp.Diff(want, walk(0, limit)); d != "" {
			t.Error(limit, d)
		}
	}
	if parked := walk(deliver.Parked, 3); len(parked) != 8 {
		t.Errorf("%d parked", len(parked))
	}
	if n, err := s.CountParked(ctx, "a", testEndpoint); n != 4 || err != nil {
		t.Errorf("%d parked, %v", n, err)
	}
	if behind := walk(deliver.Behind, 3); len(behind) != 0 {
		t.Errorf("%d behind", len(behind))
	}
}

// TestPagesWalkAnIndex holds that a page costs a page, however many attempts and exceptions there are.
func TestPagesWalkAnIndex(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	for query, want := range map[string]string{
		`SELECT id FROM attempts WHERE endpoint = 'a' AND id < 9 ORDER BY id DESC LIMIT 5`:                                 "attempts_endpoint (endpoint=? AND rowid<?)",
		`SELECT id FROM attempts WHERE event_id = 'a' AND id > 9 ORDER BY id LIMIT 5`:                                      "attempts_event (event_id=? AND rowid>?)",
		`SELECT record FROM exceptions WHERE ` + exceptionsPage(0) + ` ORDER BY seq, type LIMIT 5`:                         "(source=? AND endpoint=? AND (seq,type)>(?,?))",
		`SELECT record FROM exceptions WHERE ` + exceptionsPage(deliver.Parked) + ` ORDER BY seq, type LIMIT 5`:            "exceptions_state (source=? AND state=? AND endpoint=? AND (seq,type)>(?,?))",
		`SELECT COUNT(*) FROM exceptions WHERE source = 's' AND state = 3 AND endpoint = 'a'`:                              "COVERING INDEX exceptions_state (source=? AND state=? AND endpoint=?)",
		`SELECT id FROM endpoints WHERE id > 'a' AND deleted_ms = 0 AND tenant = 't' ORDER BY id LIMIT 5`:                  "endpoints_tenant (tenant=? AND id>?)",
		`SELECT id FROM endpoints WHERE expires_ms > 0 AND expires_ms <= 5 AND deleted_ms = 0 ORDER BY expires_ms`:         "endpoints_expires",
		`DELETE FROM idempotency WHERE rowid IN (SELECT rowid FROM idempotency WHERE created_ms <= 1 ORDER BY created_ms)`: "idempotency_age (created_ms<?)",
	} {
		plan, err := s.planOf(t, query)
		if err != nil || !strings.Contains(plan, want) || strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s: %q, %v", query, plan, err)
		}
	}
}

func exceptionsPage(state deliver.ExceptionState) string {
	if state == 0 {
		return `source = 's' AND endpoint = 'a' AND (seq, type) > (1, 'b')`
	}
	return exceptionsPage(0) + ` AND state = 3`
}

func (s *Store) planOf(t *testing.T, query string) (string, error) {
	t.Helper()
	rows, err := s.reader.Query("EXPLAIN QUERY PLAN " + query)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			return "", err
		}
		plan = append(plan, detail)
	}
	return strings.Join(plan, "\n"), rows.Err()
}
