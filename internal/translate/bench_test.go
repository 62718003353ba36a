package translate_test

import (
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/change/changetest"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/internal/translate"
)

// orders is a table of 12 mixed columns.
func orders() *change.Table {
	return changetest.Table("app", "orders", []string{"id"},
		changetest.Column("id", change.Int, "bigint"),
		changetest.Column("sheet_id", change.Int, "int"),
		changetest.Column("customer", change.Text, "varchar(80)"),
		changetest.Column("status", change.Text, "enum('new','paid')"),
		changetest.Column("qty", change.Uint, "int unsigned"),
		changetest.Column("price", change.Decimal, "decimal(12,2)"),
		changetest.Column("weight", change.Double, "double"),
		changetest.Column("note", change.Text, "text"),
		changetest.Column("attrs", change.JSON, "json"),
		changetest.Column("token", change.Bytes, "binary(16)"),
		changetest.Column("created_at", change.Datetime, "datetime(3)"),
		changetest.Column("updated_at", change.Timestamp, "timestamp(6)"),
	)
}

func orderRow(qty int, status string) changetest.Row {
	return changetest.Row{
		int64(9_007_199_254_740_993), 4711, "Acme GmbH & Co. KG", status, qty, "1234567.89", 3.14159, "please deliver to the back door, ring twice",
		`{"color": "red", "sizes": [1, 2, 3], "gift": false}`, []byte("0123456789abcdef"), "2026-01-31 13:37:00.123", "2026-01-31 13:37:00.123456",
	}
}

func orderUpdate(tb testing.TB) *change.Change {
	return changetest.Changes(tb, "shop", 1, changetest.Tx{
		Transaction: change.Transaction{GTID: "3e11fa47-71ca-11e1-9e33-c80aa9429562:23", CommitTime: 1_769_866_620_123_456, File: "binlog.000003", Offset: 4711, ServerID: 1},
		Changes:     []changetest.Change{{Op: change.Update, Table: orders(), Before: orderRow(1, "new"), After: orderRow(2, "paid")}},
	})[0]
}

func matcher(tb testing.TB, when string) *event.Matcher {
	tb.Helper()
	set, err := event.Compile([]event.Definition{{
		Name: "order.paid", Table: "app.orders", Subject: "sheets/{sheet_id}", Tenant: "{customer}", When: when,
		Data: []string{"id", "sheet_id", "customer", "status", "qty", "price", "weight", "note", "attrs", "token", "created_at", "updated_at"},
	}})
	if err != nil {
		tb.Fatal(err)
	}
	return set.NewMatcher()
}

func withEvent(tb testing.TB, f func(*event.Event)) {
	tb.Helper()
	if err := matcher(tb, "").Each("shop", 1, orderUpdate(tb), func(ev *event.Event) error { f(ev); return nil }); err != nil {
		tb.Fatal(err)
	}
}

func TestAppendJSONDoesNotAllocate(t *testing.T) {
	var buf []byte
	withEvent(t, func(ev *event.Event) {
		if n := testing.AllocsPerRun(100, func() {
			var err error
			if buf, err = translate.AppendJSON(buf[:0], ev); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// BenchmarkMatch is change → event; BenchmarkChangeToJSON is both steps. The others start where their users would: from a
// message or struct that is ready.
func BenchmarkMatch(b *testing.B) {
	for name, when := range map[string]string{"all": "", "cel": `after.status == "paid" && before.qty != after.qty && after.sheet_id > 100`} {
		b.Run(name, func(b *testing.B) {
			m, c, n := matcher(b, when), orderUpdate(b), 0
			b.ReportAllocs()
			for b.Loop() {
				if err := m.Each("shop", 1, c, func(*event.Event) error { n++; return nil }); err != nil {
					b.Fatal(err)
				}
			}
			if n == 0 {
				b.Fatal("no event")
			}
		})
	}
}

func BenchmarkChangeToJSON(b *testing.B) {
	m, c := matcher(b, ""), orderUpdate(b)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Each("shop", 1, c, func(ev *event.Event) (err error) {
			buf, err = translate.AppendJSON(buf[:0], ev)
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkAppendJSON(b *testing.B) {
	withEvent(b, func(ev *event.Event) {
		var buf []byte
		b.ReportAllocs()
		for b.Loop() {
			var err error
			if buf, err = translate.AppendJSON(buf[:0], ev); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(int64(len(buf)))
	})
}

func BenchmarkProtojsonGeneric(b *testing.B) {
	withEvent(b, func(ev *event.Event) {
		text, err := translate.AppendJSON(nil, ev)
		if err != nil {
			b.Fatal(err)
		}
		var m structpb.Struct
		if err := protojson.Unmarshal(text, &m); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := protojson.Marshal(&m); err != nil {
				b.Fatal(err)
			}
		}
	})
}

type orderEvent struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	Subject string `json:"subject,omitempty"`
	Tenant  string `json:"tenant,omitempty"`
	Time    string `json:"time"`
	Seq     uint64 `json:"seq"`
	Op      string `json:"op"`
	Source  struct {
		Name        string `json:"name"`
		Server      uint32 `json:"server"`
		GTID        string `json:"gtid"`
		File        string `json:"file"`
		Pos         uint64 `json:"pos"`
		Transaction string `json:"transaction"`
		Ordinal     uint64 `json:"ordinal"`
	} `json:"source"`
	Data struct {
		ID        int64           `json:"id,string"`
		SheetID   int32           `json:"sheet_id"`
		Customer  string          `json:"customer"`
		Status    string          `json:"status"`
		Qty       uint32          `json:"qty"`
		Price     string          `json:"price"`
		Weight    float64         `json:"weight"`
		Note      string          `json:"note"`
		Attrs     json.RawMessage `json:"attrs"`
		Token     []byte          `json:"token"`
		CreatedAt string          `json:"created_at"`
		UpdatedAt string          `json:"updated_at"`
	} `json:"data"`
	Changed []string `json:"changed"`
}

func BenchmarkEncodingJSON(b *testing.B) {
	withEvent(b, func(ev *event.Event) {
		text, err := translate.AppendJSON(nil, ev)
		if err != nil {
			b.Fatal(err)
		}
		var v orderEvent
		if err := json.Unmarshal(text, &v); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(&v); err != nil {
				b.Fatal(err)
			}
		}
	})
}
