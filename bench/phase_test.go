package bench

import (
	"strings"
	"testing"
	"time"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	ms := func(n int64) int64 { return n * int64(time.Millisecond) }
	plan := []phase{{name: "loaded", rate: 2, lasts: time.Second, took: time.Second, commits: []commit{
		{id: 1, sent: ms(0), returned: ms(1)}, {id: 2, sent: ms(5), returned: ms(7)},
	}}}
	got := arrivals{All: []arrival{{ID: 9, At: ms(1)}, {ID: 2, At: ms(10)}, {ID: 1, At: ms(2)}, {ID: 2, At: ms(50)}}}
	if err := match(got, plan); err != nil {
		t.Fatal(err)
	}
	if plan[0].repeated != 1 {
		t.Errorf("repeated is %d, want 1", plan[0].repeated)
	}
	var f Figures
	plan[0].times().add(&f, "")
	for name, want := range map[string]float64{"p50_ms": 1, "p99_ms": 3, "from_sending_p50_ms": 2, "from_sending_p95_ms": 5, "commit_p50_ms": 1} {
		if n, _ := f.Number(name); n != want {
			t.Errorf("%s is %v, want %v", name, n, want)
		}
	}
}

func TestMatchFails(t *testing.T) {
	t.Parallel()
	plan := []phase{{name: "idle", commits: []commit{{id: 1}, {id: 2}}}}
	if err := match(arrivals{All: []arrival{{ID: 1}}}, plan); err == nil || !strings.Contains(err.Error(), "1 of 2") {
		t.Errorf("a row is missing, and the error is %v", err)
	}
	if err := match(arrivals{All: []arrival{{ID: 1}, {ID: 2}}, Unreadable: 1}, plan); err == nil {
		t.Error("a request without a row id is no error")
	}
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	even := (&phase{rate: 2000}).schedule(3)
	if even[0] != 0 || even[2] != time.Millisecond {
		t.Errorf("at 2,000 a second commits are due at %v", even)
	}
	alone := (&phase{rate: 10, alone: true}).schedule(100)
	for i := 1; i < len(alone); i++ {
		if gap := alone[i] - alone[i-1]; gap < 50*time.Millisecond || gap > 150*time.Millisecond {
			t.Fatalf("commits are due %v apart", gap)
		}
	}
}
