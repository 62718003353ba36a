package mysql

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/internal/capture"
	"github.com/rowhook/rowhook/internal/change"
)

// A stop at a transaction names it; passed over, whatever it holds, its end is recorded, and what follows is captured.
func TestPassedTransactions(t *testing.T) {
	t.Parallel()
	rotate := event(evRotate, append([]byte{4, 0, 0, 0, 0, 0, 0, 0}, "log.000001"...))
	next := event(evRotate, append([]byte{4, 0, 0, 0, 0, 0, 0, 0}, "log.000002"...))
	open := event(evMariaGTID, mariaGTID(7, 0))
	alone := event(evMariaGTID, mariaGTID(7, 1))
	xid := event(evXID, make([]byte, 8))
	after := [][]byte{event(evMariaGTID, mariaGTID(8, 0)), xid}
	for name, events := range map[string][][]byte{
		"statement":           {open, event(evQuery, queryBody("app", "UPDATE t SET a=1")), xid},
		"statement alone":     {alone, event(evQuery, queryBody("app", "UPDATE t SET a=1"))},
		"LOAD DATA":           {open, event(evExecuteLoad, nil), xid},
		"unknown event":       {open, event(99, []byte("?")), xid},
		"incident":            {open, event(evIncident, nil)},
		"broken table map":    {open, event(evTableMap, []byte{1}), event(30, []byte{1}), event(evQuery, queryBody("app", "COMMIT"))},
		"broken statement":    {open, event(evQuery, []byte{1}), event(evTableMap, []byte{1}), event(evQuery, queryBody("app", "ROLLBACK"))},
		"broken payload":      {open, event(evTransactionPayload, []byte{9})},
		"without an end":      {open, event(99, []byte("?"))},
		"cut off by the file": {open, event(99, []byte("?")), next},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stopped := testStream(change.MariaDB, &marks{})
			var err error
			for _, e := range append([][]byte{rotate}, events...) {
				if err = stopped.event(e); err != nil {
					break
				}
			}
			var stop *StopError
			if !errors.As(err, &stop) || stop.At == nil || stop.At.GTID != "0-1-7" {
				t.Fatalf("the stop is %v", err)
			}
			m := &marks{}
			st := testStream(change.MariaDB, m)
			st.skips = []capture.Skip{{GTID: "0-1-6"}, *stop.At}
			for _, e := range append(append([][]byte{rotate}, events...), after...) {
				if err := st.event(e); err != nil {
					t.Fatal(err)
				}
			}
			var starts []string
			for _, l := range m.lines {
				if l[0] == 'b' {
					starts = append(starts, l[:len("begin 0-1-7")])
				}
			}
			if diff := cmp.Diff([]string{"begin 0-1-7", "begin 0-1-8"}, starts); diff != "" || len(m.lines) != 4 {
				t.Errorf("transactions: %q\n%s", m.lines, diff)
			}
		})
	}
}

// An incident outside all transactions is passed over by its place, and no other one.
func TestPassedPlace(t *testing.T) {
	t.Parallel()
	rotate := event(evRotate, append([]byte{4, 0, 0, 0, 0, 0, 0, 0}, "log.000001"...))
	stopped := testStream(change.MariaDB, &marks{})
	if err := stopped.event(rotate); err != nil {
		t.Fatal(err)
	}
	var stop *StopError
	if err := stopped.event(event(evIncident, nil)); !errors.As(err, &stop) || stop.At == nil || stop.At.GTID != "" || stop.At.File != "log.000001" {
		t.Fatalf("the stop is %v", err)
	}
	for other, wrong := range map[capture.Skip]bool{*stop.At: false, {File: stop.At.File, Offset: stop.At.Offset + 1}: true} {
		st := testStream(change.MariaDB, &marks{})
		st.skips = []capture.Skip{other}
		if err := st.event(rotate); err != nil {
			t.Fatal(err)
		}
		if err := st.event(event(evIncident, nil)); (err != nil) != wrong {
			t.Errorf("with %s given up: %v", other.Place(), err)
		}
	}
}
