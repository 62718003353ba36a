package main

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"time"
)

// The event types of types.yaml that somebody has subscribed to, and who.
const (
	paymentReceived  = "payment.received"
	paymentCorrected = "payment.corrected"
	rentalReturned   = "rental.returned"
	customerCreated  = "customer.created"
	customerMoved    = "customer.moved"
	customerClosed   = "customer.closed"

	billing = "billing"
	crm     = "crm"
)

// statementTimeout bounds one transaction of the shop. It runs to its end also when the demo ends, so that its outcome is known.
const statementTimeout = 30 * time.Second

// shop plays the rental shop: one transaction after the other, at random times. Its methods belong to one goroutine.
type shop struct {
	db   *sql.DB
	book *book
	rand *rand.Rand

	shelf     []disc    // in the shop
	out       []rental  // with customers
	customers []int64   // with an open account
	addresses []int64   // to live at
	payments  []payment // the latest that were not corrected
	newest    int64     // customer
}

// disc is one copy of a film.
type disc struct {
	id, staff int64
	cents     int64 // for one rental
}

type rental struct {
	id, customer int64
	disc         disc
}

type payment struct{ id, customer, cents int64 }

// maxCustomer is near what SMALLINT UNSIGNED holds; after it nobody new comes.
const maxCustomer = 65000

// openShop reads who and what is there.
func openShop(ctx context.Context, db *sql.DB, b *book) (*shop, error) {
	s := &shop{db: db, book: b, rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
	const discs = `SELECT i.inventory_id, s.manager_staff_id, CAST(f.rental_rate * 100 AS SIGNED), COALESCE(r.rental_id, 0), COALESCE(r.customer_id, 0)
		FROM sakila.inventory i JOIN sakila.film f USING (film_id) JOIN sakila.store s USING (store_id)
		LEFT JOIN sakila.rental r ON r.inventory_id = i.inventory_id AND r.return_date IS NULL`
	err := s.each(ctx, discs, 5, func(v []int64) {
		d := disc{id: v[0], staff: v[1], cents: v[2]}
		if v[3] == 0 {
			s.shelf = append(s.shelf, d)
		} else {
			s.out = append(s.out, rental{id: v[3], customer: v[4], disc: d})
		}
	})
	if err == nil {
		err = s.each(ctx, "SELECT customer_id, active FROM sakila.customer", 2, func(v []int64) {
			if s.newest = max(s.newest, v[0]); v[1] == 1 && v[0] > visitors {
				s.customers = append(s.customers, v[0])
			}
		})
	}
	if err == nil {
		err = s.each(ctx, "SELECT address_id FROM sakila.address", 1, func(v []int64) { s.addresses = append(s.addresses, v[0]) })
	}
	s.rand.Shuffle(len(s.shelf), func(i, j int) { s.shelf[i], s.shelf[j] = s.shelf[j], s.shelf[i] })
	return s, err
}

// each calls f with the integers of every row.
func (s *shop) each(ctx context.Context, query string, columns int, f func([]int64)) error {
	rows, err := s.db.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("read the shop: %w", err)
	}
	defer rows.Close()
	values, into := make([]int64, columns), make([]any, columns)
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("read the shop: %w", err)
		}
		f(values)
	}
	return rows.Err()
}

// Run trades until ctx ends. The pauses are those of customers who do not know of each other, rate a second on average.
func (s *shop) Run(ctx context.Context, rate float64) error {
	next := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := s.trade(ctx); err != nil {
			return err
		}
		next = next.Add(time.Duration(s.rand.ExpFloat64() / rate * float64(time.Second)))
		if behind := time.Now().Add(-time.Second); next.Before(behind) {
			next = behind // a database that was slow is not flooded to make up for it
		}
		timer.Reset(time.Until(next))
	}
}

// trade is one transaction.
func (s *shop) trade(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("the shop: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the COMMIT
	events, err := s.choose()(ctx, tx)
	if err != nil {
		return fmt.Errorf("the shop: %w", err)
	}
	s.book.commit(time.Now(), events)
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("the shop: commit: %w", err)
	}
	return nil
}

// action writes the rows of one transaction and says which events must follow.
type action func(context.Context, *sql.Tx) ([]wanted, error)

// choose picks what happens next, out of what can.
func (s *shop) choose() action {
	n := s.rand.IntN(100)
	switch {
	case n < 8 && len(s.payments) > 0:
		return s.correct
	case n >= 8 && n < 14 && s.newest < maxCustomer:
		return s.join
	case n >= 14 && n < 21:
		return s.move
	case n >= 21 && n < 24 && len(s.customers) > 100:
		return s.close
	case len(s.shelf) == 0 || len(s.out) > 0 && n%2 == 0:
		return s.bringBack
	}
	return s.rent
}
