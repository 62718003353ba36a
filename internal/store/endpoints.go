package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/rowhook/rowhook/internal/deliver"
)

// EndpointStates returns every endpoint state that was ever set, in order of the endpoints' names. Times are in milliseconds, UTC.
func (s *Store) EndpointStates(ctx context.Context) ([]deliver.EndpointState, error) {
	var out []deliver.EndpointState
	err := s.query(ctx, "load the endpoints' states", `SELECT endpoint, disabled, paused, reason, at_ms FROM endpoint_states ORDER BY endpoint`, nil,
		func(rows *sql.Rows) error {
			var e deliver.EndpointState
			var at int64
			if err := rows.Scan(&e.Endpoint, &e.Disabled, &e.Paused, &e.Reason, &at); err != nil {
				return err
			}
			e.At = time.UnixMilli(at).UTC()
			out = append(out, e)
			return nil
		})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// SetEndpointState stores what an operator decided. A worker's decision goes through Commit, where its epoch is checked.
func (s *Store) SetEndpointState(ctx context.Context, e deliver.EndpointState) error {
	return s.update(ctx, "store the state of endpoint "+e.Endpoint, func(tx *sql.Tx) error {
		return putState(ctx, tx.StmtContext(ctx, s.stmt.putState), &e)
	})
}

func putState(ctx context.Context, stmt *sql.Stmt, e *deliver.EndpointState) error {
	_, err := stmt.ExecContext(ctx, e.Endpoint, e.Disabled, e.Paused, e.Reason, e.At.UnixMilli())
	return err
}
