package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"sync"
)

// change is one committed change of one row, as the client that made it knows it.
type change struct {
	order   bool // of the table orders, else of items
	region  int
	id      int64
	version int64
	deleted bool
}

// key is the row's primary key as receivers see it.
func (c change) key() string {
	if c.order {
		return strconv.Itoa(c.region) + "/" + strconv.FormatInt(c.id, 10)
	}
	return strconv.FormatInt(c.id, 10)
}

// book holds what was committed.
type book struct {
	mu      sync.Mutex
	changes []change
	txs     map[int64]bool // the ledger's rows
}

// commit writes a transaction down.
func (b *book) commit(tx int64, changes []change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.txs == nil {
		b.txs = map[int64]bool{}
	}
	b.txs[tx] = true
	b.changes = append(b.changes, changes...)
}

// len is how many changes were committed.
func (b *book) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.changes)
}

// wanted are the events that a subscription to these types must get.
func (b *book) wanted(kinds ...string) []event {
	b.mu.Lock()
	defer b.mu.Unlock()
	var events []event
	for _, kind := range kinds {
		for _, c := range b.changes {
			if matches(kind, c) {
				events = append(events, event{kind: kind, key: c.key(), version: c.version, deleted: c.deleted})
			}
		}
	}
	return events
}

// matches says what typesFile says, in Go.
func matches(kind string, c change) bool {
	switch kind {
	case kindItem:
		return !c.order
	case kindOrder:
		return c.order
	case kindEven:
		return !c.order && !c.deleted && c.version%2 == 0
	}
	return false
}

// rowKey names a row.
type rowKey struct {
	order bool
	key   string
}

// verify compares the book with the tables: the last version of each row, and the ledger.
func (b *book) verify(ctx context.Context, db *sql.DB) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := map[rowKey]change{}
	for _, c := range b.changes {
		k := rowKey{c.order, c.key()}
		before := event{version: last[k].version, deleted: last[k].deleted}
		if (event{version: c.version, deleted: c.deleted}).rank() > before.rank() {
			last[k] = c
		}
	}
	for _, table := range []struct {
		query string
		order bool
	}{
		{"SELECT CAST(id AS CHAR), version, chk = CRC32(CONCAT_WS('|', id, version, payload, amount, IFNULL(note, '-'))) FROM items", false},
		{"SELECT CONCAT(region, '/', id), version, chk = CRC32(CONCAT_WS('|', region, id, version, state)) FROM orders", true},
	} {
		if err := verifyTable(ctx, db, table.query, table.order, last); err != nil {
			return err
		}
	}
	for k, c := range last {
		if !c.deleted {
			return fmt.Errorf("the book has row %v at version %d, the table has none", k, c.version)
		}
	}
	return b.verifyLedger(ctx, db)
}

// verifyTable takes the rows of one table out of last.
func verifyTable(ctx context.Context, db *sql.DB, query string, order bool, last map[rowKey]change) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("reading the table: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var key string
		var version int64
		var sound bool
		if err := rows.Scan(&key, &version, &sound); err != nil {
			return err
		}
		k := rowKey{order, key}
		c, ok := last[k]
		if !ok || c.deleted || c.version != version || !sound {
			return fmt.Errorf("the table has row %v at version %d (checksum right: %v), the book %+v (known: %v)", k, version, sound, c, ok)
		}
		delete(last, k)
	}
	return rows.Err()
}

// verifyLedger: the transactions of the book are those of the ledger.
func (b *book) verifyLedger(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, "SELECT tx FROM ledger")
	if err != nil {
		return fmt.Errorf("reading the ledger: %w", err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var tx int64
		if err := rows.Scan(&tx); err != nil {
			return err
		}
		if n++; !b.txs[tx] {
			return fmt.Errorf("transaction %d was committed, but the book does not have it", tx)
		}
	}
	if n != len(b.txs) {
		return fmt.Errorf("the ledger has %d transactions, the book %d", n, len(b.txs))
	}
	return rows.Err()
}
