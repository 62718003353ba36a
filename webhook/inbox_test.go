package webhook_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rowhook/rowhook/webhook"
)

var errUndone = errors.New("undone on purpose")

// Of many receivers with the same ids, exactly one commits the work of each, whatever is rolled back and at every isolation level.
func TestInboxAcceptsOnceUnderConcurrency(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db database) {
		in := db.inbox(t, webhook.InboxOptions{})
		db.exec(t, "CREATE TABLE effects (id VARCHAR(100), lvl INT)")
		const ids = 8
		for _, level := range db.levels() {
			together(t, 32, func(ctx context.Context, receiver int) error {
				rnd := rand.New(rand.NewPCG(uint64(receiver), uint64(level)))
				for _, n := range rnd.Perm(ids) {
					id := fmt.Sprintf("evt_%d_%d", level, n)
					undo := rnd.IntN(4) == 0
					for {
						err := db.transact(ctx, level, func(tx *sql.Tx) error {
							fresh, err := in.Accept(ctx, tx, id)
							if err != nil || !fresh {
								return err
							}
							if _, err := tx.ExecContext(ctx, db.place("INSERT INTO effects VALUES (?, ?)"), id, int(level)); err != nil {
								return err
							}
							if undo {
								undo = false
								return errUndone
							}
							return nil
						})
						if err == nil {
							break
						}
						if !errors.Is(err, errUndone) {
							return err
						}
					}
				}
				return nil
			})
			if all, distinct := db.count(t, db.place("SELECT count(*) FROM effects WHERE lvl = ?"), int(level)),
				db.count(t, db.place("SELECT count(DISTINCT id) FROM effects WHERE lvl = ?"), int(level)); all != ids || distinct != ids {
				t.Errorf("%v: %d effects of %d ids, want %d", level, all, distinct, ids)
			}
		}
	})
}

// Whatever the order in which seqs come and commit, the table holds the state of the last one, and no older one is ever put over it.
func TestInboxNewerUnderConcurrency(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db database) {
		in := db.inbox(t, webhook.InboxOptions{})
		db.exec(t, "CREATE TABLE copies (k VARCHAR(100) PRIMARY KEY, state BIGINT NOT NULL)")
		const keys, seqs = 3, 6
		for _, level := range db.levels() {
			source := fmt.Sprintf("shop %d", level)
			together(t, 32, func(ctx context.Context, receiver int) error {
				rnd := rand.New(rand.NewPCG(uint64(receiver), uint64(level)))
				for _, n := range rnd.Perm(keys * seqs) {
					key, seq := fmt.Sprintf("%d/%d", level, n%keys), uint64(n/keys+1)
					if err := db.transact(ctx, level, func(tx *sql.Tx) error { return db.keep(ctx, in, tx, source, key, seq) }); err != nil {
						return err
					}
				}
				return nil
			})
			if n := db.count(t, "SELECT count(*) FROM copies WHERE state = "+fmt.Sprint(seqs)); n != keys {
				t.Errorf("%v: %d keys have the last state, want %d", level, n, keys)
			}
			db.exec(t, "DELETE FROM copies")
		}
	})
}

// keep puts a state into a copy if it is newer, and fails if it finds a newer one there.
func (db database) keep(ctx context.Context, in *webhook.Inbox, tx *sql.Tx, source, key string, seq uint64) error {
	newer, err := in.Newer(ctx, tx, source, key, seq)
	if err != nil || !newer {
		return err
	}
	res, err := tx.ExecContext(ctx, db.place("UPDATE copies SET state = ? WHERE k = ? AND state < ?"), int64(seq), key, int64(seq))
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	// The key is new, or else this fails: a newer state is there.
	_, err = tx.ExecContext(ctx, db.place("INSERT INTO copies (k, state) VALUES (?, ?)"), key, int64(seq))
	return err
}

// together runs receivers at once and reports their errors.
func together(t *testing.T, receivers int, receive func(ctx context.Context, receiver int) error) {
	t.Helper()
	var all sync.WaitGroup
	for i := range receivers {
		all.Go(func() {
			if err := receive(t.Context(), i); err != nil {
				t.Errorf("receiver %d: %v", i, err)
			}
		})
	}
	all.Wait()
}

func TestInboxAcceptGoesWithTheTransaction(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db database) {
		in := db.inbox(t, webhook.InboxOptions{})
		for i, want := range []bool{true, true, true, false, false} {
			tx := db.begin(t, sql.LevelDefault)
			if fresh, err := in.Accept(t.Context(), tx, "evt_1"); err != nil || fresh != want {
				t.Fatalf("delivery %d: fresh = %v, %v; want %v", i, fresh, err, want)
			}
			// In the transaction that accepted it, it is known as well.
			if fresh, err := in.Accept(t.Context(), tx, "evt_1"); err != nil || fresh {
				t.Fatalf("delivery %d, again: fresh = %v, %v; want false", i, fresh, err)
			}
			end := tx.Rollback
			if i >= 2 {
				end = tx.Commit
			}
			if err := end(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A known id leaves the transaction usable: PostgreSQL refuses everything after an error.
func TestInboxRepeatDoesNotPoisonTheTransaction(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db database) {
		in := db.inbox(t, webhook.InboxOptions{})
		db.exec(t, "CREATE TABLE work (n INT)")
		for range 2 {
			tx := db.begin(t, sql.LevelDefault)
			for _, id := range []string{"evt_1", "evt_2", "evt_1"} {
				if _, err := in.Accept(t.Context(), tx, id); err != nil {
					t.Fatal(err)
				}
			}
			for _, seq := range []uint64{7, 7, 3} {
				if _, err := in.Newer(t.Context(), tx, "shop", "orders/1", seq); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := tx.ExecContext(t.Context(), "INSERT INTO work VALUES (1)"); err != nil {
				t.Fatal(err)
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		if n := db.count(t, "SELECT count(*) FROM work"); n != 2 {
			t.Errorf("%d rows of work, want 2", n)
		}
	})
}

// Ids and keys are told apart by every byte, whatever the collation of the database.
func TestInboxComparesBytes(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db database) {
		in := db.inbox(t, webhook.InboxOptions{})
		tx := db.begin(t, sql.LevelDefault)
		long := strings.Repeat("x", 255)
		for _, id := range []string{"evt_a", "evt_A", long + "y", long + "z"} {
			if fresh, err := in.Accept(t.Context(), tx, id); err != nil || !fresh {
				t.Errorf("id %q: fresh = %v, %v; want true", id, fresh, err)
			}
		}
		longKey := strings.Repeat("ß", 255)
		for _, source := range []string{"shop", "Shop", "shop ", strings.Repeat("s", 256)} {
			for _, key := range []string{"a", "A", "ä", "a ", " a", "a%", `a\`, "a'", "ß", "ss", "日本", "🙂", longKey + "a", longKey + "b"} {
				if newer, err := in.Newer(t.Context(), tx, source, key, 5); err != nil || !newer {
					t.Errorf("%q %q: newer = %v, %v; want true", source, key, newer, err)
				}
				if newer, err := in.Newer(t.Context(), tx, source, key, 5); err != nil || newer {
					t.Errorf("%q %q again: newer = %v, %v; want false", source, key, newer, err)
				}
			}
		}
	})
}

func TestInboxNewer(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db database) {
		in := db.inbox(t, webhook.InboxOptions{})
		for _, step := range []struct {
			seq    uint64
			commit bool
			want   bool
		}{
			{5, false, true}, {4, true, true}, {5, true, true}, {5, true, false}, {4, true, false}, {9, false, true},
			{6, true, true}, {1<<63 - 1, true, true}, {1<<63 - 2, true, false}, {1<<63 - 1, true, false},
		} {
			tx := db.begin(t, sql.LevelDefault)
			if newer, err := in.Newer(t.Context(), tx, "shop", "orders/1", step.seq); err != nil || newer != step.want {
				t.Errorf("seq %d: newer = %v, %v; want %v", step.seq, newer, err, step.want)
			}
			end := tx.Rollback
			if step.commit {
				end = tx.Commit
			}
			if err := end(); err != nil {
				t.Fatal(err)
			}
		}
		if n := db.count(t, "SELECT count(*) FROM rowhook_inbox_seqs WHERE seq = 9223372036854775807"); n != 1 {
			t.Errorf("the last seq is stored %d times, want once", n)
		}
	})
}

// Prune deletes in batches what is older than the horizon, and nothing else; what was deleted counts as new again.
func TestInboxPrune(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db database) {
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		in := db.inbox(t, webhook.InboxOptions{Horizon: time.Hour, Now: func() time.Time { return now }})
		accept := func(from, to int) {
			t.Helper()
			tx := db.begin(t, sql.LevelDefault)
			for i := from; i < to; i++ {
				if fresh, err := in.Accept(t.Context(), tx, fmt.Sprintf("evt_%d", i)); err != nil || !fresh {
					t.Fatalf("id %d: fresh = %v, %v; want true", i, fresh, err)
				}
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		accept(0, 2500)
		now = now.Add(time.Hour)
		accept(2500, 2600)
		for _, want := range []int64{0, 2500, 0} {
			if n, err := in.Prune(t.Context(), db.DB); err != nil || n != want {
				t.Errorf("pruned %d, %v; want %d", n, err, want)
			}
			now = now.Add(time.Millisecond) // exactly the horizon is not longer than the horizon
		}
		if n := db.count(t, "SELECT count(*) FROM rowhook_inbox"); n != 100 {
			t.Errorf("%d ids are left, want 100", n)
		}
		accept(0, 1)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		now = now.Add(3 * time.Hour)
		if n, err := in.Prune(ctx, db.DB); n != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("pruned %d, %v; want 0, canceled", n, err)
		}
	})
}

// Several prune at once while others receive.
func TestInboxPruneBesideReceivers(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db database) {
		in := db.inbox(t, webhook.InboxOptions{})
		db.exec(t, db.place("INSERT INTO rowhook_inbox (id, received_at) VALUES (?, ?)"), "evt_old", 1)
		together(t, 12, func(ctx context.Context, receiver int) error {
			for i := range 20 {
				err := db.transact(ctx, sql.LevelDefault, func(tx *sql.Tx) error {
					_, err := in.Accept(ctx, tx, fmt.Sprintf("evt_%d_%d", receiver, i))
					return err
				})
				if err != nil {
					return err
				}
				if receiver < 3 {
					if _, err := in.Prune(ctx, db.DB); err != nil && !askedAgain(err) {
						return err
					}
				}
			}
			return nil
		})
		if _, err := in.Prune(t.Context(), db.DB); err != nil {
			t.Fatal(err)
		}
		if n := db.count(t, "SELECT count(*) FROM rowhook_inbox"); n != 240 {
			t.Errorf("%d ids are left, want 240", n)
		}
	})
}

// Create may run in several processes at once and again; Schema makes the same tables.
func TestInboxCreate(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db database) {
		in, err := webhook.NewInbox(webhook.InboxOptions{Dialect: db.dialect, Table: "Order_Inbox"})
		if err != nil {
			t.Fatal(err)
		}
		together(t, 8, func(ctx context.Context, _ int) error { return in.Create(ctx, db.DB) })
		for statement := range strings.SplitSeq(in.Schema(), ";\n") {
			if statement != "" {
				db.exec(t, statement)
			}
		}
		tx := db.begin(t, sql.LevelDefault)
		if fresh, err := in.Accept(t.Context(), tx, "evt_1"); err != nil || !fresh {
			t.Errorf("fresh = %v, %v; want true", fresh, err)
		}
		if newer, err := in.Newer(t.Context(), tx, "shop", "orders/1", 1); err != nil || !newer {
			t.Errorf("newer = %v, %v; want true", newer, err)
		}
	})
}

// Two inboxes on one database are two pieces of work; a table may stand in a schema.
func TestInboxTables(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db database) {
		schema := "main"
		switch db.dialect {
		case webhook.MySQL:
			schema = scalar(t, db, "SELECT database()")
			schema = schema[:min(len(schema), 64)]
		case webhook.PostgreSQL:
			schema = scalar(t, db, "SELECT current_schema()")
		}
		tables := []string{"", "billing", strings.Repeat("t", 48)}
		if len(schema) <= 48 {
			tables = append(tables, schema+".search")
		}
		tx := []*webhook.Inbox{}
		for _, table := range tables {
			tx = append(tx, db.inbox(t, webhook.InboxOptions{Table: table}))
		}
		for i, in := range tx {
			tx := db.begin(t, sql.LevelDefault)
			if fresh, err := in.Accept(t.Context(), tx, "evt_1"); err != nil || !fresh {
				t.Errorf("table %q: fresh = %v, %v; want true", tables[i], fresh, err)
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func scalar(t *testing.T, db database, query string) string {
	t.Helper()
	s := ""
	if err := db.QueryRowContext(t.Context(), query).Scan(&s); err != nil {
		t.Fatal(err)
	}
	return s
}
