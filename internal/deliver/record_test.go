package deliver

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	rowhookv1 "github.com/rowhook/rowhook/gen/rowhook/v1"
)

var (
	testCursor   = Cursor{Source: "shop", Seq: 4_294_967_301}
	testProgress = Progress{
		Floor:      41,
		Done:       []SeqRange{{First: 43, Last: 43}, {First: 50, Last: 300}},
		DoneEvents: []EventRef{{Seq: 42, Type: "rental.created"}, {Seq: 301, Type: "payment.updated"}},
	}
	testException = Exception{
		Seq: 42, Type: "rental.updated", EventID: "evt_06a1jn3c8g000000kq2vxs5m3f9rhtbd", State: Waiting,
		Key: 0xfedc_ba98_7654_3210, OtherKey: 7, Attempts: 3, NextAttemptMS: 1_790_000_123_456, CommitTimeMS: 1_790_000_000_001,
		Reason: "http_500", Payload: []byte(`{"type":"rental.updated","data":{"id":42}}`), Subject: "rentals/42", Tenant: "store-1",
	}
	testSend = Send{
		Source: "shop", Endpoint: "billing", Seq: 42, Type: "rental.updated", EventID: "evt_06a1jn3c8g000000kq2vxs5m3f9rhtbd",
		Epoch: 9, Attempt: 4, TimeUS: 1_790_000_123_456_789,
	}
)

// A release that cannot read these bytes, or writes others, breaks every installation: the file is only ever added to.
func vector(t testing.TB, name string) []byte {
	t.Helper()
	file, err := os.ReadFile("testdata/records_v1.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(file)) {
		if n, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok && n == name {
			b, err := hex.DecodeString(v)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return b
		}
	}
	t.Fatalf("no vector %s", name)
	return nil
}

func TestFrozenRecords(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		value     any
		marshal   func() ([]byte, error)
		unmarshal func([]byte) (any, error)
	}{
		"cursor": {testCursor, func() ([]byte, error) { return MarshalCursor(testCursor) },
			func(b []byte) (any, error) { return UnmarshalCursor(b) }},
		"progress": {testProgress, func() ([]byte, error) { return MarshalProgress(testProgress) },
			func(b []byte) (any, error) { return UnmarshalProgress(b) }},
		"exception": {testException, func() ([]byte, error) { return MarshalException(&testException) },
			func(b []byte) (any, error) { return UnmarshalException(b) }},
		"send": {testSend, func() ([]byte, error) { return AppendSend(nil, &testSend), nil },
			func(b []byte) (any, error) { return UnmarshalSend(b) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := c.marshal()
			if err != nil {
				t.Fatal(err)
			}
			want := vector(t, name)
			if !bytes.Equal(got, want) {
				t.Errorf("encoded\n%x, frozen\n%x", got, want)
			}
			back, err := c.unmarshal(want)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.value, back); d != "" {
				t.Error(d)
			}
			// Field 1 of every record is the version.
			future := append([]byte{0x08, 0x02}, want[2:]...)
			if _, err := c.unmarshal(future); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "version 2") {
				t.Errorf("a record of version 2: %v", err)
			}
			if _, err := c.unmarshal(nil); !errors.Is(err, ErrVersion) {
				t.Errorf("an empty record: %v", err)
			}
			if _, err := c.unmarshal(want[:len(want)-1]); !errors.Is(err, ErrMalformed) {
				t.Errorf("a cut record: %v", err)
			}
		})
	}
}

func TestAppendSendIsProtobuf(t *testing.T) {
	t.Parallel()
	for _, s := range []Send{testSend, {}, {TimeUS: -1}} {
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(&rowhookv1.Send{
			Version: 1, EventId: s.EventID, Endpoint: s.Endpoint, Epoch: s.Epoch, Attempt: s.Attempt,
			TimeUs: s.TimeUS, Seq: s.Seq, Source: s.Source, Type: s.Type,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := AppendSend(nil, &s); !bytes.Equal(got, want) {
			t.Errorf("%+v: got %x, want %x", s, got, want)
		}
	}
}

// Counting allocations does not go with parallel tests.
func TestAppendSendDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 512)
	if n := testing.AllocsPerRun(100, func() { AppendSend(buf, &testSend) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestRecordsRefuseNonsense(t *testing.T) {
	t.Parallel()
	for _, ranges := range [][]SeqRange{
		{{First: 5, Last: 4}},
		{{First: 5, Last: 9}, {First: 9, Last: 12}},
		{{First: 5, Last: 9}, {First: 1, Last: 2}},
	} {
		if _, err := MarshalProgress(Progress{Done: ranges}); !errors.Is(err, ErrMalformed) {
			t.Errorf("ranges %v: %v", ranges, err)
		}
	}
	for _, state := range []ExceptionState{0, 4, 255} {
		if _, err := MarshalException(&Exception{State: state}); !errors.Is(err, ErrMalformed) {
			t.Errorf("state %d: %v", state, err)
		}
	}
	for _, state := range []rowhookv1.ExceptionState{-1, 0, 4, 257, 1 << 30} {
		b, err := proto.Marshal(&rowhookv1.Exception{Version: 1, State: state})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := UnmarshalException(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("stored state %d: %v", state, err)
		}
	}
}

func TestSlotOf(t *testing.T) {
	t.Parallel()
	// Frozen: an endpoint that moved to another slot would lose its progress.
	for endpoint, want := range map[string]int{"": 225, "billing": 164, "search": 63, "kunde-ä": 215} {
		if got := SlotOf(endpoint); got != want {
			t.Errorf("slot of %q is %d, frozen %d", endpoint, got, want)
		}
	}
	count := make([]int, Slots)
	for i := range 100 * Slots {
		count[SlotOf(fmt.Sprintf("endpoint-%d", i))]++
	}
	for slot, n := range count {
		if n < 40 || n > 180 {
			t.Errorf("slot %d has %d of %d endpoints", slot, n, 100*Slots)
		}
	}
}

func TestStaleError(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("commit: %w", &StaleError{Slots: []int{3, 7}})
	if !errors.Is(err, ErrStale) || !strings.Contains(err.Error(), "[3 7]") {
		t.Error(err)
	}
}

func FuzzUnmarshalCursor(f *testing.F) {
	f.Add(vector(f, "cursor"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := UnmarshalCursor(b); err == nil {
			again(t, c, MarshalCursor, UnmarshalCursor)
		}
	})
}

func FuzzUnmarshalProgress(f *testing.F) {
	f.Add(vector(f, "progress"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := UnmarshalProgress(b); err == nil {
			again(t, p, MarshalProgress, UnmarshalProgress)
		}
	})
}

func FuzzUnmarshalException(f *testing.F) {
	f.Add(vector(f, "exception"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := UnmarshalException(b); err == nil {
			again(t, e, func(e Exception) ([]byte, error) { return MarshalException(&e) }, UnmarshalException)
		}
	})
}

func FuzzUnmarshalSend(f *testing.F) {
	f.Add(vector(f, "send"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := UnmarshalSend(b); err == nil {
			again(t, s, func(s Send) ([]byte, error) { return AppendSend(nil, &s), nil }, UnmarshalSend)
		}
	})
}

// again checks that what was read can be written and read once more.
func again[T any](t *testing.T, v T, marshal func(T) ([]byte, error), unmarshal func([]byte) (T, error)) {
	t.Helper()
	b, err := marshal(v)
	if err != nil {
		t.Fatalf("write %+v: %v", v, err)
	}
	back, err := unmarshal(b)
	if err != nil {
		t.Fatalf("read %+v back: %v", v, err)
	}
	if d := cmp.Diff(v, back); d != "" {
		t.Fatal(d)
	}
}
