package store

import (
	"strings"
	"testing"
)

// After a crash every journaled send is looked up among all attempts; by endpoint that took a minute and more.
func TestMissingAttemptsFindsByEvent(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	rows, err := s.reader.Query("EXPLAIN QUERY PLAN "+findAttempt, "evt_1", "billing", 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	if err := rows.Err(); err != nil || len(plan) != 1 || !strings.Contains(plan[0], "(event_id=?") {
		t.Errorf("plan %q, %v", plan, err)
	}
}
