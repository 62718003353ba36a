package bench

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/sync/errgroup"
)

const (
	// singleWriters commit side by side, so that they share the server's fsyncs.
	singleWriters = 8
	// singleChunk is how many transactions one call makes.
	singleChunk = 1000
)

// createSingle makes the procedure that inserts rows, each in a transaction of its own. The server does it without a question for
// each, which makes the backlog several times as fast.
const createSingle = `CREATE PROCEDURE insert_rows(first BIGINT, after BIGINT) BEGIN
	WHILE first < after DO
		INSERT INTO sheet_rows SELECT ` + sheetRow + ` FROM (SELECT first AS n) AS one;
		SET first = first + 1;
	END WHILE;
END`

func (b *backlog) prepareSingle(ctx context.Context, _ *Progress) error {
	if err := b.exec(ctx, createSheet, createSingle); err != nil {
		return err
	}
	if b.private == nil {
		return nil
	}
	// How the backlog comes into the binlog is not what is measured.
	return b.exec(ctx, "SET GLOBAL sync_binlog = 0", "SET GLOBAL innodb_flush_log_at_trx_commit = 0")
}

// commitSingle makes the transactions.
func (b *backlog) commitSingle(ctx context.Context, p *Progress) error {
	p.Step("committing %s transactions of one row", thousands(float64(b.rows)))
	connector, err := mysql.NewConnector(b.cfg)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", b.cfg.Addr, err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	chunks := make(chan int)
	began := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(chunks)
		for first := 1; first <= b.rows; first += singleChunk {
			select {
			case chunks <- first:
			case <-gctx.Done():
				return gctx.Err()
			}
			p.Part("committing transactions", first-1, b.rows)
		}
		return nil
	})
	for range singleWriters {
		g.Go(func() error {
			for first := range chunks {
				after := min(first+singleChunk, b.rows+1)
				if _, err := db.ExecContext(gctx, "CALL insert_rows(?, ?)", first, after); err != nil {
					return fmt.Errorf("commit transactions from %d on: %w", first, err)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	b.took = time.Since(began)
	if b.private == nil {
		return nil
	}
	return b.exec(ctx, "SET GLOBAL sync_binlog = 1", "SET GLOBAL innodb_flush_log_at_trx_commit = 1")
}
