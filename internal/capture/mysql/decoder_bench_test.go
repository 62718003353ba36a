package mysql

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

const twelveColumns = `CREATE TABLE t (id BIGINT PRIMARY KEY, sheet_id BIGINT, a VARCHAR(64), b VARCHAR(64), c VARCHAR(64), price DECIMAL(12,2),
	at DATETIME(6), doc JSON, status ENUM('new','open','done'), qty INT, note TEXT, flag TINYINT) CHARACTER SET utf8mb4`

// recordTwelve lets the server update rows of twelve columns and returns the TABLE_MAP and one full UPDATE event.
func recordTwelve(t testing.TB, srv *dbserver.Server) (events []rawEvent, schema string) {
	t.Helper()
	schema, db := dbservertest.Database(t, srv)
	c := connection(t, db)
	must(t, c, twelveColumns)
	for n := range 40 {
		must(t, c, fmt.Sprintf(`INSERT INTO t VALUES (%d, %d, 'customer %d of the shop', 'Grüße %d', 'x%d', %d.%02d, '2026-01-31 13:37:%02d.%06d',
			'{"bold": true, "color": "#%06x", "width": %d}', %d, %d, '%s', %d)`,
			1000000+n, n%7, n, n, n, n*12345-100, n, n, n*1234, n, n*99, 1+n%3, n*1000-5,
			"A note of about ninety bytes, as somebody would type it into a cell of a sheet; end.", n%2))
	}
	return record(t, srv, db, func() { must(t, c, "UPDATE t SET qty = qty + 1, at = '2026-02-01 00:00:00.5'") }), schema
}

// recordedEvents reads the events in testdata, which ROWHOOK_RECORD=1 writes anew: see TestRecordedEvents.
func recordedEvents(t testing.TB, kind dbserver.Kind) (tableMap, rows []byte) {
	t.Helper()
	read := func(what string) []byte {
		b, err := os.ReadFile(recordedName(kind, what))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	return read("tablemap"), read("rows")
}

func recordedName(kind dbserver.Kind, what string) string {
	return filepath.Join("testdata", fmt.Sprintf("update12_%s_%s.bin", kind, what))
}

// The recorded events are what the servers of today write: the same table decodes to the same rows.
func TestRecordedEvents(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		events, _ := recordTwelve(t, srv)
		var now [2][]byte
		for _, e := range events {
			if e.typ == byte(replication.TABLE_MAP_EVENT) {
				now[0] = e.body
			} else if e.isRows() && now[1] == nil {
				now[1] = e.body
				events = []rawEvent{e}
			}
		}
		if os.Getenv("ROWHOOK_RECORD") != "" {
			for i, what := range []string{"tablemap", "rows"} {
				if err := os.WriteFile(recordedName(srv.Kind(), what), now[i], 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		tableMap, rows := recordedEvents(t, srv.Kind())
		decodeTwo := func(tableMap, rows []byte) []seenChange {
			d := recordedDecoder(srv.Kind())
			log := newRowsLog()
			if err := d.TableMap(tableMap); err != nil {
				t.Fatal(err)
			}
			if err := d.Rows(events[0].typ, rows, log); err != nil {
				t.Fatal(err)
			}
			return log.changes(t)
		}
		want, got := decodeTwo(tableMap, rows), decodeTwo(now[0], now[1])
		if len(want) < 5 || len(got) < 5 {
			t.Fatalf("%d rows recorded, %d now", len(want), len(got))
		}
		for i := range min(len(want), len(got)) {
			if fmt.Sprint(want[i].before, want[i].after) != fmt.Sprint(got[i].before, got[i].after) {
				t.Fatalf("row %d is %v, was recorded as %v", i, got[i], want[i])
			}
		}
	})
}

func recordedDecoder(kind dbserver.Kind) *Decoder {
	return NewDecoder(DecoderOptions{
		Flavor:      change.Flavor(kind),
		Wanted:      func(string, string) bool { return true },
		ColumnTypes: func(string, string) (map[string]string, error) { return nil, nil },
	})
}

// endlessRows throws the rows away when a block is full.
type endlessRows struct {
	builder *change.Builder
	tx      change.Transaction
	rows    int
}

func newEndlessRows() *endlessRows {
	r := &endlessRows{builder: change.NewBuilder("bench", 1)}
	r.builder.BeginSegment(&r.tx, 0, nil, true)
	return r
}

func (r *endlessRows) BeginRows(change.Op, *change.Table) (*change.Builder, uint64, error) {
	return r.builder, 0, nil
}

func (r *endlessRows) Dropped() error { return nil }

func (r *endlessRows) Wrote() error {
	r.rows++
	if r.builder.Size() < 256<<10 {
		return nil
	}
	r.builder.EndSegment(false)
	if _, err := r.builder.Finish(1, change.Position{}); err != nil {
		return err
	}
	r.builder.BeginSegment(&r.tx, 0, nil, true)
	return nil
}

func (r *endlessRows) EndRows() error { return nil }

// BenchmarkUpdate decodes the recorded UPDATE of twelve columns, before and after. Finishing blocks is part of it.
func BenchmarkUpdate(b *testing.B) {
	for _, kind := range dbserver.Kinds() {
		b.Run(string(kind), func(b *testing.B) {
			tableMap, rows := recordedEvents(b, kind)
			d, out := recordedDecoder(kind), newEndlessRows()
			b.ReportAllocs()
			b.SetBytes(int64(len(rows)))
			before := processTime(b)
			for b.Loop() {
				if err := d.TableMap(tableMap); err != nil {
					b.Fatal(err)
				}
				if err := d.Rows(updateType(kind), rows, out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(out.rows)/b.Elapsed().Seconds(), "rows/s")
			// Other work on the machine does not count in the CPU time.
			b.ReportMetric(float64((processTime(b)-before).Nanoseconds())/float64(out.rows), "cpu-ns/row")
		})
	}
}

// processTime is the CPU time of this process so far.
func processTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func updateType(kind dbserver.Kind) byte {
	if kind == dbserver.MariaDB {
		return eventUpdateRowsV1
	}
	return eventUpdateRowsV2
}

// The rows of an event are decoded without a single allocation, and so is a TABLE_MAP that was seen before.
func TestRowsDoNotAllocate(t *testing.T) {
	for _, kind := range dbserver.Kinds() {
		tableMap, rows := recordedEvents(t, kind)
		d := recordedDecoder(kind)
		log := newRowsLog()
		decode := func() {
			if err := d.TableMap(tableMap); err != nil {
				t.Fatal(err)
			}
			if err := d.Rows(updateType(kind), rows, log); err != nil {
				t.Fatal(err)
			}
		}
		decode()
		log.builder.EndSegment(true)
		if _, err := log.builder.Finish(1, change.Position{}); err != nil { // keeps its buffer
			t.Fatal(err)
		}
		log.builder.BeginSegment(&change.Transaction{}, 0, nil, true)
		// One run warms up; the builder's buffer grows with the next ones, so they are counted one by one.
		if n := testing.AllocsPerRun(20, decode); n > 1 {
			t.Errorf("%s: %v allocations for an event", kind, n)
		}
	}
}

// BenchmarkUpdateGoMySQL is what go-mysql's own decoder takes for the same event.
func BenchmarkUpdateGoMySQL(b *testing.B) {
	for _, kind := range dbserver.Kinds() {
		b.Run(string(kind), func(b *testing.B) {
			tableMap, rows := recordedEvents(b, kind)
			parser := newGoMySQLParser(b, kind)
			n, before := 0, processTime(b)
			b.ReportAllocs()
			b.SetBytes(int64(len(rows)))
			for b.Loop() {
				goMySQLEvent(b, parser, byte(replication.TABLE_MAP_EVENT), tableMap)
				n += len(goMySQLEvent(b, parser, updateType(kind), rows).(*replication.RowsEvent).Rows) / 2
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64((processTime(b)-before).Nanoseconds())/float64(n), "cpu-ns/row")
		})
	}
}

// newGoMySQLParser returns a parser that has seen a format description without checksums.
func newGoMySQLParser(t testing.TB, kind dbserver.Kind) *replication.BinlogParser {
	t.Helper()
	p := replication.NewBinlogParser()
	p.SetFlavor(string(kind))
	p.SetRenderJSONAsMySQLText(true)
	body := make([]byte, 2+50+4+1)
	body[0] = 4
	copy(body[2:], "8.0.0")
	body[56] = 19
	lengths := make([]byte, 40) // of post headers, by event type from 1
	lengths[replication.TABLE_MAP_EVENT-1] = 8
	for _, typ := range []int{eventWriteRowsV1, eventUpdateRowsV1, eventDeleteRowsV1} {
		lengths[typ-1] = 8
	}
	for _, typ := range []int{eventWriteRowsV2, eventUpdateRowsV2, eventDeleteRowsV2} {
		lengths[typ-1] = 10
	}
	body = append(append(body, lengths...), 0, 0, 0, 0, 0) // no checksum
	goMySQLEvent(t, p, byte(replication.FORMAT_DESCRIPTION_EVENT), body)
	return p
}

func goMySQLEvent(t testing.TB, p *replication.BinlogParser, typ byte, body []byte) replication.Event {
	t.Helper()
	raw := make([]byte, replication.EventHeaderSize, replication.EventHeaderSize+len(body))
	raw[4] = typ
	binary.LittleEndian.PutUint32(raw[9:], uint32(cap(raw)))
	e, err := p.Parse(append(raw, body...))
	if err != nil {
		t.Fatal(err)
	}
	return e.Event
}

// singleEvents are the events of a transaction that inserts a row into a table of two columns.
func singleEvents(kind dbserver.Kind) [][]byte {
	tableMap := append([]byte{7, 0, 0, 0, 0, 0, 1, 0}, "\x03app\x00\x01t\x00\x02\x03\x0f\x02\x50\x00\x00\x04\x05\x02id\x01v"...)
	tableMap = append(tableMap, metaDefaultCharset, 1, 45)
	row := append([]byte{7, 0, 0, 0, 0, 0, 1, 0, 2, 3, 0, 42, 0, 0, 0}, "\x05hello"...)
	rows := event(evTableMap, tableMap)
	if kind == dbserver.MariaDB {
		return [][]byte{event(evMariaGTID, mariaGTID(7, 0)), rows, event(evWriteRowsV1, row), event(evXID, make([]byte, 8))}
	}
	gtid := event(evGTID, binary.LittleEndian.AppendUint64(make([]byte, 17), 7))
	return [][]byte{gtid, event(evQuery, queryBody("app", "BEGIN")), rows, event(evWriteRowsV1, row), event(evXID, make([]byte, 8))}
}

// counted is a Feed that counts transactions and rows.
type counted struct {
	discard
	*endlessRows
	transactions int
}

func (c *counted) BeginRows(op change.Op, t *change.Table) (*change.Builder, uint64, error) {
	return c.endlessRows.BeginRows(op, t)
}
func (c *counted) Dropped() error { return c.endlessRows.Dropped() }
func (c *counted) Wrote() error   { return c.endlessRows.Wrote() }
func (c *counted) EndRows() error { return c.endlessRows.EndRows() }

func (c *counted) Commit(string, uint64) error {
	c.transactions++
	return nil
}

// A small transaction costs one allocation, for its name.
func TestSmallTransactionsAllocateOnce(t *testing.T) {
	for _, kind := range dbserver.Kinds() {
		feed := &counted{endlessRows: newEndlessRows()}
		st := testStream(change.Flavor(kind), feed)
		events := singleEvents(kind)
		n := testing.AllocsPerRun(100, func() {
			for _, e := range events {
				if err := st.event(e); err != nil {
					t.Fatal(err)
				}
			}
		})
		if n > 1 || feed.rows != 101 || feed.transactions != 101 {
			t.Errorf("%s: %v allocations; %d transactions, %d rows", kind, n, feed.transactions, feed.rows)
		}
	}
}
