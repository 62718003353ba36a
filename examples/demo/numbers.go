package main

import (
	"slices"
	"time"
)

// maxLast is how many of the last events are shown.
const maxLast = 8

// numbers are what the screen shows at one moment.
type numbers struct {
	totals
	Lag     int // committed and not yet delivered
	Missing int // those of the lag that newer ones have overtaken by far

	TransactionRate, CommitRate, DeliveryRate float64 // a second, over the window
	P50, P95                                  time.Duration
	Last                                      []arrival // the newest last
}

// numbers counts; now closes the window.
func (b *book) numbers(now time.Time) numbers {
	b.mu.Lock()
	defer b.mu.Unlock()
	from := now.Add(-window)
	older := func(t time.Time) bool { return t.Before(from) }
	b.transactions = slices.DeleteFunc(b.transactions, older)
	b.commits = slices.DeleteFunc(b.commits, older)
	b.arrivals = slices.DeleteFunc(b.arrivals, func(a arrival) bool { return older(a.at) })
	n := numbers{totals: b.total, Lag: b.total.Committed - b.total.Delivered, Missing: b.overtaken()}
	n.ByEndpoint = map[string]int{}
	for name, count := range b.total.ByEndpoint {
		n.ByEndpoint[name] = count
	}
	seconds := max(min(now.Sub(b.began), window), time.Second).Seconds()
	n.TransactionRate = float64(len(b.transactions)) / seconds
	n.CommitRate = float64(len(b.commits)) / seconds
	n.DeliveryRate = float64(len(b.arrivals)) / seconds
	n.P50, n.P95 = percentiles(b.arrivals)
	n.Last = slices.Clone(b.last[max(0, len(b.last)-maxLast):])
	return n
}

// lag is how much was committed and has not arrived.
func (b *book) lag() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total.Committed - b.total.Delivered
}

// overtaken counts what newer deliveries of the same endpoint have passed by.
func (b *book) overtaken() int {
	count := 0
	for _, list := range b.rows {
		for _, w := range list {
			if b.newest[w.endpoint].Sub(w.at) > overdue {
				count++
			}
		}
	}
	return count
}

func percentiles(arrivals []arrival) (p50, p95 time.Duration) {
	if len(arrivals) == 0 {
		return 0, 0
	}
	took := make([]time.Duration, len(arrivals))
	for i, a := range arrivals {
		took[i] = a.took
	}
	slices.Sort(took)
	at := func(p float64) time.Duration { return took[min(len(took)-1, int(p*float64(len(took))))] }
	return at(0.5), at(0.95)
}

// outstanding is what has not arrived, as texts, at most maxFaults of them.
func (b *book) outstanding() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, list := range b.rows {
		for _, w := range list {
			all = append(all, w.at.Format("15:04:05.000")+" "+w.endpoint+": "+w.text)
		}
	}
	slices.Sort(all)
	return all[:min(len(all), maxFaults)]
}
