package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/capture"
	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
	ids "github.com/rowhook/rowhook/internal/event"
)

// blockLog is a log that ends a capture after some appends, as kill -9 would.
type blockLog struct {
	mu      sync.Mutex
	last    change.Header
	blocks  [][]byte
	partial int // blocks that ended inside a transaction
	left    int // appends until crash is called
	crash   func()
	until   func(*blockLog) bool
}

func (l *blockLog) Append(ctx context.Context, b []byte, h change.Header) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blocks, l.last = append(l.blocks, slices.Clone(b)), h
	if h.Position.Partial != nil {
		l.partial++
	}
	if l.left--; l.left == 0 || l.until(l) {
		l.crash()
	}
	return nil
}

func (l *blockLog) Last(context.Context) (change.Header, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, len(l.blocks) > 0, nil
}

// ids returns the ids of all changes, each with its place and what it is.
func (l *blockLog) ids(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, b := range l.blocks {
		blk, err := change.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		err = blk.Each(func(c *change.Change) error {
			id := ids.Identity{Source: "test", Generation: 1, GTID: c.Tx.GTID, File: c.Tx.File, FileCreated: c.Tx.FileCreated, Offset: c.Tx.Offset,
				CommitTime: c.Tx.CommitTime, Schema: c.Table.Schema, Table: c.Table.Name, TableOrdinal: c.TableOrdinal, Type: "x"}
			if c.Tx.GTID != "" || c.Tx.FileCreated == 0 {
				t.Errorf("%s has the GTID %q, in a file created at %d", changeText(c), c.Tx.GTID, c.Tx.FileCreated)
			}
			out = append(out, fmt.Sprintf("%s %s:%d %s", id.ID(), c.Tx.File, c.Tx.Offset, changeText(c)))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

type captureSource struct{ *Replica }

func (s captureSource) Follow(ctx context.Context, from change.Position, w *capture.Writer) error {
	return s.Replica.Follow(ctx, from, w)
}

// captureAll captures from a position on to the end that the server has now, and crashes after as many appends as crash says.
func captureAll(t *testing.T, r *Replica, from, to change.Position, crash func() int) *blockLog {
	t.Helper()
	b, err := change.NewBuilder("test", 0).Finish(1, from)
	if err != nil {
		t.Fatal(err)
	}
	l := &blockLog{blocks: [][]byte{b}, last: change.Header{Source: "test", FirstSeq: 1, Position: from}}
	whole := func(l *blockLog) bool {
		p := l.last.Position
		return p.Partial == nil && (p.File > to.File || p.File == to.File && p.Offset >= to.Offset)
	}
	l.until = whole
	for !whole(l) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		l.left, l.crash = crash(), cancel
		err := capture.New(capture.Options{Source: "test", Attach: AtNow, FirstSeq: 1, Log: slog.New(slog.DiscardHandler)}, captureSource{r}, l).Run(ctx)
		if late := ctx.Err() == context.DeadlineExceeded; err != nil || late {
			cancel()
			t.Fatalf("the capture ended at %+v with %v; too late: %v", l.last.Position, err, late)
		}
		cancel()
	}
	return l
}

// Whatever is captured twice has the same ids: after crashes at any block, also inside transactions, and from any older position.
func TestRecaptureByFileGivesTheSameIDs(t *testing.T) {
	t.Parallel()
	srv := withoutGTIDs(t, "--max-binlog-size=65536")
	name, db := dbservertest.Database(t, srv)
	exec(t, db, "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(2000)); CREATE TABLE u LIKE t")
	r := replica(t, config(srv, name+".*"))
	from := attach(t, r, AtNow)
	random := rand.New(rand.NewPCG(1, 2))
	for range 4 {
		for range 60 {
			exec(t, db, "INSERT INTO t (v) VALUES (REPEAT('x', 700))", "INSERT INTO u (v) VALUES ('y'), ('z')")
		}
		large(t, db, 1200, random.IntN(2) == 0)
	}
	// The last transaction moves the end behind everything; the files end at it.
	exec(t, db, "INSERT INTO t (v) VALUES ('end')")
	to := attach(t, r, AtNow)
	if files := fileNumber(t, to.File) - fileNumber(t, from.File); files < 5 {
		t.Fatalf("only %d files", files)
	}

	whole := captureAll(t, r, from, to, func() int { return -1 })
	want := whole.ids(t)
	if len(want) != 4*(60*3+2*1200)+1 {
		t.Fatalf("%d changes", len(want))
	}
	if doubled := slices.Compact(slices.Sorted(slices.Values(want))); len(doubled) != len(want) {
		t.Errorf("%d of %d ids are different", len(doubled), len(want))
	}
	crashed := captureAll(t, r, from, to, func() int { return 1 + random.IntN(3) })
	if diff := cmp.Diff(want, crashed.ids(t)); diff != "" {
		t.Errorf("after crashes (-want +got):\n%.2000s", diff)
	}
	if crashed.partial == 0 {
		t.Error("no crash was inside a transaction")
	}

	// From an older position, in the middle of what was captured.
	for _, b := range []int{len(whole.blocks) / 3, len(whole.blocks) / 2} {
		blk, err := change.Parse(whole.blocks[b])
		if err != nil {
			t.Fatal(err)
		}
		older := blk.Position
		older.Partial = nil // as if none of the transaction were there
		got := captureAll(t, r, older, to, func() int { return 1 + random.IntN(5) }).ids(t)
		if len(got) == 0 || len(got) > len(want) {
			t.Fatalf("%d changes from block %d on, of %d", len(got), b, len(want))
		}
		if diff := cmp.Diff(want[len(want)-len(got):], got); diff != "" {
			t.Errorf("from block %d on (-want +got):\n%.2000s", b, diff)
		}
	}
}

// large commits one transaction of two tables that fills several blocks.
func large(t *testing.T, db *sql.DB, rows int, compressed bool) {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var tSQL, uSQL []string
	for i := range rows {
		tSQL = append(tSQL, fmt.Sprintf("(REPEAT('a%d', 200))", i))
		uSQL = append(uSQL, fmt.Sprintf("(REPEAT('b%d', 200))", i))
	}
	half := rows / 2
	for _, q := range []string{fmt.Sprintf("SET binlog_transaction_compression = %v", compressed), "START TRANSACTION",
		"INSERT INTO t (v) VALUES " + strings.Join(tSQL[:half], ","), "INSERT INTO u (v) VALUES " + strings.Join(uSQL[:half], ","),
		"INSERT INTO t (v) VALUES " + strings.Join(tSQL[half:], ","), "INSERT INTO u (v) VALUES " + strings.Join(uSQL[half:], ","),
		"COMMIT", "SET binlog_transaction_compression = DEFAULT"} {
		if _, err := conn.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
}

func fileNumber(t *testing.T, file string) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscanf(file[strings.LastIndexByte(file, '.')+1:], "%d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}
