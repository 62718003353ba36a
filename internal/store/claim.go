package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/rowhook/rowhook/internal/deliver"
)

// Claim makes owner the owner of those of the slots that nobody holds, whose lease has run out, or that owner holds
// already, and returns their claims, each with a new epoch. From then on writes under earlier epochs are refused. A slot
// that somebody else holds is left out.
func (s *Store) Claim(ctx context.Context, owner string, slots []int, ttl time.Duration) ([]deliver.Claim, error) {
	if owner == "" {
		return nil, fmt.Errorf("claim slots: the owner has no name")
	}
	// Taken before the write, so that the owner's own idea of the lease ends first.
	now := time.Now()
	until := now.Add(ttl)
	var claims []deliver.Claim
	err := s.update(ctx, "claim slots", func(tx *sql.Tx) error {
		claims = nil
		for _, slot := range slots {
			var seen uint64
			if err := tx.StmtContext(ctx, s.stmt.slotEpoch).QueryRowContext(ctx, slot).Scan(&seen); err != nil {
				return fmt.Errorf("slot %d: %w", slot, err)
			}
			won, err := one(tx.StmtContext(ctx, s.stmt.claim).
				ExecContext(ctx, seen+1, owner, until.UnixMilli(), slot, seen, owner, now.UnixMilli()))
			if err != nil {
				return fmt.Errorf("slot %d: %w", slot, err)
			}
			if won {
				claims = append(claims, deliver.Claim{Slot: slot, Owner: owner, Epoch: seen + 1, Until: until})
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return claims, nil
}

// Renew makes the leases of the claims end ttl from now and returns the slots that are no longer theirs. The caller takes the
// time before the call, plus ttl, as its new deadline.
func (s *Store) Renew(ctx context.Context, claims []deliver.Claim, ttl time.Duration) (lost []int, err error) {
	until := time.Now().Add(ttl)
	err = s.update(ctx, "renew claims", func(tx *sql.Tx) error {
		lost = nil
		for _, c := range claims {
			held, err := one(tx.StmtContext(ctx, s.stmt.renew).ExecContext(ctx, until.UnixMilli(), c.Slot, c.Epoch, c.Owner))
			if err != nil {
				return fmt.Errorf("slot %d: %w", c.Slot, err)
			}
			if !held {
				lost = append(lost, c.Slot)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return lost, nil
}

// Release gives the slots back at once; claims that are no longer held are passed over. Later writes under a released claim
// are refused.
func (s *Store) Release(ctx context.Context, claims []deliver.Claim) error {
	return s.update(ctx, "release claims", func(tx *sql.Tx) error {
		for _, c := range claims {
			if _, err := tx.StmtContext(ctx, s.stmt.release).ExecContext(ctx, c.Slot, c.Epoch, c.Owner); err != nil {
				return fmt.Errorf("slot %d: %w", c.Slot, err)
			}
		}
		return nil
	})
}

// endLeases ends the leases of earlier processes, which are dead: this one holds the folder's lock.
func (s *Store) endLeases(ctx context.Context) error {
	return s.update(ctx, "end earlier leases", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE slots SET epoch = epoch + 1, owner = '', until_ms = 0 WHERE owner <> ''`)
		return err
	})
}

// one says whether a statement changed exactly one row.
func one(r sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n == 1, err
}
