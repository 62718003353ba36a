package receiver

import (
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"time"
)

// Behaviour is what is done about one verified request. The zero value answers 204 at once.
type Behaviour struct {
	// Status is the answer; 0 means 204.
	Status int
	// Delay comes before the answer; it ends early when the sender gives up.
	Delay time.Duration
	// RetryAfter is the header of this name, or empty.
	RetryAfter string
	// Location is the header of this name, for redirects; or empty.
	Location string
	// Hang never answers: it waits until the sender gives up or the receiver is closed.
	Hang bool
	// Close breaks the connection without an answer.
	Close bool
}

// status is what will be answered; 0 if nothing will.
func (b Behaviour) status() int {
	switch {
	case b.Hang || b.Close:
		return 0
	case b.Status == 0:
		return http.StatusNoContent
	}
	return b.Status
}

// Rule chooses the behaviour for a request. It is called from many goroutines at once.
type Rule func(Delivery) Behaviour

// Always is the rule that has one behaviour for all requests.
func Always(b Behaviour) Rule { return func(Delivery) Behaviour { return b } }

// FailFirst shows b to the first n requests of each id, and accepts it from then on.
func FailFirst(n int, b Behaviour) Rule {
	return func(d Delivery) Behaviour {
		if d.Nth <= n {
			return b
		}
		return Behaviour{}
	}
}

// Sometimes shows one of the choices to a share of the requests, between 0 and 1. What it does about the nth request of an id is a
// function of seed, id and n alone, whatever else comes in between.
func Sometimes(seed uint64, share float64, choices ...Behaviour) Rule {
	return func(d Delivery) Behaviour {
		hash := fnv.New64a()
		_, _ = hash.Write([]byte(d.ID))
		random := rand.New(rand.NewPCG(seed, hash.Sum64()+uint64(d.Nth)))
		if len(choices) == 0 || random.Float64() >= share {
			return Behaviour{}
		}
		return choices[random.IntN(len(choices))]
	}
}

// Behave sets the rule for a path, from the next request on. Without one, or with nil, requests are accepted.
func (r *Receiver) Behave(path string, rule Rule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rules[path] = rule
}

// act does what the behaviour says; answering is called right before the first byte of an answer may leave.
func (r *Receiver) act(w http.ResponseWriter, req *http.Request, b Behaviour, answering func()) {
	// A handler that just returned would answer 200.
	if b.Delay > 0 && !r.wait(req, time.After(b.Delay)) {
		panic(http.ErrAbortHandler)
	}
	if b.Hang {
		r.wait(req, nil)
	}
	if b.Hang || b.Close {
		panic(http.ErrAbortHandler)
	}
	if b.RetryAfter != "" {
		w.Header().Set("Retry-After", b.RetryAfter)
	}
	if b.Location != "" {
		w.Header().Set("Location", b.Location)
	}
	answering()
	w.WriteHeader(b.status())
}

// wait returns true when timer fires, false when the sender gives up or the receiver is closed.
func (r *Receiver) wait(req *http.Request, timer <-chan time.Time) bool {
	select {
	case <-timer:
		return true
	case <-req.Context().Done():
	case <-r.closed:
	}
	return false
}
