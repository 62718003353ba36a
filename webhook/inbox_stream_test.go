package webhook_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rowhook/rowhook/webhook"
)

// posting is what happened to a row: an amount was added to its account, and its state became the seq.
type posting struct {
	key    string
	amount int
}

// account is what a receiver makes of the changes of one key.
type account struct {
	Sum   int
	State uint64
}

// Whatever is repeated, reordered and rolled back, the receiver ends with what it would have got from the stream itself.
func TestInboxMakesOfAnyDeliveriesWhatTheStreamSays(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db database) {
		in := db.inbox(t, webhook.InboxOptions{})
		db.exec(t, "CREATE TABLE accounts (k VARCHAR(100) PRIMARY KEY, total INT NOT NULL DEFAULT 0, state BIGINT NOT NULL DEFAULT 0)")
		run := 0
		rapid.Check(t, func(rt *rapid.T) {
			run++
			stream := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) posting {
				return posting{rapid.SampledFrom([]string{"a", "b", "A"}).Draw(rt, "key"), rapid.IntRange(1, 9).Draw(rt, "amount")}
			}), 1, 5).Draw(rt, "stream")
			var all []int
			for i := range stream {
				all = append(all, i)
			}
			// Anything may come first, and may fail; in the end each is delivered at least once.
			early := rapid.SliceOfN(rapid.SampledFrom(all), 0, 6).Draw(rt, "early")
			fails := rapid.SliceOfN(rapid.Bool(), len(early), len(early)).Draw(rt, "fails")
			for i, n := range early {
				if err := db.handle(t.Context(), in, run, uint64(n+1), stream[n], fails[i]); err != nil {
					rt.Fatal(err)
				}
			}
			for _, n := range rapid.Permutation(all).Draw(rt, "late") {
				if err := db.handle(t.Context(), in, run, uint64(n+1), stream[n], false); err != nil {
					rt.Fatal(err)
				}
			}
			want := map[string]account{}
			for i, c := range stream {
				want[c.key] = account{want[c.key].Sum + c.amount, uint64(i + 1)}
			}
			if diff := cmp.Diff(want, db.accounts(t, run)); diff != "" {
				rt.Fatal(diff)
			}
		})
	})
}

// handle is a receiver: the sum must change once for each event, the state must be the newest.
func (db database) handle(ctx context.Context, in *webhook.Inbox, run int, seq uint64, c posting, fail bool) error {
	key := fmt.Sprintf("%d/%x", run, c.key) // in hexadecimal, for the collation of the table of accounts
	err := db.transact(ctx, sql.LevelDefault, func(tx *sql.Tx) error {
		fresh, err := in.Accept(ctx, tx, fmt.Sprintf("evt_%d_%d", run, seq))
		if err != nil || !fresh {
			return err
		}
		newer, err := in.Newer(ctx, tx, "shop", fmt.Sprintf("%d/%s", run, c.key), seq)
		if err != nil {
			return err
		}
		state := uint64(0)
		if newer {
			state = seq
		}
		if err := db.add(ctx, tx, key, c.amount, state); err != nil {
			return err
		}
		if fail {
			return errUndone
		}
		return nil
	})
	if errors.Is(err, errUndone) {
		return nil
	}
	return err
}

// add raises the sum, and sets the state if it is not zero.
func (db database) add(ctx context.Context, tx *sql.Tx, key string, amount int, state uint64) error {
	n := 0
	if err := tx.QueryRowContext(ctx, db.place("SELECT count(*) FROM accounts WHERE k = ?"), key).Scan(&n); err != nil {
		return err
	}
	if n == 0 {
		if _, err := tx.ExecContext(ctx, db.place("INSERT INTO accounts (k) VALUES (?)"), key); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, db.place("UPDATE accounts SET total = total + ? WHERE k = ?"), amount, key); err != nil {
		return err
	}
	if state == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, db.place("UPDATE accounts SET state = ? WHERE k = ?"), int64(state), key)
	return err
}

// accounts returns those of one run, by key.
func (db database) accounts(t *testing.T, run int) map[string]account {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), db.place("SELECT k, total, state FROM accounts WHERE k LIKE ?"), fmt.Sprintf("%d/%%", run))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string]account{}
	for rows.Next() {
		var key, name string
		var a account
		if err := rows.Scan(&key, &a.Sum, &a.State); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscanf(key[len(fmt.Sprint(run))+1:], "%x", &name); err != nil {
			t.Fatal(err)
		}
		out[name] = a
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}
