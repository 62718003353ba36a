package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rowhook/rowhook/e2e/receiver"
)

// overdue is how far newer deliveries of an endpoint may be ahead before an older one counts as missing. In the demo no delivery is
// ever retried, because the receiver accepts all of them.
const overdue = 5 * time.Second

// window is the time that rates and latencies are about.
const window = 10 * time.Second

// wanted is a committed change that an endpoint must be told about.
type wanted struct {
	endpoint string
	// row names the changed row: its changes must arrive in their order.
	row string
	// text is the event in short: its type, and the values that were written. It is what an arrival must match.
	text string
	at   time.Time // right before the COMMIT
}

// book is what was committed against what arrived. It remembers only what is still to come, so it does not grow with time.
type book struct {
	mu     sync.Mutex
	texts  map[string][]*wanted // not yet arrived, by endpoint and text
	rows   map[string][]*wanted // the same by endpoint and row, in the order of their commits
	newest map[string]time.Time // by endpoint, the latest commit that arrived

	began        time.Time // the first commit
	total        totals
	transactions []time.Time // those of the window
	commits      []time.Time // one for each event
	arrivals     []arrival
	last         []arrival
	faults       []string
}

// totals count since the start.
type totals struct {
	Transactions, Committed, Delivered int
	ByEndpoint                         map[string]int
	Repeated                           int // a known id again
	Unexpected                         int // verified, but nobody committed that
	Disordered                         int // before an older change of its row
	ByHand                             int // about a customer that the shop leaves alone
}

// arrival is one event that was accepted.
type arrival struct {
	at       time.Time
	took     time.Duration
	endpoint string
	text     string
}

func newBook() *book {
	return &book{
		texts: map[string][]*wanted{}, rows: map[string][]*wanted{}, newest: map[string]time.Time{},
		total: totals{ByEndpoint: map[string]int{}},
	}
}

// commit books a transaction. It is called right before the COMMIT: an event may arrive before that returns.
func (b *book) commit(now time.Time, events []wanted) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.total.Transactions++; b.began.IsZero() {
		b.began = now
	}
	b.transactions = append(b.transactions, now)
	for _, w := range events {
		w.at = now
		text, row := w.endpoint+" "+w.text, w.endpoint+" "+w.row
		b.texts[text], b.rows[row] = append(b.texts[text], &w), append(b.rows[row], &w)
		b.commits = append(b.commits, now)
		b.total.Committed++
	}
}

// arrived crosses out what a verified request brought, at the moment its answer is given.
func (b *book) arrived(d receiver.Delivery) {
	endpoint, text := strings.TrimPrefix(d.Path, "/"), describe(d)
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if d.Nth > 1 {
		b.total.Repeated++
		return
	}
	waiting := b.texts[endpoint+" "+text]
	if len(waiting) == 0 && byHand(text) {
		b.total.ByHand++
		b.show(arrival{at: now, endpoint: endpoint, text: text + " (by hand)"})
		return
	}
	if len(waiting) == 0 {
		b.total.Unexpected++
		b.fault("unexpected at %s: %s (%s)", endpoint, text, d.ID)
		return
	}
	w := waiting[0]
	b.inOrder(w, d.ID)
	drop(b.texts, endpoint+" "+text, w)
	drop(b.rows, endpoint+" "+w.row, w)
	if w.at.After(b.newest[endpoint]) {
		b.newest[endpoint] = w.at
	}
	b.total.Delivered++
	b.total.ByEndpoint[endpoint]++
	a := arrival{at: now, took: now.Sub(w.at), endpoint: endpoint, text: text}
	b.arrivals = append(b.arrivals, a)
	b.show(a)
}

// show makes it one of the last.
func (b *book) show(a arrival) {
	if b.last = append(b.last, a); len(b.last) > 2*maxLast {
		b.last = slices.Delete(b.last, 0, maxLast)
	}
}

// inOrder notes an event that overtook an older one of its row.
func (b *book) inOrder(w *wanted, id string) {
	if first := b.rows[w.endpoint+" "+w.row][0]; first != w {
		b.total.Disordered++
		b.fault("out of order at %s: %s (%s) came before %s", w.endpoint, w.text, id, first.text)
	}
}

// visitors are the customers up to this number: the shop leaves their rows alone, so that whoever watches can change them.
const visitors = 10

// byHand reports whether an event is about a visitor's row. Nobody booked it, so nothing can be said of it but that it came.
func byHand(text string) bool {
	var kind string
	var id int
	_, err := fmt.Sscanf(text, "%s customer_id=%d", &kind, &id)
	return err == nil && id <= visitors && (kind == customerMoved || kind == customerClosed)
}

// drop removes w from one list of a map.
func drop(m map[string][]*wanted, key string, w *wanted) {
	left := slices.DeleteFunc(m[key], func(x *wanted) bool { return x == w })
	if m[key] = left; len(left) == 0 {
		delete(m, key)
	}
}

// maxFaults bounds the faults that are told one by one.
const maxFaults = 10

func (b *book) fault(format string, args ...any) {
	if len(b.faults) < maxFaults {
		b.faults = append(b.faults, fmt.Sprintf(format, args...))
	}
}

// describe is the text of an event as its receiver reads it. A column that is not what was written makes another text.
func describe(d receiver.Delivery) string {
	var body struct {
		Data map[string]any `json:"data"`
	}
	decoder := json.NewDecoder(strings.NewReader(string(d.Body)))
	decoder.UseNumber()
	if err := decoder.Decode(&body); err != nil {
		return d.Type + ": " + err.Error()
	}
	text := d.Type
	for _, column := range telling(d.Type) {
		text += fmt.Sprintf(" %s=%v", column, body.Data[column])
	}
	return text
}

// telling are the columns that make an event's text.
func telling(kind string) []string {
	switch kind {
	case paymentReceived, paymentCorrected:
		return []string{"payment_id", "customer_id", "amount"}
	case rentalReturned:
		return []string{"rental_id", "customer_id", "inventory_id"}
	case customerCreated:
		return []string{"customer_id", "first_name", "last_name"}
	case customerMoved:
		return []string{"customer_id", "address_id"}
	case customerClosed:
		return []string{"customer_id", "active"}
	}
	return nil
}

// tell is the text of an event as its writer knows it; values are those of telling, in its order.
func tell(kind string, values ...any) string {
	text := kind
	for i, column := range telling(kind) {
		text += fmt.Sprintf(" %s=%v", column, values[i])
	}
	return text
}
