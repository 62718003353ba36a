package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/internal/eventlog"
	"github.com/rowhook/rowhook/internal/store"
	"github.com/rowhook/rowhook/internal/translate"
)

// sheetColumns is the table of all scenarios as a source describes it.
func sheetColumns() *change.Table {
	t := &change.Table{Schema: "bench", Name: sheetTable, Key: []int{0}, Columns: []change.Column{
		{Name: "id", Kind: change.Int, Type: "bigint"}, {Name: "sheet_id", Kind: change.Int, Type: "bigint"},
		{Name: "title", Kind: change.Text, Type: "varchar(64)"}, {Name: "owner", Kind: change.Text, Type: "varchar(64)"},
		{Name: "color", Kind: change.Text, Type: "varchar(64)"}, {Name: "price", Kind: change.Decimal, Type: "decimal(12,2)"},
		{Name: "updated_at", Kind: change.Datetime, Type: "datetime(6)"}, {Name: "attrs", Kind: change.JSON, Type: "json"},
		{Name: "state", Kind: change.Text, Type: "enum('new','open','done')"}, {Name: "qty", Kind: change.Int, Type: "int"},
		{Name: "note", Kind: change.Text, Type: "text"}, {Name: "archived", Kind: change.Int, Type: "tinyint"},
	}}
	for i := range t.Columns {
		t.Columns[i].Number = uint32(i + 1)
	}
	return t
}

// appendSheetRow appends the values that sheetRow gives row n.
func appendSheetRow(p []byte, n int64) []byte {
	text := func(number uint32, s string) { p = change.AppendBytes(p, number, []byte(s), false) }
	p = change.AppendInt(p, 1, n)
	p = change.AppendInt(p, 2, n/1000)
	text(3, "row "+strconv.FormatInt(n, 10)+" of the plan")
	text(4, "owner"+strconv.FormatInt(n%977, 10)+"@example.com")
	text(5, "shade-"+strconv.FormatInt(n*2654435761, 16))
	text(6, strconv.FormatInt(n%1_000_000, 10)+".25")
	text(7, time.Date(2026, 1, 31, 13, 37, 0, 123456000, time.UTC).Add(time.Duration(n)*time.Second).Format("2006-01-02 15:04:05.000000"))
	text(8, `{"w": `+strconv.FormatInt(n%640, 10)+`, "tags": ["a", "b"], "wrap": true}`)
	text(9, []string{"new", "open", "done"}[n%3])
	p = change.AppendInt(p, 10, n%5000)
	text(11, "note "+strconv.FormatInt(n, 10)+": please check the figures against the invoice before the end of the month, thanks")
	return change.AppendInt(p, 12, 0)
}

// rowsPerBlock makes blocks of about 256 KiB.
const rowsPerBlock = 800

// blocks calls f with the blocks that a source makes of rows 1..n, each inserted in a transaction of its own.
func blocks(n int, f func(block []byte, h change.Header) error) error {
	b, t := change.NewBuilder(benchSource, 0), sheetColumns()
	began := time.Now().UnixMicro()
	for first := 1; first <= n; first += rowsPerBlock {
		last := min(first+rowsPerBlock-1, n)
		pos := change.Position{GTIDSet: "0-1-" + strconv.Itoa(last), Server: "1", CommitTime: began + int64(last)}
		for i := first; i <= last; i++ {
			tx := change.Transaction{GTID: "0-1-" + strconv.Itoa(i), CommitTime: began + int64(i), ServerID: 1}
			b.BeginSegment(&tx, 0, nil, true)
			b.BeginChange(change.Insert, t)
			b.EndRow(appendSheetRow(b.BeginRow(false), int64(i)), false, nil)
			b.EndChange()
			b.EndSegment(true)
		}
		block, err := b.Finish(uint64(first), pos)
		if err != nil {
			return fmt.Errorf("make block %d: %w", first, err)
		}
		h := change.Header{Source: benchSource, FirstSeq: uint64(first), Changes: uint32(last - first + 1), Position: pos}
		if err := f(block, h); err != nil {
			return err
		}
	}
	return nil
}

// fill makes the data folder of a source whose log holds n changes that nobody has read.
func fill(ctx context.Context, dir string, n int) (err error) {
	srv, err := eventlog.Open(ctx, eventlog.Options{Dir: filepath.Join(dir, "log"), Retention: 96 * time.Hour, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer func() { err = errors.Join(err, srv.Close(context.WithoutCancel(ctx))) }()
	log, err := srv.Stream(ctx, benchSource, "")
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	if _, _, _, err := log.Last(ctx); err != nil {
		return err
	}
	if err := blocks(n, func(block []byte, h change.Header) error { return log.Append(ctx, block, h) }); err != nil {
		return err
	}
	st, err := store.Open(ctx, filepath.Join(dir, "store"), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return st.SaveSource(ctx, store.SourceRecord{Name: benchSource, LogID: log.ID(), Generation: 1})
}

// sheetTypes is the file of event types of all scenarios.
func sheetTypes(table string) string {
	return fmt.Sprintf(`types:
  sheet.row.written:
    table: %s
    on: [insert]
    subject: sheets/{sheet_id}
    data: [id, sheet_id, title, owner, color, price, updated_at, attrs, state, qty, note, archived]
`, table)
}

// message is an event as it is posted.
type message struct {
	id   string
	seq  uint64
	body []byte
}

// messages returns what Rowhook sends of rows 1..n.
func messages(n int) ([]message, error) {
	defs, err := event.Parse("types.yaml", []byte(sheetTypes("bench."+sheetTable)))
	if err != nil {
		return nil, err
	}
	set, err := event.Compile(defs)
	if err != nil {
		return nil, err
	}
	m, out := set.NewMatcher(), make([]message, 0, n)
	return out, blocks(n, func(block []byte, _ change.Header) error {
		blk, err := change.Parse(block)
		if err != nil {
			return err
		}
		return blk.Each(func(c *change.Change) error {
			return m.Each(benchSource, 1, c, func(ev *event.Event) error {
				body, err := translate.AppendJSON(nil, ev)
				out = append(out, message{ev.ID, ev.Seq, body})
				return err
			})
		})
	})
}
