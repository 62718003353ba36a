package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// renewTimeout bounds one renewal; a slower one counts as missed.
const renewTimeout = 5 * time.Second

// runLeases renews the claims. A process that could not renew in time stops sending by its own clock, before anybody else may
// begin; one whose slot was claimed by another ends.
func (e *Engine) runLeases(ctx context.Context) error {
	if len(e.opts.Claims) == 0 {
		return errors.New("deliver without a claim")
	}
	t := time.NewTicker(e.opts.LeaseTTL / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			if err := e.renew(ctx); err != nil {
				return err
			}
		}
	}
}

func (e *Engine) renew(ctx context.Context) error {
	asked := time.Now()
	rctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	lost, err := e.deps.Leases.Renew(rctx, e.opts.Claims, e.opts.LeaseTTL)
	if len(lost) > 0 {
		return fmt.Errorf("slots %v: %w", lost, ErrStale)
	}
	if err != nil {
		e.opts.Log.Warn("leases not renewed", "source", e.opts.Source, "err", err)
		return nil
	}
	until := asked.Add(e.opts.LeaseTTL)
	e.lease.Store(&until)
	e.leaseGate.set(true)
	return nil
}

// mayWrite waits until the process holds its leases; the check itself is one look at the monotonic clock.
func (e *Engine) mayWrite(ctx context.Context) error {
	for !time.Now().Before(*e.lease.Load()) {
		e.leaseGate.set(false)
		// A renewal between the look and the line above has opened the gate for nothing; look again.
		if time.Now().Before(*e.lease.Load()) {
			e.leaseGate.set(true)
			return nil
		}
		if err := e.leaseGate.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}
