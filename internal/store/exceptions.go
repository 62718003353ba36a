package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/rowhook/rowhook/internal/deliver"
)

// LoadOptions say which exceptions to load, and how much of them.
type LoadOptions struct {
	// States to load, one after the other.
	States []deliver.ExceptionState
	// WithoutPayload leaves the payloads on the disk.
	WithoutPayload bool
}

// LoadExceptions calls f for each exception of a source in the named states; within a state they come in order of endpoint, seq and
// type. Only one is in memory at a time, and it is the callee's to keep. An error of f ends it and is returned, wrapped.
// f may write to the store; it should not take long, because the write-ahead log cannot shrink meanwhile.
func (s *Store) LoadExceptions(ctx context.Context, source string, opt LoadOptions, f func(deliver.Exception) error) error {
	payload := "payload"
	if opt.WithoutPayload {
		payload = "x''"
	}
	for _, state := range opt.States {
		err := s.query(ctx, fmt.Sprintf("load the %v exceptions of source %s", state, source),
			`SELECT source, endpoint, record, `+payload+` FROM exceptions WHERE source = ? AND state = ? ORDER BY endpoint, seq, type`,
			[]any{source, uint8(state)}, func(rows *sql.Rows) error {
				e, err := scanException(rows)
				if err != nil {
					return err
				}
				return f(e)
			})
		if err != nil {
			return err
		}
	}
	return nil
}

type scanner interface {
	Scan(dest ...any) error
}

func scanException(row scanner) (deliver.Exception, error) {
	var source, endpoint string
	var record, payload []byte
	if err := row.Scan(&source, &endpoint, &record, &payload); err != nil {
		return deliver.Exception{}, err
	}
	e, err := deliver.UnmarshalException(record)
	if err != nil {
		return deliver.Exception{}, fmt.Errorf("endpoint %s: %w", endpoint, err)
	}
	e.Source, e.Endpoint = source, endpoint
	if len(payload) > 0 {
		e.Payload = payload
	}
	return e, nil
}

// Exception returns one exception, payload included; false if there is none.
func (s *Store) Exception(ctx context.Context, k deliver.ExceptionKey) (deliver.Exception, bool, error) {
	e, err := scanException(s.reader.QueryRowContext(ctx,
		`SELECT source, endpoint, record, payload FROM exceptions WHERE source = ? AND endpoint = ? AND seq = ? AND type = ?`,
		k.Source, k.Endpoint, k.Seq, k.Type))
	if errors.Is(err, sql.ErrNoRows) {
		return deliver.Exception{}, false, nil
	}
	if err != nil {
		return deliver.Exception{}, false, s.failed(fmt.Sprintf("load exception %d %s of endpoint %s", k.Seq, k.Type, k.Endpoint), err)
	}
	return e, true, nil
}

// ExceptionsOfEvent returns an event's exceptions at all endpoints, without payloads.
func (s *Store) ExceptionsOfEvent(ctx context.Context, eventID string) ([]deliver.Exception, error) {
	var out []deliver.Exception
	err := s.query(ctx, "load the exceptions of event "+eventID,
		`SELECT source, endpoint, record, x'' FROM exceptions WHERE event_id = ? ORDER BY source, endpoint, seq, type`, []any{eventID},
		func(rows *sql.Rows) error {
			e, err := scanException(rows)
			if err == nil {
				out = append(out, e)
			}
			return err
		})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ExceptionCount is the number of an endpoint's exceptions in one state.
type ExceptionCount struct {
	Endpoint string
	State    deliver.ExceptionState
	Count    uint64
}

// CountExceptions counts the exceptions of a source by state and endpoint. It reads an index of them all, never the exceptions themselves.
func (s *Store) CountExceptions(ctx context.Context, source string) ([]ExceptionCount, error) {
	var out []ExceptionCount
	err := s.query(ctx, "count the exceptions of source "+source,
		`SELECT state, endpoint, COUNT(*) FROM exceptions WHERE source = ? GROUP BY state, endpoint ORDER BY state, endpoint`, []any{source},
		func(rows *sql.Rows) error {
			var c ExceptionCount
			if err := rows.Scan(&c.State, &c.Endpoint, &c.Count); err != nil {
				return err
			}
			out = append(out, c)
			return nil
		})
	if err != nil {
		return nil, err
	}
	return out, nil
}
