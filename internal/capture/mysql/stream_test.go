package mysql

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/change"
)

// discard is a Feed that takes everything.
type discard struct{}

func (discard) BeginRows(change.Op, *change.Table) (*change.Builder, uint64, error) {
	b := change.NewBuilder("test", 1)
	b.BeginSegment(&change.Transaction{}, 0, nil, true)
	return b, 0, nil
}
func (discard) Dropped() error                              { return nil }
func (discard) Wrote() error                                { return nil }
func (discard) EndRows() error                              { return nil }
func (discard) Server(string)                               {}
func (discard) Begin(change.Transaction, change.GTID) error { return nil }
func (discard) Commit(string, uint64) error                 { return nil }
func (discard) Heard(time.Time)                             {}
func (discard) Moved(string, uint32, uint64) error          { return nil }

// marks is a Feed that writes down where transactions begin and end.
type marks struct {
	discard
	lines []string
	fail  error
}

func (m *marks) Begin(tx change.Transaction, g change.GTID) error {
	m.lines = append(m.lines, fmt.Sprintf("begin %s %s:%d", tx.GTID, tx.File, tx.Offset))
	return m.fail
}

func (m *marks) Commit(file string, end uint64) error {
	m.lines = append(m.lines, fmt.Sprintf("commit %s:%d", file, end))
	return nil
}

func testStream(flavor change.Flavor, feed Feed) *stream {
	st := &stream{flavor: flavor, feed: feed, log: slog.New(slog.DiscardHandler), schemas: &schemas{}, wants: func(touched) bool { return false }}
	st.out = rowsOut{Feed: feed, s: st}
	st.decoder = NewDecoder(DecoderOptions{
		Flavor: flavor, Wanted: func(string, string) bool { return true },
		ColumnTypes: func(string, string) (map[string]string, error) { return nil, nil },
	})
	return st
}

func TestStreamMarksTransactions(t *testing.T) {
	t.Parallel()
	m := &marks{}
	st := testStream(change.MariaDB, m)
	rotate := append([]byte{4, 0, 0, 0, 0, 0, 0, 0}, "log.000001"...)
	for _, e := range [][]byte{
		event(evRotate, rotate),
		event(evMariaGTID, mariaGTID(1, 1)), event(evQuery, queryBody("app", "CREATE TABLE t (a int)")), // ends by itself
		event(evMariaGTID, mariaGTID(2, 0)), event(evXID, make([]byte, 8)),
		event(evMariaGTID, mariaGTID(3, 0)), // never finished, without a row: as if it had not been
		event(evMariaGTID, mariaGTID(3, 0)), event(evQuery, queryBody("app", "COMMIT")),
	} {
		if err := st.event(e); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"begin 0-1-1 log.000001:4", "commit log.000001:100",
		"begin 0-1-2 log.000001:100", "commit log.000001:165",
		"begin 0-1-3 log.000001:203", "commit log.000001:283",
	}
	if diff := cmp.Diff(want, m.lines); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
}

func TestStreamStops(t *testing.T) {
	t.Parallel()
	open := event(evMariaGTID, mariaGTID(1, 0))
	for _, c := range []struct {
		name, code string
		events     [][]byte
	}{
		{"incident", CodeIncident, [][]byte{event(evIncident, []byte{1, 0, 0})}},
		{"anonymous transaction", CodeNoGTID, [][]byte{event(evAnonymousGTID, make([]byte, 42))}},
		{"unknown event", CodeUnknownEvent, [][]byte{event(99, nil)}},
		{"old row event", CodeUnknownEvent, [][]byte{open, event(20, nil)}},
		{"partial rows of a newer MariaDB", CodeUnknownEvent, [][]byte{open, event(172, nil)}},
		{"statement", CodeStatementChange, [][]byte{open, event(evQuery, queryBody("app", "UPDATE t SET a=1"))}},
		{"LOAD DATA by statement", CodeStatementChange, [][]byte{open, event(evExecuteLoad, nil)}},
		{"rows outside a transaction", CodeMalformedEvent, [][]byte{event(evTableMap, make([]byte, 20))}},
		{"an end without a beginning", CodeMalformedEvent, [][]byte{event(evXID, make([]byte, 8))}},
		{"cut off header", CodeMalformedEvent, [][]byte{{1, 2, 3}}},
	} {
		st := testStream(change.MariaDB, discard{})
		var err error
		for _, e := range c.events {
			err = st.event(e)
		}
		var s *StopError
		if !errors.As(err, &s) || s.Code != c.code || s.Hint == "" {
			t.Errorf("%s: %v; want a stop with code %s and a hint", c.name, err, c.code)
		}
		if st.err == nil {
			t.Errorf("%s: the stream forgot its error", c.name)
		}
	}
	ignorable := event(99, nil)
	ignorable[17] = flagIgnorable
	if err := testStream(change.MySQL, discard{}).event(ignorable); err != nil {
		t.Errorf("an ignorable event: %v", err)
	}
}

func TestStreamPassesTheFeedsErrorOn(t *testing.T) {
	t.Parallel()
	full := errors.New("log is full")
	st := testStream(change.MariaDB, &marks{fail: full})
	_ = st.event(event(evMariaGTID, mariaGTID(1, 0)))
	if err := st.event(event(evXID, make([]byte, 8))); !errors.Is(err, full) {
		t.Errorf("err = %v, want %v as it is", err, full)
	}
}
