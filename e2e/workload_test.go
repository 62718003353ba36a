package e2e

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/rowhook/rowhook/internal/dbserver"
)

// Sizes of a workload.
const (
	hotRows       = 8         // that all writers update
	writerRows    = 1_000_000 // ids of one writer
	maxOwnItems   = 4000
	patience      = 2 * time.Minute // for a server that is down
	maxDebtOfTime = 250 * time.Millisecond
)

// workload writes to the tables of one database from several connections until it is stopped.
type workload struct {
	db      *sql.DB
	seed    uint64
	writers int
	rate    float64 // changes per second, of all writers together
	bulk    int     // rows that a large transaction changes at least

	book book
	stop chan struct{}
	done sync.WaitGroup
	mu   sync.Mutex
	err  error
}

// newWorkload makes the tables and the rows that all writers share; these are not in the book yet when the source is attached later.
func newWorkload(t *testing.T, srv *dbserver.Server, database string, seed uint64) *workload {
	t.Helper()
	cfg := srv.Config()
	cfg.DBName, cfg.MultiStatements, cfg.InterpolateParams, cfg.Logger = database, true, true, &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &workload{db: sql.OpenDB(connector), seed: seed, writers: 4, rate: 1500, bulk: 1000}
	t.Cleanup(func() { w.db.Close() })
	if _, err := w.db.ExecContext(t.Context(), schema); err != nil {
		t.Fatalf("making the workload's tables: %v", err)
	}
	return w
}

// start begins to write.
func (w *workload) start(t *testing.T) {
	t.Helper()
	w.stop = make(chan struct{})
	if w.book.len() == 0 {
		w.makeHotRows(t)
	}
	for n := 1; n <= w.writers; n++ {
		writer := newWriter(w, n)
		w.done.Go(func() { w.fail(writer.run()) })
	}
	t.Cleanup(func() { _ = w.finish() })
}

// finish stops writing and returns the first error of a writer. The second call only returns the error.
func (w *workload) finish() error {
	w.mu.Lock()
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	w.mu.Unlock()
	w.done.Wait()
	return w.err
}

func (w *workload) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

// stopped reports whether writers should end.
func (w *workload) stopped() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

func (w *workload) makeHotRows(t *testing.T) {
	t.Helper()
	p := newPlan(rand.New(rand.NewPCG(w.seed, 0)))
	p.add("INSERT INTO ledger VALUES (0)")
	for id := int64(1); id <= hotRows; id++ {
		p.insertItem(id, 1, "hot")
	}
	if _, err := w.db.ExecContext(t.Context(), "BEGIN; "+p.sql.String()+"COMMIT", p.args...); err != nil {
		t.Fatalf("making the shared rows: %v", err)
	}
	w.book.commit(0, p.changes)
}

// row is what a writer knows of one of its rows.
type row struct {
	version int64
	alive   bool
}

// writer is one connection's worth of work. Only its goroutine uses it.
type writer struct {
	w      *workload
	n      int
	random *rand.Rand
	conn   *sql.Conn
	txs    int64
	items  []*row // by id - base
	orders []*row
	next   time.Time
}

func newWriter(w *workload, n int) *writer {
	return &writer{w: w, n: n, random: rand.New(rand.NewPCG(w.seed, uint64(n))), next: time.Now()}
}

func (r *writer) base() int64 { return int64(r.n) * writerRows }

// run writes transactions at its share of the rate.
func (r *writer) run() error {
	defer r.discard()
	for !r.w.stopped() {
		changes, err := r.transact()
		if err != nil {
			return fmt.Errorf("writer %d: %w", r.n, err)
		}
		r.pace(changes)
	}
	return nil
}

// pace waits until the changes so far are not more than the rate allows.
func (r *writer) pace(changes int) {
	r.next = r.next.Add(time.Duration(float64(max(changes, 1)) * float64(r.w.writers) / r.w.rate * float64(time.Second)))
	wait := time.Until(r.next)
	if wait < -maxDebtOfTime {
		r.next = time.Now()
	}
	if wait <= 0 {
		return
	}
	select {
	case <-time.After(wait):
	case <-r.w.stop:
	}
}

// transact does one transaction of a random kind and returns how many changes it committed.
func (r *writer) transact() (int, error) {
	r.txs++
	p := newPlan(r.random)
	switch dice := r.random.IntN(1000); {
	case dice < 600:
		r.touch(p)
	case dice < 850:
		for range 2 + r.random.IntN(12) {
			r.touch(p)
		}
	case dice < 930:
		return r.touchHot()
	case dice < 965:
		return 0, r.rollBack(p)
	case dice < 995:
		r.touch(p)
		r.savepoint(p)
		r.touch(p)
	case dice < 997:
		r.grow(p)
	default:
		r.touchAll(p)
	}
	return r.commit(p)
}

// touch changes one random row, or makes one.
func (r *writer) touch(p *plan) {
	if r.random.IntN(3) == 0 {
		r.touchOrder(p)
		return
	}
	if len(r.items) == 0 || len(r.items) < maxOwnItems && r.random.IntN(3) == 0 {
		r.items = append(r.items, &row{})
		r.changeItem(p, len(r.items)-1)
		return
	}
	r.changeItem(p, r.random.IntN(len(r.items)))
}

// changeItem inserts, updates or deletes one of the writer's items.
func (r *writer) changeItem(p *plan, i int) {
	item, id := r.items[i], r.base()+int64(i)
	p.remember(item)
	switch {
	case !item.alive:
		item.alive = true
		item.version++
		p.insertItem(id, item.version, "")
	case r.random.IntN(8) == 0:
		item.alive = false
		p.add("DELETE FROM items WHERE id = ?", id)
		p.changes = append(p.changes, change{id: id, version: item.version, deleted: true})
	default:
		item.version++
		p.updateItem(id, item.version, "")
	}
}

// touchOrder is touch for the other table, whose key has two columns.
func (r *writer) touchOrder(p *plan) {
	if len(r.orders) < 10 || r.random.IntN(4) == 0 {
		r.orders = append(r.orders, &row{})
	}
	i := r.random.IntN(len(r.orders))
	order := r.orders[i]
	c := change{order: true, region: i%7 - 3, id: r.base() + int64(i)}
	state := []string{"new", "paid", "sent"}[r.random.IntN(3)]
	const sum = "CRC32(CONCAT_WS('|', region, id, version, state))"
	p.remember(order)
	switch {
	case !order.alive:
		order.alive = true
		order.version++
		p.add("INSERT INTO orders (region, id, version, state, chk) VALUES (?, ?, ?, ?, "+sum+")", c.region, c.id, order.version, state)
	case r.random.IntN(8) == 0:
		order.alive = false
		c.deleted = true
		p.add("DELETE FROM orders WHERE region = ? AND id = ?", c.region, c.id)
	default:
		order.version++
		p.add("UPDATE orders SET version = version + 1, state = ?, chk = "+sum+" WHERE region = ? AND id = ?", state, c.region, c.id)
	}
	c.version = order.version
	p.changes = append(p.changes, c)
}

// grow makes many rows in one transaction.
func (r *writer) grow(p *plan) {
	for range min(r.w.bulk, maxOwnItems-len(r.items)) {
		r.items = append(r.items, &row{})
		r.changeItem(p, len(r.items)-1)
	}
	r.touchOrder(p)
}

// touchAll updates all of the writer's items in one statement.
func (r *writer) touchAll(p *plan) {
	p.add("UPDATE items SET version = version + 1, payload = CONCAT('all of ', id), amount = -amount, chk = "+itemSum+
		" WHERE id BETWEEN ? AND ?", r.base(), r.base()+writerRows-1)
	for i, item := range r.items {
		if item.alive {
			p.remember(item)
			item.version++
			p.changes = append(p.changes, change{id: r.base() + int64(i), version: item.version})
		}
	}
	r.touchOrder(p)
}

// savepoint adds work that is undone within the transaction.
func (r *writer) savepoint(p *plan) {
	inner := newPlan(r.random)
	inner.payload = rolledBack
	r.touch(inner)
	inner.undo()
	p.add("SAVEPOINT here")
	p.sql.WriteString(inner.sql.String())
	p.args = append(p.args, inner.args...)
	p.add("ROLLBACK TO here")
}

// rollBack does work and undoes it.
func (r *writer) rollBack(p *plan) error {
	p.payload = rolledBack
	for range 1 + r.random.IntN(5) {
		r.touch(p)
	}
	p.undo()
	return r.withConn(func(ctx context.Context, conn *sql.Conn) error {
		_, err := conn.ExecContext(ctx, "BEGIN; "+p.sql.String()+"ROLLBACK", p.args...)
		return err
	}, func(error) error { return nil })
}

// commit runs the plan as one transaction and writes down what was committed; what was not is undone in the writer's memory.
func (r *writer) commit(p *plan) (int, error) {
	tx := r.base()*writerRows + r.txs
	if r.random.IntN(4) == 0 {
		p.add("INSERT INTO bystander (secret) VALUES (?)", rolledBack)
	}
	p.add("INSERT INTO ledger VALUES (?)", tx)
	committed := true
	err := r.withConn(func(ctx context.Context, conn *sql.Conn) error {
		_, err := conn.ExecContext(ctx, "BEGIN; "+p.sql.String()+"COMMIT", p.args...)
		return err
	}, func(cause error) (err error) {
		committed, err = r.settle(tx, cause)
		return err
	})
	if err != nil {
		return 0, err
	}
	if !committed {
		p.undo()
		return 0, nil
	}
	r.w.book.commit(tx, p.changes)
	return len(p.changes), nil
}

// touchHot updates a row that other writers update, too: its version is known from the lock only.
func (r *writer) touchHot() (int, error) {
	id, version := int64(1+r.random.IntN(hotRows)), int64(0)
	tx := r.base()*writerRows + r.txs
	committed := true
	p := newPlan(r.random)
	err := r.withConn(func(ctx context.Context, conn *sql.Conn) error {
		if _, err := conn.ExecContext(ctx, "BEGIN"); err != nil {
			return err
		}
		if err := conn.QueryRowContext(ctx, "SELECT version FROM items WHERE id = ? FOR UPDATE", id).Scan(&version); err != nil {
			return err
		}
		p.updateItem(id, version+1, "")
		p.add("INSERT INTO ledger VALUES (?)", tx)
		_, err := conn.ExecContext(ctx, p.sql.String()+"COMMIT", p.args...)
		return err
	}, func(cause error) (err error) {
		committed, err = r.settle(tx, cause)
		return err
	})
	if err != nil || !committed {
		return 0, err
	}
	r.w.book.commit(tx, p.changes)
	return 1, nil
}

// withConn runs do on the writer's connection. After an error the connection is closed, so that nothing of the transaction stays open,
// and failed settles what became of it.
func (r *writer) withConn(do func(context.Context, *sql.Conn) error, failed func(error) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if r.conn == nil {
		conn, err := r.w.db.Conn(ctx)
		if err != nil {
			return failed(err)
		}
		r.conn = conn
	}
	err := do(ctx, r.conn)
	if err == nil {
		return nil
	}
	r.discard()
	return failed(err)
}

// discard closes the connection for good.
func (r *writer) discard() {
	if r.conn == nil {
		return
	}
	_ = r.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = r.conn.Close()
	r.conn = nil
}

// settle asks the ledger whether a transaction that ended in an error was committed. A server that is down is waited for.
func (r *writer) settle(tx int64, cause error) (bool, error) {
	deadline := time.Now().Add(patience)
	for {
		var n int
		err := r.w.db.QueryRow("SELECT COUNT(*) FROM ledger WHERE tx = ?", tx).Scan(&n)
		if err == nil {
			return n == 1, expected(cause)
		}
		if time.Now().After(deadline) {
			return false, fmt.Errorf("settling what became of a transaction: %w (after %w)", err, cause)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// expected lets through what the server's faults and locks cause, and keeps mistakes of the test.
func expected(cause error) error {
	var answer *mysql.MySQLError
	if !errors.As(cause, &answer) {
		return nil // the connection
	}
	switch answer.Number {
	case 1213, 1205, 1053, 1317, 1927, 3169: // deadlock, lock wait, shutdown, interrupted, killed
		return nil
	}
	return cause
}
