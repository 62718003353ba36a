package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rowhook/rowhook/e2e/receiver"
)

// tape makes deliveries as a receiver would record them.
type tape struct {
	clock uint64
	start time.Time
	got   []receiver.Delivery
}

// play records one delivery that arrives at and is answered with status at once.
func (p *tape) play(id string, seq uint64, key string, version int64, op string, at time.Duration, status int) *receiver.Delivery {
	p.clock += 2
	p.got = append(p.got, receiver.Delivery{
		ID: id, Seq: seq, Type: "item", Key: key, Version: version, Op: op, At: p.start.Add(at), Order: p.clock, Done: p.clock + 1, Status: status,
	})
	return &p.got[len(p.got)-1]
}

// An oracle that cannot say no proves nothing.
func TestJudge(t *testing.T) {
	t.Parallel()
	const ok, bad = 204, 500
	one, two := event{"item", "7", 1, false}, event{"item", "7", 2, false}
	gone := event{"item", "7", 2, true}
	cases := []struct {
		name    string
		wanted  []event
		crashes []time.Duration
		play    func(p *tape)
		fault   string
	}{
		{"all is well", []event{one, two, gone}, nil, func(p *tape) {
			p.play("a", 1, "7", 1, "insert", 0, ok)
			p.play("b", 2, "7", 2, "update", 1, ok)
			p.play("c", 3, "7", 2, "delete", 2, ok)
		}, ""},
		{"missing", []event{one, two}, nil, func(p *tape) { p.play("a", 1, "7", 1, "insert", 0, ok) }, "missing: 1"},
		{"never accepted", []event{one}, nil, func(p *tape) { p.play("a", 1, "7", 1, "insert", 0, bad) }, "missing: 1"},
		{"never answered", []event{one}, nil, func(p *tape) { p.play("a", 1, "7", 1, "insert", 0, ok).Done = 0 }, "missing: 1"},
		{"made up", []event{one}, nil, func(p *tape) {
			p.play("a", 1, "7", 1, "insert", 0, ok)
			p.play("b", 2, "7", 2, "update", 0, ok)
		}, "never committed: 1"},
		{"retried", []event{one, two}, nil, func(p *tape) {
			p.play("a", 1, "7", 1, "insert", 0, bad)
			p.play("a", 1, "7", 1, "insert", time.Hour, ok)
			p.play("b", 2, "7", 2, "update", time.Hour, ok)
		}, ""},
		{"out of order", []event{one, two}, nil, func(p *tape) {
			p.play("b", 2, "7", 2, "update", 0, ok)
			p.play("a", 1, "7", 1, "insert", 0, ok)
		}, "out of order: 1"},
		{"not held back by a failure", []event{one, two}, nil, func(p *tape) {
			p.play("a", 1, "7", 1, "insert", 0, bad)
			p.play("b", 2, "7", 2, "update", 0, ok)
			p.play("a", 1, "7", 1, "insert", 0, ok)
		}, "out of order: 1"},
		{"not held back by one in flight", []event{one, two}, nil, func(p *tape) {
			p.play("a", 1, "7", 1, "insert", 0, ok).Done = 99
			p.play("b", 2, "7", 2, "update", 0, ok)
		}, "out of order: 1"},
		{"delete before the update", []event{two, gone}, nil, func(p *tape) {
			p.play("c", 3, "7", 2, "delete", 0, ok)
			p.play("b", 4, "7", 2, "update", 0, ok)
		}, "out of order: 1"},
		{"seq goes back", []event{one, two}, nil, func(p *tape) {
			p.play("a", 2, "7", 1, "insert", 0, ok)
			p.play("b", 1, "7", 2, "update", 0, ok)
		}, "seq does not grow: 1"},
		{"repeat in the crash window", []event{one}, []time.Duration{time.Second}, func(p *tape) {
			p.play("a", 1, "7", 1, "insert", 0, ok)
			p.play("a", 1, "7", 1, "insert", 3*time.Second, ok)
		}, ""},
		{"repeat of an old one after a crash", []event{one}, []time.Duration{time.Minute}, func(p *tape) {
			p.play("a", 1, "7", 1, "insert", 0, ok)
			p.play("a", 1, "7", 1, "insert", time.Hour, ok)
		}, "repeated without a cause: 1"},
		{"repeat before the crash", []event{one}, []time.Duration{time.Second}, func(p *tape) {
			p.play("a", 1, "7", 1, "insert", 0, ok)
			p.play("a", 1, "7", 1, "insert", time.Millisecond, ok)
		}, "repeated without a cause: 1"},
		{"repeat after the restart", []event{one}, []time.Duration{0}, func(p *tape) {
			p.play("a", 1, "7", 1, "insert", time.Second, ok)
			p.play("a", 1, "7", 1, "insert", 2*time.Second, ok)
		}, "repeated without a cause: 1"},
		{"repeat under another id", []event{one}, []time.Duration{time.Second}, func(p *tape) {
			p.play("a", 1, "7", 1, "insert", 0, ok)
			p.play("b", 1, "7", 1, "insert", 2*time.Second, ok)
		}, "second id: 1"},
		{"repeat with another body", []event{one}, []time.Duration{time.Second}, func(p *tape) {
			p.play("a", 1, "7", 1, "insert", 0, ok)
			p.play("a", 1, "7", 1, "insert", 2*time.Second, ok).Digest[0] = 1
		}, "second body: 1"},
		{"repeat with another seq", []event{one}, []time.Duration{time.Second}, func(p *tape) {
			p.play("a", 1, "7", 1, "insert", 0, ok)
			p.play("a", 5, "7", 1, "insert", 2*time.Second, ok)
		}, "second seq: 1"},
		{"one id for two", []event{one, two}, nil, func(p *tape) {
			p.play("a", 1, "7", 1, "insert", 0, ok)
			p.play("a", 2, "7", 2, "update", 0, ok)
		}, "one id for two events: 1"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := &tape{start: time.Now()}
			tc.play(p)
			var crashes []time.Time
			for _, after := range tc.crashes {
				crashes = append(crashes, p.start.Add(after))
			}
			got := judge(tc.wanted, p.got, crashes).String()
			if tc.fault == "" && got != "" || !strings.Contains(got, tc.fault) {
				t.Errorf("judged %q, want %q", got, tc.fault)
			}
		})
	}
}

func TestFaultsAreCountedAndShortened(t *testing.T) {
	t.Parallel()
	f := &faults{}
	for i := range 100 {
		f.add("lost", "event %d", i)
	}
	text := f.String()
	if !strings.HasPrefix(text, "lost: 100\n") || strings.Count(text, "\n") != maxFaults+1 || !strings.Contains(text, fmt.Sprint("event ", maxFaults-1)) {
		t.Errorf("faults = %q", text)
	}
}
