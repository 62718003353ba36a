package bench

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestDeliver(t *testing.T) {
	t.Parallel()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var progress bytes.Buffer
	o := DeliverOptions{Rows: 1000, Dir: dir, Binary: binary, ReceiverArgs: []string{"bench", "receiver"}, Progress: &progress}
	r, err := Deliver(t.Context(), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	positive(t, r.Measured, "rowhook_requests_per_s", "bare_loop_requests_per_s")
	positive(t, r.Ratios, "to_bare_loop")
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	o.Rows = 10
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "--rows") {
		t.Errorf("error is %v, want one about --rows", err)
	}
}

// TestSendingOf: figures of incomplete work would be lies.
func TestSendingOf(t *testing.T) {
	t.Parallel()
	for name, got := range map[string]arrivals{
		"one missing":    {All: []arrival{{1, 10}, {3, 30}}},
		"one twice":      {All: []arrival{{1, 10}, {2, 20}, {2, 30}}},
		"too many":       {All: []arrival{{1, 10}, {2, 20}, {3, 30}, {4, 40}}},
		"one unreadable": {All: []arrival{{1, 10}, {2, 20}, {3, 30}}, Unreadable: 1},
	} {
		if s, err := sendingOf(got, 3); err == nil {
			t.Errorf("%s: got %+v and no error", name, s)
		}
	}
	s, err := sendingOf(arrivals{All: []arrival{{3, 30}, {1, 10}, {2, 40}}}, 3)
	if err != nil || s.took != 30 {
		t.Errorf("got %+v, %v", s, err)
	}
}
