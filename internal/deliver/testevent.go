package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// SendTest posts a body to an endpoint once, signed, with the header "Rowhook-Test: 1", and returns what came of it. It keeps no order,
// is not tried again, and goes also to an endpoint that is paused or disabled; like every send it is journaled, and it is recorded as
// an attempt with the cause "test" and the seq 0. ctx bounds the wait before the send; the send itself has the endpoint's timeout.
func (e *Engine) SendTest(ctx context.Context, endpoint, eventType, id string, body []byte) (Attempt, error) {
	if err := e.await(ctx); err != nil {
		return Attempt{}, err
	}
	s, err := e.locked(endpoint)
	if err != nil {
		return Attempt{}, err
	}
	// Under the mutex: the end closes every sender before it waits for the workers.
	e.workers.Add(1)
	defer e.workers.Done()
	ep := s.ep
	s.mu.Unlock()
	a, err := e.sendTest(ctx, s.main, ep, &item{ref: EventRef{Type: eventType}, id: id, body: body, test: true})
	if err != nil {
		return Attempt{}, fmt.Errorf("send a test to endpoint %s: %w", endpoint, err)
	}
	return *a, nil
}

func (e *Engine) sendTest(ctx context.Context, l *lane, ep *Endpoint, it *item) (*Attempt, error) {
	wctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(e.sendCtx, stop)()
	if err := errors.Join(e.gate.wait(wctx), e.mayWrite(wctx)); err != nil {
		return nil, fmt.Errorf("wait until results can be recorded: %w", err)
	}
	started := time.Now()
	mark, err := e.deps.Journal.Append(l.sendRecord(it, started))
	if err != nil {
		return nil, fmt.Errorf("write the send journal: %w", err)
	}
	out := e.post(ep, it, started)
	if out.code == "aborted" {
		return nil, ErrEnded
	}
	a := l.attemptRecord(it, started, out, time.Since(started))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.record(result{attempt: a, mark: mark})
	l.markDirty()
	return a, nil
}
