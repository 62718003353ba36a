package main

import (
	"context"
	"database/sql"
	"fmt"
)

// rent hands out the disc that has been on the shelf for the longest, so that nobody gets one twice within a second, which Sakila's
// unique key forbids. Nobody has subscribed to this event.
func (s *shop) rent(ctx context.Context, tx *sql.Tx) ([]wanted, error) {
	d, customer := take(&s.shelf, 0), s.customer()
	id, err := insert(ctx, tx, "INSERT INTO sakila.rental (rental_date, inventory_id, customer_id, staff_id) VALUES (NOW(), ?, ?, ?)", d.id, customer, d.staff)
	if err != nil {
		return nil, err
	}
	s.out = append(s.out, rental{id: id, customer: customer, disc: d})
	return nil, nil
}

// bringBack takes a disc back and the money for it: one transaction, two tables, two endpoints.
func (s *shop) bringBack(ctx context.Context, tx *sql.Tx) ([]wanted, error) {
	r := take(&s.out, s.rand.IntN(len(s.out)))
	if _, err := tx.ExecContext(ctx, "UPDATE sakila.rental SET return_date = NOW() WHERE rental_id = ?", r.id); err != nil {
		return nil, err
	}
	p := payment{customer: r.customer, cents: r.disc.cents + 100*s.rand.Int64N(4)} // up to three days late
	var err error
	p.id, err = insert(ctx, tx, "INSERT INTO sakila.payment (customer_id, staff_id, rental_id, amount, payment_date) VALUES (?, ?, ?, ?, NOW())",
		p.customer, r.disc.staff, r.id, money(p.cents))
	if err != nil {
		return nil, err
	}
	s.shelf = append(s.shelf, r.disc)
	if s.payments = append(s.payments, p); len(s.payments) > 200 {
		take(&s.payments, 0)
	}
	return []wanted{
		{endpoint: crm, row: fmt.Sprint("rental ", r.id), text: tell(rentalReturned, r.id, r.customer, r.disc.id)},
		{endpoint: billing, row: fmt.Sprint("payment ", p.id), text: tell(paymentReceived, p.id, p.customer, money(p.cents))},
	}, nil
}

// correct gives a customer half a dollar back.
func (s *shop) correct(ctx context.Context, tx *sql.Tx) ([]wanted, error) {
	p := take(&s.payments, s.rand.IntN(len(s.payments)))
	p.cents -= 50
	if _, err := tx.ExecContext(ctx, "UPDATE sakila.payment SET amount = ? WHERE payment_id = ?", money(p.cents), p.id); err != nil {
		return nil, err
	}
	return []wanted{{endpoint: billing, row: fmt.Sprint("payment ", p.id), text: tell(paymentCorrected, p.id, p.customer, money(p.cents))}}, nil
}

// join opens an account.
func (s *shop) join(ctx context.Context, tx *sql.Tx) ([]wanted, error) {
	first, last := pick(s, firstNames()), pick(s, lastNames())
	id, err := insert(ctx, tx, "INSERT INTO sakila.customer (store_id, first_name, last_name, email, address_id, create_date) VALUES (?, ?, ?, ?, ?, NOW())",
		1+s.rand.IntN(2), first, last, first+"."+last+"@sakilacustomer.org", pick(s, s.addresses))
	if err != nil {
		return nil, err
	}
	s.newest = id
	s.customers = append(s.customers, id)
	return []wanted{{endpoint: crm, row: fmt.Sprint("customer ", id), text: tell(customerCreated, id, first, last)}}, nil
}

// move changes where a customer lives.
func (s *shop) move(ctx context.Context, tx *sql.Tx) ([]wanted, error) {
	id, address := s.customer(), pick(s, s.addresses)
	result, err := tx.ExecContext(ctx, "UPDATE sakila.customer SET address_id = ? WHERE customer_id = ? AND address_id <> ?", address, id, address)
	if err != nil {
		return nil, err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return nil, err // lives there already: no change, no event
	}
	return []wanted{{endpoint: crm, row: fmt.Sprint("customer ", id), text: tell(customerMoved, id, address)}}, nil
}

// close closes an account for good.
func (s *shop) close(ctx context.Context, tx *sql.Tx) ([]wanted, error) {
	id := take(&s.customers, s.rand.IntN(len(s.customers)))
	if _, err := tx.ExecContext(ctx, "UPDATE sakila.customer SET active = FALSE WHERE customer_id = ?", id); err != nil {
		return nil, err
	}
	return []wanted{{endpoint: crm, row: fmt.Sprint("customer ", id), text: tell(customerClosed, id, 0)}}, nil
}

func (s *shop) customer() int64 { return pick(s, s.customers) }

// insert runs an INSERT and returns the row's new key.
func insert(ctx context.Context, tx *sql.Tx, query string, args ...any) (int64, error) {
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

// take removes one element; the order of the others is kept only if it is the first.
func take[T any](list *[]T, i int) T {
	all := *list
	x := all[i]
	if i == 0 {
		*list = all[1:]
		return x
	}
	all[i] = all[len(all)-1]
	*list = all[:len(all)-1]
	return x
}

func pick[T any](s *shop, all []T) T { return all[s.rand.IntN(len(all))] }

// money writes cents as the database does.
func money(cents int64) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }

func firstNames() []string {
	return []string{"ADA", "BRUNO", "CHLOË", "DMITRI", "EMRE", "FATIMA", "GRACE", "HIRO", "INÊS", "JOHN", "KATHARINA", "LARS", "MAÏA", "NOOR", "OLU", "PRIYA"}
}

func lastNames() []string {
	return []string{"ABADI", "BJÖRK", "CASTELLANOS", "D'ARCY", "ÉLUARD", "FUKUDA", "GARCÍA", "HOLM", "IVANOVA", "JANSEN", "KOWALSKI", "LÖWE", "MÜLLER", "NWOSU", "O'HARA", "PEREIRA"}
}
