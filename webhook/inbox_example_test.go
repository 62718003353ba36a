package webhook_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/rowhook/rowhook/webhook"
)

// A payment must be booked once, however often the event comes.
func ExampleInbox_Accept() {
	db, done := exampleDatabase("CREATE TABLE bookings (customer INTEGER, amount TEXT)")
	defer done()
	ctx := context.Background()
	inbox, err := webhook.NewInbox(webhook.InboxOptions{Dialect: webhook.SQLite})
	if err != nil {
		log.Fatal(err)
	}
	if err := inbox.Create(ctx, db); err != nil { // in earnest: inbox.Schema() among your migrations
		log.Fatal(err)
	}

	// book gets what was verified. Answer 2xx if it returns nil, 500 if not.
	book := func(ctx context.Context, msg webhook.Message) error {
		event, err := webhook.ParseEvent(msg)
		if err != nil {
			return err
		}
		var payment struct {
			Customer int
			Amount   string
		}
		if err := json.Unmarshal(event.Data, &payment); err != nil {
			return err
		}
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // does nothing after Commit
		fresh, err := inbox.Accept(ctx, tx, event.ID)
		if err != nil || !fresh {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO bookings VALUES (?, ?)", payment.Customer, payment.Amount); err != nil {
			return err
		}
		return tx.Commit()
	}

	delivery := webhook.Message{ID: "evt_1", Body: []byte(`{"id":"evt_1","type":"order.paid","data":{"customer":130,"amount":"19.90"}}`)}
	for range 3 {
		if err := book(ctx, delivery); err != nil {
			log.Fatal(err)
		}
	}
	var bookings int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM bookings").Scan(&bookings); err != nil {
		log.Fatal(err)
	}
	fmt.Println("bookings:", bookings)
	// Output: bookings: 1
}

// A copy of a row must hold the newest state; what is older may be dropped.
func ExampleInbox_Newer() {
	db, done := exampleDatabase("CREATE TABLE orders (id TEXT PRIMARY KEY, status TEXT)")
	defer done()
	ctx := context.Background()
	inbox, err := webhook.NewInbox(webhook.InboxOptions{Dialect: webhook.SQLite})
	if err != nil {
		log.Fatal(err)
	}
	if err := inbox.Create(ctx, db); err != nil {
		log.Fatal(err)
	}

	keep := func(ctx context.Context, event webhook.Event) error {
		var order struct{ ID, Status string }
		if err := json.Unmarshal(event.Data, &order); err != nil {
			return err
		}
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		newer, err := inbox.Newer(ctx, tx, event.Source, "orders/"+order.ID, event.Seq)
		if err != nil || !newer {
			return err
		}
		if event.Op == "delete" { // the seq stays, so that a late update does not bring the order back
			_, err = tx.ExecContext(ctx, "DELETE FROM orders WHERE id = ?", order.ID)
		} else {
			_, err = tx.ExecContext(ctx, "REPLACE INTO orders VALUES (?, ?)", order.ID, order.Status)
		}
		if err != nil {
			return err
		}
		return tx.Commit()
	}

	paid := webhook.Event{Source: "shop", Seq: 7, Op: "update", Data: json.RawMessage(`{"id":"42","status":"paid"}`)}
	sent := webhook.Event{Source: "shop", Seq: 9, Op: "update", Data: json.RawMessage(`{"id":"42","status":"sent"}`)}
	for _, event := range []webhook.Event{paid, sent, paid, sent} { // a replay repeats both
		if err := keep(ctx, event); err != nil {
			log.Fatal(err)
		}
		var status string
		if err := db.QueryRowContext(ctx, "SELECT status FROM orders").Scan(&status); err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Seq, status)
	}
	// Output:
	// 7 paid
	// 9 sent
	// 7 sent
	// 9 sent
}

// exampleDatabase makes a database in a file with one table; done removes it.
func exampleDatabase(schema string) (db *sql.DB, done func()) {
	dir, err := os.MkdirTemp("", "rowhook-example-")
	if err != nil {
		log.Fatal(err)
	}
	if db, err = sql.Open("sqlite", "file:"+filepath.Join(dir, "receiver.db")+"?_txlock=immediate&_pragma=busy_timeout(5000)"); err != nil {
		log.Fatal(err)
	}
	if _, err := db.ExecContext(context.Background(), schema); err != nil {
		log.Fatal(err)
	}
	return db, func() {
		if err := db.Close(); err != nil {
			log.Fatal(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			log.Fatal(err)
		}
	}
}
