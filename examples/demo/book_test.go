package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rowhook/rowhook/e2e/receiver"
	"github.com/rowhook/rowhook/examples/sakila"
)

// deliver is a verified request about one payment.
func deliver(b *book, kind string, id int, amount string, nth int) {
	b.arrived(receiver.Delivery{Path: "/billing", Type: kind, Nth: nth, Body: fmt.Appendf(nil,
		`{"data":{"payment_id":%d,"customer_id":7,"amount":%q}}`, id, amount)})
}

func paid(kind string, id int, amount string) wanted {
	return wanted{endpoint: billing, row: fmt.Sprint("payment ", id), text: tell(kind, id, 7, amount)}
}

func TestBook(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		deliver func(*book)
		want    totals
		lag     int
	}{
		"all": {func(b *book) {
			deliver(b, paymentReceived, 1, "2.99", 1)
			deliver(b, paymentReceived, 2, "0.99", 1)
			deliver(b, paymentCorrected, 1, "2.49", 1)
		}, totals{Delivered: 3}, 0},
		"one is missing": {func(b *book) {
			deliver(b, paymentReceived, 1, "2.99", 1)
			deliver(b, paymentCorrected, 1, "2.49", 1)
		}, totals{Delivered: 2}, 1},
		"one comes twice": {func(b *book) {
			deliver(b, paymentReceived, 2, "0.99", 1)
			deliver(b, paymentReceived, 2, "0.99", 2)
		}, totals{Delivered: 1, Repeated: 1}, 2},
		"one comes twice with another id": {func(b *book) {
			deliver(b, paymentReceived, 2, "0.99", 1)
			deliver(b, paymentReceived, 2, "0.99", 1)
		}, totals{Delivered: 1, Unexpected: 1}, 2},
		"one has another value": {func(b *book) {
			deliver(b, paymentReceived, 2, "0.9", 1)
		}, totals{Unexpected: 1}, 3},
		"one was written by hand": {func(b *book) {
			b.arrived(receiver.Delivery{Path: "/crm", Type: customerMoved, Nth: 1, Body: []byte(`{"data":{"customer_id":10,"address_id":2}}`)})
		}, totals{ByHand: 1}, 3},
		"one overtakes": {func(b *book) {
			deliver(b, paymentCorrected, 1, "2.49", 1)
			deliver(b, paymentReceived, 1, "2.99", 1)
		}, totals{Delivered: 2, Disordered: 1}, 1},
		"another endpoint's": {func(b *book) {
			b.arrived(receiver.Delivery{Path: "/crm", Type: customerMoved, Nth: 1, Body: []byte(`{"data":{"customer_id":11,"address_id":2}}`)})
		}, totals{Unexpected: 1}, 3},
	} {
		b := newBook()
		now := time.Now()
		b.commit(now, []wanted{paid(paymentReceived, 1, "2.99"), paid(paymentReceived, 2, "0.99")})
		b.commit(now, []wanted{paid(paymentCorrected, 1, "2.49")})
		c.deliver(b)
		n := b.numbers(now)
		n.ByEndpoint, c.want.Committed, c.want.Transactions = nil, 3, 2
		if fmt.Sprint(n.totals) != fmt.Sprint(c.want) || n.Lag != c.lag || b.lag() != c.lag || len(b.outstanding()) != c.lag {
			t.Errorf("%s: %+v and lag %d, want %+v and lag %d", name, n.totals, n.Lag, c.want, c.lag)
		}
		if faults := n.Unexpected + n.Disordered; faults != len(b.faults) {
			t.Errorf("%s: %d faults told, want %d", name, len(b.faults), faults)
		}
	}
}

// What newer events have overtaken by far is missing before the end.
func TestBookNoticesWhatIsMissing(t *testing.T) {
	t.Parallel()
	b, now := newBook(), time.Now()
	b.commit(now, []wanted{paid(paymentReceived, 1, "2.99")})
	b.commit(now.Add(overdue+time.Second), []wanted{paid(paymentReceived, 2, "2.99")})
	if n := b.numbers(now.Add(time.Hour)); n.Missing != 0 || n.Lag != 2 {
		t.Errorf("missing %d, lag %d before anything came; want 0 and 2", n.Missing, n.Lag)
	}
	deliver(b, paymentReceived, 2, "2.99", 1)
	if n := b.numbers(now.Add(time.Hour)); n.Missing != 1 || n.Lag != 1 {
		t.Errorf("missing %d, lag %d; want 1 and 1", n.Missing, n.Lag)
	}
}

func TestSplitScript(t *testing.T) {
	t.Parallel()
	got := sakila.Pieces("SET a=1;\nUSE b;\nDELIMITER ;;\nCREATE TRIGGER t BEGIN\n  SET x = 1;\nEND;;\n\nCREATE TRIGGER u BEGIN\n  SET y = 1;\nEND;;\nDELIMITER ;\n\nSELECT 1;\n")
	want := []string{"SET a=1;\nUSE b;", "CREATE TRIGGER t BEGIN\n  SET x = 1;\nEND", "CREATE TRIGGER u BEGIN\n  SET y = 1;\nEND", "SELECT 1;"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The usual terminal has 80 columns and 24 lines, and one of those is for the cursor.
func TestPictureFits(t *testing.T) {
	t.Parallel()
	v := view{open: true, server: "10.11.19-MariaDB-0+deb12u1-log", dbAddr: "127.0.0.1:33060", metrics: "http://127.0.0.1:33061/metrics", dir: "/tmp/rowhook-demo-1234567890"}
	v.Last = []arrival{{endpoint: billing, text: tell(paymentReceived, 16050, 600, "10.99")}}
	if lines := v.picture(40); len(lines) != fixedLines+maxLast {
		t.Errorf("%d lines where there is room for all", len(lines))
	}
	lines := v.picture(24)
	if len(lines) != 23 {
		t.Errorf("%d lines, want 23:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for _, line := range lines {
		if cut(line, 100) != line {
			t.Errorf("%d characters: %s", len(line), line)
		}
	}
	if !strings.Contains(strings.Join(lines, "\n"), "amount=10.99") {
		t.Errorf("no event in\n%s", strings.Join(lines, "\n"))
	}
	if got := cut("commit→2xx", 8); got != "commit→…" {
		t.Errorf("cut is %q", got)
	}
}
