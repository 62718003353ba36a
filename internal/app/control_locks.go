package app

import (
	"context"
	"sync"
)

// keyedLocks lets one change of a thing through at a time. It holds as many locks as there are changes under way.
type keyedLocks struct {
	mu   sync.Mutex
	held map[string]*keyedLock
}

type keyedLock struct {
	// free has room for the one who holds the lock.
	free chan struct{}
	// users hold it or wait for it.
	users int
}

// lock waits for the lock of a key. Whoever has it gives it back by calling unlock.
func (k *keyedLocks) lock(ctx context.Context, key string) (unlock func(), err error) {
	k.mu.Lock()
	l := k.held[key]
	if l == nil {
		l = &keyedLock{free: make(chan struct{}, 1)}
		k.held[key] = l
	}
	l.users++
	k.mu.Unlock()
	select {
	case l.free <- struct{}{}:
		return func() {
			<-l.free
			k.leave(key, l)
		}, nil
	case <-ctx.Done():
		k.leave(key, l)
		return nil, ctx.Err()
	}
}

func (k *keyedLocks) leave(key string, l *keyedLock) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(k.held, key)
	}
}
