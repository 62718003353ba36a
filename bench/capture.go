package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/dbserver"
)

// Sizes of the capture scenario.
const (
	CaptureRows      = 5_000_000
	CaptureShortRows = 200_000
	// Of single-row transactions.
	CaptureSingleRows      = 1_000_000
	CaptureSingleShortRows = 50_000
	minCaptureRows         = 1000
	maxCaptureRows         = 100_000_000
)

// rounds of each reader. The middle one counts.
const rounds = 5

// CaptureOptions of Capture.
type CaptureOptions struct {
	Server ServerOptions
	// Rows that the UPDATE changes, or that are inserted.
	Rows int
	// Single makes each row a transaction of its own, in place of one UPDATE of them all.
	Single bool
	// Progress takes lines for who waits.
	Progress io.Writer
}

// Validate says what is wrong with the options, in the words of the command line.
func (o CaptureOptions) Validate() error {
	if o.Rows < minCaptureRows || o.Rows > maxCaptureRows {
		return fmt.Errorf("--rows is %d: it must be from %d to %d", o.Rows, minCaptureRows, maxCaptureRows)
	}
	return o.Server.validate()
}

// Disk that a row takes: in the table, its undo log, the binlog, the server's temporary copy of it, and the log.
const diskPerRow = 2600

// Capture measures how fast a backlog is read, of one large UPDATE or of single-row transactions: the events as they are, decoded by
// go-mysql, and by Rowhook into its durable log. The three take turns.
func Capture(ctx context.Context, o CaptureOptions) (Result, error) {
	if err := o.Validate(); err != nil {
		return Result{}, err
	}
	d, err := findDisk(o.Server.Dir)
	if err != nil {
		return Result{}, err
	}
	if err := d.need(uint64(o.Rows) * diskPerRow); err != nil {
		return Result{}, err
	}
	p := NewProgress(o.Progress)
	s, err := openSite(ctx, o.Server, p, dbserver.Options{Durable: true, BufferPool: poolFor(o.Rows)})
	if err != nil {
		return Result{}, err
	}
	r, err := captureOn(ctx, s, o, p)
	r.Warnings = append(r.Warnings, d.warnings()...)
	return r, errors.Join(err, s.close())
}

// poolFor lets the UPDATE work in memory: what is measured is the reading of it.
func poolFor(rows int) string { return fmt.Sprintf("%dM", min(256+rows*400>>20, 3072)) }

func captureOn(ctx context.Context, s *site, o CaptureOptions, p *Progress) (Result, error) {
	b, err := makeBacklog(ctx, s, o, p)
	if err != nil {
		return Result{}, err
	}
	dir, err := os.MkdirTemp(o.Server.Dir, "rowhook-bench-*")
	if err != nil {
		return Result{}, fmt.Errorf("make the folder of the log: %w", err)
	}
	runs, err := takeTurns(ctx, b, dir, p)
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		return Result{}, err
	}
	return captureResult(ctx, b, runs)
}

// backlog is what waits in the binlog of a server.
type backlog struct {
	*site
	rows         int
	transactions int
	from         change.Position // just before it
	flavor       change.Flavor
	took         time.Duration // that the server took to make it
}

// makeBacklog makes the table and what is to be read of it. That begins a binlog file of its own, so that no reader has to pass over
// what was before.
func makeBacklog(ctx context.Context, s *site, o CaptureOptions, p *Progress) (*backlog, error) {
	b := &backlog{site: s, rows: o.Rows, transactions: 1, flavor: change.Flavor(s.kind)}
	prepare, commit := b.prepareUpdate, b.commitUpdate
	if o.Single {
		b.transactions = o.Rows
		prepare, commit = b.prepareSingle, b.commitSingle
	}
	if err := prepare(ctx, p); err != nil {
		return nil, err
	}
	if err := s.exec(ctx, "FLUSH BINARY LOGS"); err != nil {
		return nil, err
	}
	replica, err := b.replica()
	if err != nil {
		return nil, err
	}
	if b.from, err = replica.Attach(ctx, "now"); err != nil {
		return nil, fmt.Errorf("find the position before the backlog: %w", err)
	}
	if err := commit(ctx, p); err != nil {
		return nil, err
	}
	p.Step("the server took %.1f s for it", b.took.Seconds())
	return b, nil
}

func (b *backlog) prepareUpdate(ctx context.Context, p *Progress) error {
	p.Step("loading %s rows", thousands(float64(b.rows)))
	return b.load(ctx, b.rows, p)
}

func (b *backlog) commitUpdate(ctx context.Context, p *Progress) (err error) {
	p.Step("updating all of them in one transaction")
	b.took, err = b.updateAll(ctx, b.rows)
	return err
}

// reading is one turn of one reader.
type reading struct {
	took  time.Duration
	rows  int   // 0 if the reader does not decode
	event int   // row events
	bytes int64 // of the binlog, or of the log for Rowhook
}

// reader reads the whole backlog once.
type reader struct {
	name string
	read func(ctx context.Context, b *backlog, dir string) (reading, error)
}

// Readers, by the place of their readings.
const (
	raw = iota
	goMySQL
	rowhook
)

func readers() []reader {
	return []reader{raw: {"raw event read", readRaw}, goMySQL: {"go-mysql, full decode", readGoMySQL}, rowhook: {"Rowhook, into the log", readRowhook}}
}

// takeTurns runs every reader once in each round, beginning with another one each time, and returns the readings by reader.
func takeTurns(ctx context.Context, b *backlog, dir string, p *Progress) ([][]reading, error) {
	all := readers()
	runs := make([][]reading, len(all))
	for round := range rounds {
		for i := range all {
			who := (round + i) % len(all)
			runtime.GC() // nobody pays for another's garbage
			r, err := all[who].read(ctx, b, dir)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", all[who].name, err)
			}
			p.Step("round %d of %d: %-22s %9s rows/s", round+1, rounds, all[who].name, thousands(rate(b.rows, r.took)))
			runs[who] = append(runs[who], r)
		}
	}
	return runs, checkComplete(b, runs)
}

// checkComplete holds every reading to the rows that were changed. The raw reader does not see rows: it must have seen the same
// events as the one that decodes them.
func checkComplete(b *backlog, runs [][]reading) error {
	events := runs[goMySQL][0].event
	for who, r := range readers() {
		for _, got := range runs[who] {
			switch {
			case who != raw && got.rows != b.rows:
				return fmt.Errorf("%s: it read %d rows of %d", r.name, got.rows, b.rows)
			case who != rowhook && got.event != events:
				return fmt.Errorf("%s: it read %d row events of %d", r.name, got.event, events)
			}
		}
	}
	return nil
}

func rate(rows int, took time.Duration) float64 { return float64(rows) / took.Seconds() }

// rates returns rows a second of each reading.
func rates(rows int, rs []reading) []float64 {
	var out []float64
	for _, r := range rs {
		out = append(out, rate(rows, r.took))
	}
	return out
}

func captureResult(ctx context.Context, b *backlog, runs [][]reading) (Result, error) {
	r := Result{Scenario: b.scenario(), Server: string(b.kind)}
	binlog, logged := runs[raw][0].bytes, runs[rowhook][0].bytes
	r.Title = fmt.Sprintf("%s: the backlog of %s (%s MB of binlog), on %s %s", r.Scenario, b.what(), thousands(float64(binlog)/1e6), b.kind, b.version)
	r.Rows = append(r.Rows, Row{"reader", "rows/s", "of five runs", "MB of binlog/s", "Rowhook is"})
	names := []string{raw: "raw", goMySQL: "gomysql", rowhook: "rowhook"}
	medians := make([]float64, len(names))
	for who := range readers() {
		medians[who] = median(rates(b.rows, runs[who]))
	}
	for who, reader := range readers() {
		all := rates(b.rows, runs[who])
		low, high := extent(all)
		r.Rows = append(r.Rows, Row{reader.name, thousands(medians[who]), thousands(low) + " – " + thousands(high),
			thousands(medians[who] / float64(b.rows) * float64(binlog) / 1e6), fmt.Sprintf("%.2f ×", medians[rowhook]/medians[who])})
		r.Measured.Add(names[who]+"_rows_per_s", round(medians[who], 0))
		r.Measured.Add(names[who]+"_rows_per_s_runs", whole(all))
	}
	r.Measured.Add("commit_s", round(b.took.Seconds(), 3))
	r.Measured.Add("binlog_bytes", binlog)
	r.Measured.Add("log_bytes", logged)
	r.Ratios.Add("to_gomysql", round(medians[rowhook]/medians[goMySQL], 3))
	r.Ratios.Add("to_raw", round(medians[rowhook]/medians[raw], 3))
	return r, b.describeCapture(ctx, &r.Settings)
}

func (b *backlog) single() bool { return b.transactions > 1 }

func (b *backlog) scenario() string {
	if b.single() {
		return "capture_single"
	}
	return "capture"
}

func (b *backlog) what() string {
	if b.single() {
		return fmt.Sprintf("%s transactions, each an INSERT of one row of 12 columns", thousands(float64(b.rows)))
	}
	return fmt.Sprintf("one UPDATE of %s rows of 12 columns, before and after image", thousands(float64(b.rows)))
}

func (b *backlog) describeCapture(ctx context.Context, f *Figures) error {
	f.Add("rows", b.rows)
	f.Add("transactions", b.transactions)
	f.Add("rounds", rounds)
	f.Add("raw", "go-mysql "+moduleVersion(goMySQLModule)+": RawModeEnabled, SynchronousEventHandler, checksums not verified, from GTID set")
	f.Add("gomysql", "go-mysql "+moduleVersion(goMySQLModule)+": GetEvent, defaults, VerifyChecksum, from GTID set; decoded rows are counted and dropped")
	f.Add("rowhook", "checksums verified, decoded, blocks of up to 1 MiB, each fsynced in the log before the next; ends with the last row on the disk")
	f.Add("clock", "from connecting to the end of the last transaction, each in this process")
	f.Add("tls", "off")
	describeMachine(f)
	return b.describe(ctx, f)
}

func extent(values []float64) (low, high float64) {
	low, high = values[0], values[0]
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	return low, high
}

// whole rounds each value to a whole number.
func whole(values []float64) []int64 {
	var out []int64
	for _, v := range values {
		out = append(out, int64(v+0.5))
	}
	return out
}

// tableName is the table as Rowhook's configuration names it.
func (s *site) tableName() string { return strings.Join([]string{s.database, sheetTable}, ".") }
