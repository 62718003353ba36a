package app

import (
	"context"
	"fmt"

	"github.com/rowhook/rowhook/internal/deliver"
)

// recordCrash writes down the sends that an earlier process journaled and left without a result: they may have arrived, and the
// same events are sent again with the same ids.
func (a *App) recordCrash(ctx context.Context) error {
	count := 0
	rec, err := a.journal.Recover(func(sends []deliver.Send) error {
		missing, err := a.store.MissingAttempts(ctx, sends)
		if err != nil {
			return err
		}
		count += len(missing)
		for _, b := range a.crashBatches(missing) {
			if err := a.store.Commit(ctx, b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("record the sends before the crash: %w", err)
	}
	for _, d := range rec.Damaged {
		a.log.Error("send journal is damaged, some sends before the crash are unknown", "where", d)
	}
	if count > 0 {
		a.log.Warn("sends before the crash have no result and are repeated with their ids", "sends", count)
	}
	return a.journal.Forget()
}

// crashBatches makes attempts of sends, a batch for each source.
func (a *App) crashBatches(sends []deliver.Send) []deliver.Batch {
	slots := map[string]map[int]*deliver.SlotWrite{}
	for _, s := range sends {
		if slots[s.Source] == nil {
			slots[s.Source] = map[int]*deliver.SlotWrite{}
		}
		slot := deliver.SlotOf(s.Endpoint)
		w := slots[s.Source][slot]
		if w == nil {
			w = &deliver.SlotWrite{Slot: slot, Epoch: a.claims[slot].Epoch}
			slots[s.Source][slot] = w
		}
		w.Attempts = append(w.Attempts, deliver.Attempt{
			Source: s.Source, Endpoint: s.Endpoint, Seq: s.Seq, Type: s.Type, EventID: s.EventID,
			Attempt: s.Attempt, Epoch: s.Epoch, StartedUS: s.TimeUS, Outcome: "crash_window",
		})
	}
	var out []deliver.Batch
	for source, ws := range slots {
		b := deliver.Batch{Source: source}
		for _, w := range ws {
			b.Slots = append(b.Slots, *w)
		}
		out = append(out, b)
	}
	return out
}
