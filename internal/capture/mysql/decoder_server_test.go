package mysql

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
)

// rowsLog is a Rows that keeps everything in one block.
type rowsLog struct {
	builder *change.Builder
	skip    uint64
	dropped int
	begun   int
	ended   int
}

func newRowsLog() *rowsLog {
	l := &rowsLog{builder: change.NewBuilder("test", 1)}
	l.builder.BeginSegment(&change.Transaction{GTID: "0-1-1"}, 0, nil, true)
	return l
}

func (l *rowsLog) BeginRows(change.Op, *change.Table) (*change.Builder, uint64, error) {
	l.begun++
	return l.builder, l.skip, nil
}

func (l *rowsLog) Dropped() error { l.dropped++; return nil }

func (l *rowsLog) Wrote() error { return nil }

func (l *rowsLog) EndRows() error { l.ended++; return nil }

func (l *rowsLog) block(t testing.TB) *change.Block {
	t.Helper()
	l.builder.EndSegment(true)
	b, err := l.builder.Finish(1, change.Position{})
	if err != nil {
		t.Fatal(err)
	}
	blk, err := change.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return blk
}

// seenChange is a change with its rows as text: NULL is missing, an absent column is "<absent>".
type seenChange struct {
	op            change.Op
	table         *change.Table
	before, after map[string]string
}

func (l *rowsLog) changes(t testing.TB) []seenChange {
	t.Helper()
	var out []seenChange
	err := l.block(t).Each(func(c *change.Change) error {
		out = append(out, seenChange{op: c.Op, table: c.Table, before: rowText(t, c.Before), after: rowText(t, c.After)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func rowText(t testing.TB, r change.Row) map[string]string {
	t.Helper()
	if !r.Present() {
		return nil
	}
	values, err := r.Values(nil)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for i, v := range values {
		name := r.Table.Columns[i].Name
		switch v.State {
		case change.Absent:
			out[name] = "<absent>"
		case change.Set:
			out[name] = valueText(v)
		}
	}
	return out
}

func valueText(v change.Value) string {
	switch v.Kind {
	case change.Int:
		return strconv.FormatInt(v.Int(), 10)
	case change.Uint:
		return strconv.FormatUint(v.Uint(), 10)
	case change.Float:
		return strconv.FormatFloat(float64(v.Float()), 'g', -1, 64)
	case change.Double:
		return strconv.FormatFloat(v.Double(), 'g', -1, 64)
	case change.Bytes, change.Geometry, change.Vector:
		return strings.ToUpper(hex.EncodeToString(v.Bytes()))
	default:
		return string(v.Bytes())
	}
}

// rawEvent is one binlog event as the server sent it.
type rawEvent struct {
	typ  byte
	raw  []byte // with header, without checksum
	body []byte
}

// binlogPlace returns where the server writes next.
func binlogPlace(t testing.TB, db *sql.DB, kind dbserver.Kind) gomysql.Position {
	t.Helper()
	statement := "SHOW MASTER STATUS"
	if kind == dbserver.MySQL {
		statement = "SHOW BINARY LOG STATUS"
	}
	rows, err := db.QueryContext(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var p gomysql.Position
	into := []any{&p.Name, &p.Pos}
	for range columns[2:] {
		into = append(into, new(sql.RawBytes))
	}
	if !rows.Next() {
		t.Fatal("the server has no binlog")
	}
	if err := rows.Scan(into...); err != nil {
		t.Fatal(err)
	}
	return p
}

// record returns the events that the server writes while f runs.
func record(t testing.TB, srv *dbserver.Server, db *sql.DB, f func()) []rawEvent {
	t.Helper()
	from := binlogPlace(t, db, srv.Kind())
	f()
	to := binlogPlace(t, db, srv.Kind())
	cfg := srv.Config()
	host, port, _ := strings.Cut(srv.Addr(), ":")
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: 1 + rand.Uint32N(1<<31), Flavor: string(srv.Kind()), Host: host, Port: uint16(n), User: cfg.User, Password: cfg.Passwd,
		Charset: "utf8mb4", RawModeEnabled: true, Logger: slog.New(slog.DiscardHandler),
	})
	defer syncer.Close()
	stream, err := syncer.StartSync(from)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out []rawEvent
	for {
		e, err := stream.GetEvent(ctx)
		if err != nil {
			t.Fatalf("read the binlog from %s to %s: %v", from, to, err)
		}
		raw := e.RawData
		if e.Header.Timestamp != 0 || e.Header.EventType != replication.ROTATE_EVENT {
			raw = raw[:len(raw)-4] // both servers write checksums unless told otherwise
		}
		out = append(out, rawEvent{typ: byte(e.Header.EventType), raw: e.RawData, body: raw[19:]})
		if e.Header.LogPos >= to.Pos && e.Header.Timestamp != 0 {
			return out
		}
	}
}

// isRows reports whether the event carries rows.
func (e rawEvent) isRows() bool {
	op, _, _ := rowsEvent(e.typ)
	return op != 0 || e.typ == eventPartialUpdateRows
}

// decode feeds the events to the decoder.
func decode(d *Decoder, events []rawEvent, out Rows) error {
	for _, e := range events {
		switch {
		case e.typ == byte(replication.TABLE_MAP_EVENT):
			if err := d.TableMap(e.body); err != nil {
				return err
			}
		case e.isRows():
			if err := d.Rows(e.typ, e.body, out); err != nil {
				return err
			}
		}
	}
	return nil
}

// serverTypes is a DecoderOptions.ColumnTypes.
func serverTypes(db *sql.DB) func(schema, table string) (map[string]string, error) {
	return func(schema, table string) (map[string]string, error) {
		rows, err := db.Query("SELECT column_name, column_type FROM information_schema.columns WHERE table_schema = ? AND table_name = ?", schema, table)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		out := map[string]string{}
		for rows.Next() {
			var name, typ string
			if err := rows.Scan(&name, &typ); err != nil {
				return nil, err
			}
			out[name] = typ
		}
		return out, rows.Err()
	}
}

func decoderFor(srv *dbserver.Server, schema string, db *sql.DB) *Decoder {
	return NewDecoder(DecoderOptions{
		Flavor:      change.Flavor(srv.Kind()),
		Wanted:      func(s, _ string) bool { return s == schema },
		ColumnTypes: serverTypes(db),
	})
}

// connection is a session with UTC and no strictness, which lets zero dates in.
func connection(t testing.TB, db *sql.DB) *sql.Conn {
	t.Helper()
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	must(t, c, "SET time_zone = '+00:00', sql_mode = '', SESSION group_concat_max_len = 1000000")
	return c
}

func must(t testing.TB, c *sql.Conn, statement string) {
	t.Helper()
	if _, err := c.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%.300s: %v", statement, err)
	}
}

// seeded returns a random source whose seed is in the test's output.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// selectRows reads a table as the server prints it, by id.
func selectRows(t testing.TB, c *sql.Conn, table string, columns []typeCase) map[string]map[string]string {
	t.Helper()
	exprs := []string{"CAST(id AS CHAR)"}
	for _, col := range columns {
		exprs = append(exprs, fmt.Sprintf(col.selected(), col.name))
	}
	rows, err := c.QueryContext(t.Context(), "SELECT "+strings.Join(exprs, ", ")+" FROM "+table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string]map[string]string{}
	for rows.Next() {
		texts := make([]sql.NullString, len(exprs))
		into := make([]any, len(exprs))
		for i := range texts {
			into[i] = &texts[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		row := map[string]string{"id": texts[0].String}
		for i, col := range columns {
			if v := texts[i+1]; v.Valid {
				row[col.name] = col.normal(t, v.String)
			}
		}
		out[row["id"]] = row
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}
