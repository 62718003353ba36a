package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/rowhook/rowhook/internal/deliver"
)

// Commit records a batch in one transaction. A slot whose epoch is not the current one is refused with all its records, while the
// other slots' are written; the refused ones are named by a *deliver.StaleError (errors.Is deliver.ErrStale). After any other error
// nothing of the batch was written. A record of another source than the batch's, or of an endpoint of another slot than
// its SlotWrite's, is such an error: the epoch would not fence it.
func (s *Store) Commit(ctx context.Context, b deliver.Batch) error {
	if err := checkBatch(&b); err != nil {
		return fmt.Errorf("commit the progress of source %s: %w", b.Source, err)
	}
	var stale []int
	err := s.update(ctx, "commit the progress of source "+b.Source, func(tx *sql.Tx) error {
		c := committer{ctx: ctx, tx: tx, st: &s.stmt, source: b.Source, now: time.Now().UnixMilli()}
		var err error
		stale, err = c.batch(&b)
		return err
	})
	if err != nil {
		return err
	}
	if len(stale) > 0 {
		return &deliver.StaleError{Slots: stale}
	}
	return nil
}

func checkBatch(b *deliver.Batch) error {
	for i := range b.Slots {
		w := &b.Slots[i]
		check := func(source, endpoint string) error {
			if source != b.Source {
				return fmt.Errorf("a record of slot %d is of source %q", w.Slot, source)
			}
			return checkSlot(w.Slot, endpoint)
		}
		for i := range w.Progress {
			// A lane's name begins with that of its endpoint.
			if err := check(w.Progress[i].Source, deliver.LaneEndpoint(w.Progress[i].Endpoint)); err != nil {
				return err
			}
		}
		for i := range w.Put {
			if err := check(w.Put[i].Source, w.Put[i].Endpoint); err != nil {
				return err
			}
		}
		for i := range w.Delete {
			if err := check(w.Delete[i].Source, w.Delete[i].Endpoint); err != nil {
				return err
			}
		}
		for i := range w.Attempts {
			if err := check(w.Attempts[i].Source, w.Attempts[i].Endpoint); err != nil {
				return err
			}
		}
		for i := range w.Expired {
			if err := check(w.Expired[i].Source, w.Expired[i].Endpoint); err != nil {
				return err
			}
		}
		for i := range w.States {
			if err := checkSlot(w.Slot, w.States[i].Endpoint); err != nil {
				return err
			}
		}
		for i := range w.Ranges {
			if err := check(w.Ranges[i].Source, w.Ranges[i].Endpoint); err != nil {
				return err
			}
		}
		for _, endpoint := range w.Forget {
			if err := checkSlot(w.Slot, endpoint); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkSlot(slot int, endpoint string) error {
	if of := deliver.SlotOf(endpoint); of != slot {
		return fmt.Errorf("endpoint %q belongs to slot %d and stands in slot %d", endpoint, of, slot)
	}
	return nil
}

// committer writes one batch. It lives as long as its transaction, hence the context in it.
type committer struct {
	ctx    context.Context
	tx     *sql.Tx
	st     *statements
	source string
	now    int64
}

func (c *committer) exec(stmt *sql.Stmt, args ...any) error {
	_, err := stmt.ExecContext(c.ctx, args...)
	return err
}

func (c *committer) batch(b *deliver.Batch) (stale []int, err error) {
	fence := c.tx.StmtContext(c.ctx, c.st.fence)
	readSeq := c.tx.StmtContext(c.ctx, c.st.readSeq)
	attempts := make([][]deliver.Attempt, 0, len(b.Slots))
	for i := range b.Slots {
		w := &b.Slots[i]
		current, err := one(fence.ExecContext(c.ctx, w.Slot, w.Epoch))
		if err != nil {
			return nil, fmt.Errorf("check the epoch of slot %d: %w", w.Slot, err)
		}
		if !current {
			stale = append(stale, w.Slot)
			continue
		}
		if w.ReadSeq > 0 {
			if err := c.exec(readSeq, c.source, w.Slot, w.ReadSeq); err != nil {
				return nil, fmt.Errorf("slot %d: %w", w.Slot, err)
			}
		}
		if err := c.slot(w); err != nil {
			return nil, fmt.Errorf("slot %d: %w", w.Slot, err)
		}
		attempts = append(attempts, w.Attempts)
	}
	if err := c.attempts(attempts); err != nil {
		return nil, fmt.Errorf("attempts: %w", err)
	}
	return stale, nil
}

// slot writes what most slots have nothing of most of the time.
func (c *committer) slot(w *deliver.SlotWrite) error {
	// First: an endpoint may have come back under the name since.
	for _, endpoint := range w.Forget {
		if err := c.forget(endpoint); err != nil {
			return fmt.Errorf("forget endpoint %s: %w", endpoint, err)
		}
	}
	for i := range w.Ranges {
		if err := putRange(c.ctx, c.tx.StmtContext(c.ctx, c.st.putRange), &w.Ranges[i]); err != nil {
			return err
		}
	}
	if err := c.progress(w.Progress); err != nil {
		return err
	}
	if err := c.exceptions(w); err != nil {
		return err
	}
	for i := range w.Expired {
		e := &w.Expired[i]
		if err := c.exec(c.tx.StmtContext(c.ctx, c.st.putExpired), e.Source, e.Endpoint, e.First, e.Last, c.now); err != nil {
			return fmt.Errorf("expired range of endpoint %s: %w", e.Endpoint, err)
		}
	}
	for i := range w.States {
		if err := putState(c.ctx, c.tx.StmtContext(c.ctx, c.st.putState), &w.States[i]); err != nil {
			return fmt.Errorf("state of endpoint %s: %w", w.States[i].Endpoint, err)
		}
	}
	return nil
}

// forget removes what the source knows of an endpoint, and of the endpoint's backfills. Its attempts stay until they are old.
func (c *committer) forget(endpoint string) error {
	// Names of lanes continue with '#', and '$' is the next character.
	lanes := []any{c.source, endpoint, endpoint + "#", endpoint + "$"}
	if _, err := c.tx.ExecContext(c.ctx, `DELETE FROM endpoint_progress WHERE source = ? AND (endpoint = ? OR endpoint >= ? AND endpoint < ?)`, lanes...); err != nil {
		return err
	}
	for _, table := range []string{"exceptions", "subscription_ranges"} {
		if _, err := c.tx.ExecContext(c.ctx, `DELETE FROM `+table+` WHERE source = ? AND endpoint = ?`, c.source, endpoint); err != nil {
			return err
		}
	}
	_, err := c.tx.ExecContext(c.ctx, `DELETE FROM endpoint_states WHERE endpoint = ?`, endpoint)
	return err
}

func (c *committer) progress(progress []deliver.EndpointProgress) error {
	if len(progress) == 0 {
		return nil
	}
	put := c.tx.StmtContext(c.ctx, c.st.putProgress)
	clearing := c.tx.StmtContext(c.ctx, c.st.clearProgress)
	for i := range progress {
		p := &progress[i]
		if p.Clear {
			if err := c.exec(clearing, p.Source, p.Endpoint); err != nil {
				return fmt.Errorf("progress of endpoint %s: %w", p.Endpoint, err)
			}
			continue
		}
		record, err := deliver.MarshalProgress(p.Progress)
		if err == nil {
			err = c.exec(put, p.Source, p.Endpoint, record)
		}
		if err != nil {
			return fmt.Errorf("progress of endpoint %s: %w", p.Endpoint, err)
		}
	}
	return nil
}

// exceptions deletes before it puts, so that an exception in both lists stays.
func (c *committer) exceptions(w *deliver.SlotWrite) error {
	if len(w.Put) == 0 && len(w.Delete) == 0 {
		return nil
	}
	put := c.tx.StmtContext(c.ctx, c.st.putException)
	del := c.tx.StmtContext(c.ctx, c.st.deleteException)
	for _, k := range w.Delete {
		if err := c.exec(del, k.Source, k.Endpoint, k.Seq, k.Type); err != nil {
			return fmt.Errorf("exception %d %s of endpoint %s: %w", k.Seq, k.Type, k.Endpoint, err)
		}
	}
	for i := range w.Put {
		if err := c.exception(put, &w.Put[i]); err != nil {
			return fmt.Errorf("exception %d %s of endpoint %s: %w", w.Put[i].Seq, w.Put[i].Type, w.Put[i].Endpoint, err)
		}
	}
	return nil
}

func (c *committer) exception(put *sql.Stmt, e *deliver.Exception) error {
	bare := *e
	bare.Payload = nil
	record, err := deliver.MarshalException(&bare)
	if err != nil {
		return err
	}
	payload := e.Payload
	if payload == nil {
		payload = []byte{}
	}
	return c.exec(put, e.Source, e.Endpoint, e.Seq, e.Type, uint8(e.State), e.EventID, record, payload)
}

// attempts inserts those of all slots together, so that the statements are full.
func (c *committer) attempts(lists [][]deliver.Attempt) error {
	total := 0
	for _, l := range lists {
		total += len(l)
	}
	if total == 0 {
		return nil
	}
	block := c.tx.StmtContext(c.ctx, c.st.attemptBlock)
	single := c.tx.StmtContext(c.ctx, c.st.attempt)
	args := make([]any, 0, min(total, attemptRows)*attemptColumnCount)
	for _, l := range lists {
		for i := range l {
			args = appendAttempt(args, &l[i])
			if len(args) == attemptRows*attemptColumnCount {
				if err := c.exec(block, args...); err != nil {
					return err
				}
				args = args[:0]
			}
		}
	}
	for ; len(args) > 0; args = args[attemptColumnCount:] {
		if err := c.exec(single, args[:attemptColumnCount]...); err != nil {
			return err
		}
	}
	return nil
}

func appendAttempt(args []any, a *deliver.Attempt) []any {
	return append(args, a.EventID, a.Endpoint, a.Source, a.Seq, a.Type, int64(a.Attempt), a.Epoch, a.StartedUS, a.DurationUS,
		int64(a.Status), a.Outcome, a.Cause, cut(a.Error, deliver.MaxAttemptError), digest(&a.BodySHA256))
}

// digest returns the stored form: nothing for an unknown digest, which most failures before the send have.
func digest(sum *[32]byte) []byte {
	if *sum == [32]byte{} {
		return []byte{}
	}
	return sum[:]
}

// cut returns at most n bytes of s, whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
