package webhook_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
)

// pgxConnector gives database/sql connections of pgx: as much of a driver as the inbox and its tests need. pgx's own, in its package
// stdlib, comes with a pool that nothing here uses.
type pgxConnector struct{ config *pgx.ConnConfig }

func openPostgres(dsn string) (*sql.DB, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(pgxConnector{config}), nil
}

func (c pgxConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, c.config)
	if err != nil {
		return nil, err
	}
	return pgxConn{conn}, nil
}

func (c pgxConnector) Driver() driver.Driver { return c }

func (c pgxConnector) Open(string) (driver.Conn, error) { return c.Connect(context.Background()) }

type pgxConn struct{ conn *pgx.Conn }

func (c pgxConn) Close() error  { return c.conn.Close(context.Background()) }
func (c pgxConn) IsValid() bool { return !c.conn.IsClosed() }

func (c pgxConn) Prepare(string) (driver.Stmt, error) {
	return nil, errors.New("statements are not prepared by hand here")
}

func (c pgxConn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

func (c pgxConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	level, known := map[sql.IsolationLevel]pgx.TxIsoLevel{
		sql.LevelDefault: "", sql.LevelReadCommitted: pgx.ReadCommitted, sql.LevelRepeatableRead: pgx.RepeatableRead, sql.LevelSerializable: pgx.Serializable,
	}[sql.IsolationLevel(o.Isolation)]
	if !known {
		return nil, fmt.Errorf("isolation level %v", sql.IsolationLevel(o.Isolation))
	}
	tx, err := c.conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: level})
	if err != nil {
		return nil, err
	}
	return pgxTx{tx}, nil
}

func (c pgxConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	tag, err := c.conn.Exec(ctx, query, plain(args)...)
	if err != nil {
		return nil, err
	}
	return driver.RowsAffected(tag.RowsAffected()), nil
}

func (c pgxConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.conn.Query(ctx, query, plain(args)...)
	if err != nil {
		return nil, err
	}
	return pgxRows{rows}, nil
}

func plain(args []driver.NamedValue) []any {
	var out []any
	for _, a := range args {
		out = append(out, a.Value)
	}
	return out
}

type pgxTx struct{ tx pgx.Tx }

func (t pgxTx) Commit() error   { return t.tx.Commit(context.Background()) }
func (t pgxTx) Rollback() error { return t.tx.Rollback(context.Background()) }

type pgxRows struct{ rows pgx.Rows }

func (r pgxRows) Columns() []string {
	var names []string
	for _, f := range r.rows.FieldDescriptions() {
		names = append(names, f.Name)
	}
	return names
}

func (r pgxRows) Close() error {
	r.rows.Close()
	return r.rows.Err()
}

func (r pgxRows) Next(dest []driver.Value) error {
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return io.EOF
	}
	values, err := r.rows.Values()
	for i := range values {
		dest[i] = values[i]
	}
	return err
}
