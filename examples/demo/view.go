package main

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// view is what there is to see at one moment.
type view struct {
	numbers
	at      time.Time
	open    bool // the shop is
	pid     int  // 0 while Rowhook is dead
	killed  int
	refused int
	dir     string
	server  string // MariaDB's version
	dbAddr  string
	metrics string
}

func (d *demo) view(now time.Time, open bool) view {
	v := view{
		numbers: d.book.numbers(now), at: now, open: open, refused: d.receiver.Counts("").Refused, dir: d.folder.path,
		server: d.server.Version(), dbAddr: d.server.Addr(), metrics: d.daemon.url("/metrics"),
	}
	v.pid, v.killed = d.daemon.state()
	return v
}

// line is the view where there is no terminal.
func (v view) line() string {
	return fmt.Sprintf("%s rowhook=%s transactions=%.1f/s committed=%d (%.1f/s) delivered=%d (%.1f/s) lag=%d p50=%s p95=%s repeated=%d missing=%d out_of_order=%d killed=%d",
		v.at.Format("15:04:05"), v.process(), v.TransactionRate, v.Committed, v.CommitRate, v.Delivered, v.DeliveryRate, v.Lag,
		millis(v.P50), millis(v.P95), v.Repeated, v.Missing, v.Disordered, v.killed)
}

func (v view) process() string {
	if v.pid == 0 {
		return "dead"
	}
	return strconv.Itoa(v.pid)
}

// fixedLines are those of a picture that are not events.
const fixedLines = 18

// picture is the view as the lines of a screen, one less than its height: with as many events as there is room for.
func (v view) picture(height int) []string {
	lines := []string{
		"Rowhook demo   Sakila's rental shop on MariaDB " + v.server,
		"",
		"  rowhook      " + v.life(),
		fmt.Sprintf("  shop         %.1f transactions/s", v.TransactionRate),
		"",
		fmt.Sprintf("  committed    %7d events   %7.1f/s", v.Committed, v.CommitRate),
		fmt.Sprintf("  delivered    %7d events   %7.1f/s    billing %d, crm %d", v.Delivered, v.DeliveryRate, v.ByEndpoint[billing], v.ByEndpoint[crm]),
		fmt.Sprintf("  lag          %7d events   committed and not yet delivered", v.Lag),
		fmt.Sprintf("  commit→2xx   %10s p50  %10s p95    of the last %v", millis(v.P50), millis(v.P95), window),
		fmt.Sprintf("  account      %d missing, %d out of order, %d refused, %d repeated with the same id", v.Missing+v.Unexpected, v.Disordered, v.refused, v.Repeated),
		"",
		"  last events, signatures verified",
	}
	for i := range max(0, min(height-1-fixedLines, maxLast)) {
		lines = append(lines, v.event(len(v.Last)-1-i))
	}
	lines = append(append(lines, ""), v.places()...)
	return append(lines, "", v.keys())
}

// places are where to look.
func (v view) places() []string {
	return []string{
		"  metrics      " + v.metrics,
		"  look at      " + v.dir + "/ rowhook.yaml, types.yaml, rowhook.log",
		"  database     " + v.database(),
	}
}

func (v view) life() string {
	killed := ""
	if v.killed > 0 {
		killed = fmt.Sprintf("   (kills so far: %d)", v.killed)
	}
	if v.pid == 0 {
		return "dead, and starts again in a moment" + killed
	}
	return fmt.Sprintf("running, process %d%s", v.pid, killed)
}

// event is one line about an arrival; newest first, and empty before there are so many.
func (v view) event(i int) string {
	if i < 0 {
		return ""
	}
	a := v.Last[i]
	return fmt.Sprintf("    %s  %-7s  %8s  %s", a.at.Format("15:04:05.000"), a.endpoint, millis(a.took), a.text)
}

func (v view) database() string {
	host, port, _ := strings.Cut(v.dbAddr, ":")
	return fmt.Sprintf("mariadb -h %s -P %s -u visitor sakila   (customers 1 to %d are yours)", host, port, visitors)
}

func (v view) keys() string {
	if !v.open {
		return "  The shop is closed; the last events are being delivered. Ctrl-C: do not wait."
	}
	return "  k Enter: kill -9 rowhook in the middle of it     Ctrl-C: close the shop and settle the account"
}

func millis(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1fms", float64(d.Microseconds())/1000)
}

// settle prints the final account, and returns an error unless it is clean.
func (d *demo) settle() error {
	v := view{numbers: d.book.numbers(time.Now()), refused: d.receiver.Counts("").Refused}
	_, v.killed = d.daemon.state()
	d.screen.say("account: transactions=%d committed=%d delivered=%d missing=%d unexpected=%d out_of_order=%d refused=%d repeated=%d by_hand=%d killed=%d",
		v.Transactions, v.Committed, v.Delivered, v.Lag, v.Unexpected, v.Disordered, v.refused, v.Repeated, v.ByHand, v.killed)
	for _, fault := range d.book.faults {
		d.screen.say("  %s", fault)
	}
	for _, text := range d.book.outstanding() {
		d.screen.say("  missing since %s", text)
	}
	for _, err := range d.receiver.Refusals() {
		d.screen.say("  refused %v", err)
	}
	if wrong := cmp.Or(v.Lag, v.Unexpected, v.Disordered, v.refused); wrong > 0 {
		return errors.New("the account is not clean")
	}
	d.screen.say("Each committed event was delivered: verified, in order, with its values. %s", repeats(v))
	return nil
}

func repeats(v view) string {
	if v.Repeated == 0 {
		return "None came twice."
	}
	return fmt.Sprintf("%d came again after a kill, with the same id, so a receiver can tell.", v.Repeated)
}
