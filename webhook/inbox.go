package webhook

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DefaultInboxTable is the table of ids unless InboxOptions say otherwise.
const DefaultInboxTable = "rowhook_inbox"

// DefaultHorizon is how long an Inbox remembers ids unless InboxOptions say
// otherwise: eight days. With Rowhook's defaults an event can come again for
// 171h35m5s after its commit: it can be replayed as long as the log has it
// (96h), and the replay is retried for up to 75h35m5s. The rest is for clocks
// and for pauses that an endpoint asked for with Retry-After.
const DefaultHorizon = 8 * 24 * time.Hour

// pruneBatch is how many ids are deleted by one statement: some milliseconds,
// so that receivers never wait for long.
const pruneBatch = 1000

// InboxOptions say where an Inbox keeps what it knows.
type InboxOptions struct {
	// Dialect of the database; there is no default.
	Dialect Dialect
	// Table is the name of the table of ids; the table of seqs has the same
	// name with "_seqs" behind it. Empty means DefaultInboxTable. It is 1 to 48
	// letters, digits and underscores that do not begin with a digit, and may
	// stand behind the name of a schema and a dot. Names are quoted, so
	// PostgreSQL tells upper from lower case in them.
	Table string
	// Horizon is how long ids are remembered. Zero means DefaultHorizon; a
	// negative one is refused. It has to be longer than the sender may repeat an
	// event; see the comment of Inbox.
	Horizon time.Duration
	// Now is the clock by which ids grow old; nil means time.Now. It must be safe
	// for concurrent use.
	Now func() time.Time
}

// Inbox drops what was handled already, inside the SQL transaction that does
// the work, so that what it remembers is committed, or rolled back, together
// with the work. It has two ways, which also work together:
//
//   - [Inbox.Accept] is true once for each event id: for effects that must
//     happen once, such as money moved, mail sent, a counter raised.
//   - [Inbox.Newer] is true if seq is larger than any before it for that key:
//     for keeping a copy of a row, where only the newest state counts. It drops
//     the doubled, and also the late: an older state that comes after a newer
//     one, as it does in a replay. It is wrong for effects that must happen
//     once, because it drops events that never came before.
//
// One Inbox is for one piece of work. An event that goes to two endpoints has
// the same id at both, so two handlers on one database need a table each, or
// the second is told that the first has done its work. Senders that do not
// trust each other need a table each, too: an id is what the sender says it is.
//
// Ids are remembered for the horizon, counted from when they were accepted, and
// are then deleted by Prune. An event that comes again after that is taken for
// new. So the horizon has to be longer than the time in which the sender may
// repeat an event; see DefaultHorizon for Rowhook's. One thing has no such
// limit: an event that was parked after its last failure, though its work was
// done and only the answer was lost each time, comes again whenever an operator
// releases it. Seqs are kept for ever, so Newer holds beyond any horizon.
//
// An Inbox keeps no state but its options and is safe for concurrent use, by
// any number of processes.
type Inbox struct {
	dialect Dialect
	table   string
	horizon time.Duration
	now     func() time.Time
	sql     inboxSQL
}

// NewInbox returns an Inbox. It does not touch a database: have Schema among
// your migrations, or call Create.
func NewInbox(o InboxOptions) (*Inbox, error) {
	if o.Table == "" {
		o.Table = DefaultInboxTable
	}
	if o.Horizon == 0 {
		o.Horizon = DefaultHorizon
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Horizon < 0 {
		return nil, fmt.Errorf("new inbox: the horizon is %v: it must be longer than the sender repeats events", o.Horizon)
	}
	statements, err := inboxStatements(o.Dialect, o.Table)
	if err != nil {
		return nil, fmt.Errorf("new inbox: %w", err)
	}
	return &Inbox{dialect: o.Dialect, table: o.Table, horizon: o.Horizon, now: o.Now, sql: statements}, nil
}

// Schema returns the statements that make the two tables, for your migrations:
// each ends with a semicolon and a line end, and does nothing if what it makes
// is there. The table of ids takes about 150 bytes for each event within the
// horizon, its index included. The table of seqs takes about 120 bytes and the
// length of source and key for each key that Newer was ever asked about; it
// stays empty if Newer is not used.
func (in *Inbox) Schema() string {
	return strings.Join(in.sql.schema, ";\n") + ";\n"
}

// Create makes the tables unless they are there. It may run in several
// processes at once. It does not change tables that are there.
func (in *Inbox) Create(ctx context.Context, db *sql.DB) error {
	if db == nil {
		return in.failed("create the tables", errors.New("there is no database"))
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return in.failed("create the tables", err)
	}
	for _, statement := range slices.Concat(in.sql.createFirst, in.sql.schema) {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return in.failed("create the tables", errors.Join(err, tx.Rollback()))
		}
	}
	if err := tx.Commit(); err != nil {
		return in.failed("create the tables", err)
	}
	return nil
}

// Accept reports whether the event with this id is new, and remembers it when
// tx commits. False means that a transaction that handled it has committed:
// there is nothing to do but to answer 2xx. Of two transactions with the same id
// the second waits for the end of the first, so it needs no isolation level
// above the database's default.
//
// After an error tx must be rolled back and the delivery not be answered with
// 2xx; it comes again. Among the errors are those with which a database asks for
// the transaction to be run again: deadlocks and lost waits for a lock (MySQL),
// serialization failures at REPEATABLE READ and SERIALIZABLE (PostgreSQL), busy
// (SQLite). The driver's error is wrapped. A false one does no harm to tx. An id
// that [CheckID] refuses is an error that wraps ErrInvalidID.
func (in *Inbox) Accept(ctx context.Context, tx *sql.Tx, id string) (bool, error) {
	if err := CheckID(id); err != nil {
		return false, in.failed("accept an event", err)
	}
	n, err := in.exec(ctx, tx, in.sql.accept, id, in.now().UnixMilli())
	if err == nil && n != 1 && n != in.sql.acceptRepeat {
		err = fmt.Errorf("the driver says that it changed %d rows: is the dialect right?", n)
	}
	if err != nil {
		return false, in.failed("accept "+id, err)
	}
	return n == 1, nil
}

// Newer reports whether seq is larger than every seq of this source and key
// before it, and remembers it when tx commits. Of two transactions with the same
// key the second waits for the end of the first. What is said of errors at
// Accept holds here as well.
//
// The key is whatever the state is kept by, such as "orders/42". It must name
// the row, and also the type if several types tell about the row and each is
// kept apart: events that different types make of one change have the same seq.
// Keep asking for rows that were deleted, too: what is remembered of them keeps
// a late event from bringing them back. Source and key are compared byte by
// byte; they are UTF-8 without NUL, 1 to 256 and 1 to 512 bytes long. A seq is
// from 1 to 1<<63-1.
//
// A sender that had to begin a new log begins its seqs anew, and will tell you.
// Then delete that source from the table of seqs.
func (in *Inbox) Newer(ctx context.Context, tx *sql.Tx, source, key string, seq uint64) (bool, error) {
	if err := checkPlace(source, key, seq); err != nil {
		return false, in.failed("compare a seq", err)
	}
	newer, err := in.raise(ctx, tx, source, key, int64(seq))
	if err != nil {
		return false, in.failed(fmt.Sprintf("compare seq %d of %q", seq, source), err)
	}
	return newer, nil
}

func (in *Inbox) raise(ctx context.Context, tx *sql.Tx, source, key string, seq int64) (bool, error) {
	at := in.now().UnixMilli()
	if in.dialect != MySQL {
		n, err := in.exec(ctx, tx, in.sql.raise, source, key, seq, at)
		return n == 1, err
	}
	n, err := in.exec(ctx, tx, in.sql.raise, source, key, at, seq, at, seq, seq)
	if err != nil || n != 1 {
		return n == 2, err
	}
	// One row: it was inserted, with a seq of 0; or nothing was changed, and the driver counts rows that were found
	// (clientFoundRows). The second statement tells the two apart.
	n, err = in.exec(ctx, tx, in.sql.raiseFirst, seq, source, key)
	return n == 1, err
}

// Prune deletes the ids that were accepted longer ago than the horizon, in
// batches of 1000 with a transaction each, and returns how many those were,
// after an error too. Call it every few minutes or hours, from one process or
// from several; receivers go on meanwhile. After an error it goes on at the next
// call. A clock that is ahead shortens the horizon by as much.
func (in *Inbox) Prune(ctx context.Context, db *sql.DB) (int64, error) {
	if db == nil {
		return 0, in.failed("prune", errors.New("there is no database"))
	}
	before := in.now().Add(-in.horizon).UnixMilli()
	total := int64(0)
	for {
		res, err := db.ExecContext(ctx, in.sql.prune, before, pruneBatch)
		if err != nil {
			return total, in.failed("prune", err)
		}
		n, err := res.RowsAffected()
		if err != nil {
			return total, in.failed("prune", err)
		}
		total += n
		if n < pruneBatch {
			return total, nil
		}
	}
}

// exec runs a statement of one row and returns how many rows it changed.
func (in *Inbox) exec(ctx context.Context, tx *sql.Tx, statement string, args ...any) (int64, error) {
	if tx == nil {
		return 0, errors.New("there is no transaction")
	}
	res, err := tx.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// failed says what was being done, and what to do if the tables are not there.
func (in *Inbox) failed(doing string, err error) error {
	if tableMissing(err) {
		return fmt.Errorf("inbox %s: %s: %w (run Inbox.Schema among your migrations, or call Inbox.Create)", in.table, doing, err)
	}
	return fmt.Errorf("inbox %s: %s: %w", in.table, doing, err)
}

// tableMissing reports whether a database says that a table does not exist. It
// decides only whether a hint is given: drivers have no error in common.
func tableMissing(err error) bool {
	if state, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok {
		return state.SQLState() == "42P01"
	}
	text := err.Error()
	return strings.Contains(text, "Error 1146 ") || strings.Contains(text, "no such table")
}
