package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrEnded says that the engine has ended and takes no more orders.
var ErrEnded = errors.New("delivery has ended")

// ErrNoEndpoint is wrapped by errors that say that an engine has no such endpoint.
var ErrNoEndpoint = errors.New("no such endpoint")

// await waits until the lanes are built.
func (e *Engine) await(ctx context.Context) error {
	select {
	case <-e.ended:
		return ErrEnded
	default:
	}
	select {
	case <-e.ready:
		return nil
	case <-e.ended:
		return ErrEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// locked returns an endpoint's sender with its mutex held.
func (e *Engine) locked(endpoint string) (*sender, error) {
	s := e.senders.get(endpoint)
	if s != nil {
		s.mu.Lock()
		if !s.closed {
			return s, nil
		}
		s.mu.Unlock()
	}
	return nil, fmt.Errorf("%w: %s", ErrNoEndpoint, endpoint)
}

// PutEndpoint adds an endpoint, which is then in step with the log and subscribed to nothing; or it gives one that there is already a new
// definition, which every send takes that begins after it returns. The tenant of an endpoint cannot change. Like all methods that
// control a running Engine it may be called by any goroutine, waits until Run has built the lanes, and fails with ErrEnded after it.
func (e *Engine) PutEndpoint(ctx context.Context, ep *Endpoint) error {
	if err := e.await(ctx); err != nil {
		return err
	}
	e.offering.Lock()
	defer e.offering.Unlock()
	s := e.senders.get(ep.Name)
	if s == nil {
		s = newSender(e, ep)
		s.main.cursor = e.liveSeq.Load()
		s.main.state = live
		e.senders.add(s)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return fmt.Errorf("endpoint %s is being removed", ep.Name)
	case s.tenant != ep.Tenant:
		return fmt.Errorf("endpoint %s belongs to tenant %q and cannot be given to %q", ep.Name, s.tenant, ep.Tenant)
	}
	s.ep = ep
	s.schedule() // there may be more requests at once now
	for _, l := range s.lanes {
		l.feed()
	}
	return nil
}

// RemoveEndpoint begins no new sends, waits for those in flight until ctx ends, and then lets the store forget the endpoint's progress,
// exceptions, ranges and state in this source. After an error the endpoint gets nothing more, and the call may be repeated.
func (e *Engine) RemoveEndpoint(ctx context.Context, name string) error {
	if err := e.await(ctx); err != nil {
		return err
	}
	s := e.senders.get(name)
	if s == nil {
		return fmt.Errorf("%w: %s", ErrNoEndpoint, name)
	}
	e.routes.replace(s, nil)
	s.mu.Lock()
	s.closed = true
	s.halt()
	s.mu.Unlock()
	if err := s.wait(ctx); err != nil {
		return fmt.Errorf("remove endpoint %s: %w", name, err)
	}
	s.forget()
	if err := e.save(ctx); err != nil {
		return fmt.Errorf("remove endpoint %s: %w", name, err)
	}
	return nil
}

// forget gives back what the sender holds and leaves to the next checkpoint to remove what is stored.
func (s *sender) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.engine.senders.remove(s) {
		return // another call was first
	}
	s.forgotten = true
	s.ranges = nil
	s.reroute()
	for _, l := range s.lanes {
		for _, it := range l.exceptions() {
			l.refund(it)
		}
		l.disarm()
		l.markDirty()
	}
}

// Pause begins no new sends once it returns, which is when none is in flight any more and the store knows, or when ctx ends; the pause
// holds even then. The endpoint keeps its place.
func (e *Engine) Pause(ctx context.Context, endpoint, reason string) error {
	if err := e.await(ctx); err != nil {
		return err
	}
	s, err := e.locked(endpoint)
	if err != nil {
		return err
	}
	if !s.paused {
		s.paused, s.reason, s.since = true, reason, time.Now()
		s.noteState()
		s.halt()
	}
	s.mu.Unlock()
	if err = s.wait(ctx); err == nil {
		err = e.save(ctx)
	}
	if err != nil {
		return fmt.Errorf("pause endpoint %s: %w", endpoint, err)
	}
	return nil
}

// Resume lets an endpoint that is paused or disabled go on from its place. What waits for a retry is tried within a second.
func (e *Engine) Resume(ctx context.Context, endpoint string) error {
	if err := e.await(ctx); err != nil {
		return err
	}
	s, err := e.locked(endpoint)
	if err != nil {
		return err
	}
	if s.halted() {
		s.resume()
	}
	s.mu.Unlock()
	if err := e.save(ctx); err != nil {
		return fmt.Errorf("resume endpoint %s: %w", endpoint, err)
	}
	return nil
}

// wait returns once nothing is in flight.
func (s *sender) wait(ctx context.Context) error {
	s.mu.Lock()
	if s.active == 0 {
		s.mu.Unlock()
		return nil
	}
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	idle := s.idle
	s.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-s.engine.ended:
		return ErrEnded
	case <-ctx.Done():
		return fmt.Errorf("wait for requests in flight: %w", ctx.Err())
	}
}
