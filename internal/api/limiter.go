package api

import (
	"net/netip"
	"sync"
	"time"
)

// The limits of failed authentications of one address: a burst, then one each refill.
const (
	failureBurst  = 20
	failureRefill = 3 * time.Second
	maxAddresses  = 4096
	maxRightKeys  = 1024
)

// limiter counts failed authentications by address, in bounded tables.
type limiter struct {
	mu sync.Mutex
	// full is when an address will have its whole burst again; it is nowhere if that has passed.
	full map[netip.Addr]time.Time
	// swept is when those that have their burst again were last looked for.
	swept time.Time
	// lately are digests of keys that were right.
	lately map[[32]byte]struct{}
}

func newLimiter() *limiter {
	return &limiter{full: map[netip.Addr]time.Time{}, lately: map[[32]byte]struct{}{}}
}

// wait returns how long an address must wait before a key that was not right lately is looked up.
func (l *limiter) wait(from netip.Addr, key [32]byte) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.lately[key]; ok {
		return 0
	}
	full, ok := l.full[from]
	if !ok {
		return 0
	}
	return max(0, time.Until(full)-(failureBurst-1)*failureRefill)
}

// wrong counts a wrong key.
func (l *limiter) wrong(from netip.Addr, key [32]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.lately, key)
	now := time.Now()
	at, ok := l.full[from]
	if !ok && len(l.full) >= maxAddresses {
		l.forget(now)
	}
	if at.Before(now) {
		at = now
	}
	// More than the burst is not remembered: who stops guessing is let in again soon.
	l.full[from] = minTime(at.Add(failureRefill), now.Add(failureBurst*failureRefill))
}

// forget makes room: of those that have their burst again, which it looks for once a second, or else of any one.
func (l *limiter) forget(now time.Time) {
	if now.Sub(l.swept) >= time.Second {
		l.swept = now
		for a, full := range l.full {
			if full.Before(now) {
				delete(l.full, a)
			}
		}
	}
	for a := range l.full {
		if len(l.full) < maxAddresses {
			return
		}
		delete(l.full, a)
	}
}

// right remembers a key that was right.
func (l *limiter) right(key [32]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.lately[key]; ok {
		return
	}
	for k := range l.lately {
		if len(l.lately) < maxRightKeys {
			break
		}
		delete(l.lately, k)
	}
	l.lately[key] = struct{}{}
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
