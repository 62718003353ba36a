package deliver

import (
	"cmp"
	"slices"
	"sync"
)

// senders are those of all endpoints. It is safe for concurrent use.
type senders struct {
	mu     sync.RWMutex
	byName map[string]*sender
	slots  [Slots]int // how many belong to each
}

// get returns an endpoint's sender, or nil.
func (ss *senders) get(endpoint string) *sender {
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	return ss.byName[endpoint]
}

func (ss *senders) add(s *sender) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.byName[s.name] = s
	ss.slots[s.slot]++
}

// remove takes s out, and says whether it was there.
func (ss *senders) remove(s *sender) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.byName[s.name] != s {
		return false
	}
	delete(ss.byName, s.name)
	ss.slots[s.slot]--
	return true
}

// all returns them in order of their names.
func (ss *senders) all() []*sender {
	ss.mu.RLock()
	out := make([]*sender, 0, len(ss.byName))
	for _, s := range ss.byName {
		out = append(out, s)
	}
	ss.mu.RUnlock()
	slices.SortFunc(out, func(a, b *sender) int { return cmp.Compare(a.name, b.name) })
	return out
}

// used returns which slots have an endpoint.
func (ss *senders) used() [Slots]int {
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	return ss.slots
}
