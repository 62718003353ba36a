package deliver

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Budget bounds what the lanes of several engines hold in memory together. It is safe for concurrent use.
type Budget struct {
	bound int64
	used  atomic.Int64

	mu   sync.Mutex
	wake []*Engine
}

// NewBudget returns a budget of so many bytes. Beyond it each lane keeps a small share, so that none waits for another.
func NewBudget(bytes int64) *Budget { return &Budget{bound: bytes} }

// Used returns the bytes that are charged now.
func (b *Budget) Used() int64 { return b.used.Load() }

func (b *Budget) exhausted() bool { return b.used.Load() >= b.bound }

func (b *Budget) charge(n int64) { b.used.Add(n) }

// refund gives n bytes back. A lane that the bound turned away has nothing in flight that would ask for more, so each engine looks
// for such lanes when the bound is left.
func (b *Budget) refund(n int64) {
	if now := b.used.Add(-n); now >= b.bound || now+n < b.bound {
		return
	}
	b.mu.Lock()
	engines := b.wake
	b.mu.Unlock()
	for _, e := range engines {
		e.wakeCatchup()
	}
}

// join lets an engine hear of room; the list is replaced, never changed.
func (b *Budget) join(e *Engine) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake = append(slices.Clip(b.wake), e)
}

// leave gives back what an engine that has ended still held.
func (b *Budget) leave(e *Engine) {
	b.mu.Lock()
	b.wake = slices.DeleteFunc(slices.Clone(b.wake), func(o *Engine) bool { return o == e })
	b.mu.Unlock()
	b.refund(e.queued.Swap(0))
}
