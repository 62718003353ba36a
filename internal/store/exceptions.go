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

// EndpointExceptions returns at most limit of an endpoint's exceptions, without payloads, in order of source, seq and type: those
// behind the cursor, of which the Endpoint is not looked at. state, if not 0, keeps out others.
func (s *Store) EndpointExceptions(ctx context.Context, endpoint string, state deliver.ExceptionState, after deliver.ExceptionKey, limit int) ([]deliver.Exception, error) {
	doing := "load the exceptions of endpoint " + endpoint
	sources, err := s.strings(ctx, doing, `SELECT name FROM sources WHERE name >= ? ORDER BY name`, after.Source)
	if err != nil {
		return nil, err
	}
	var out []deliver.Exception
	// One source after the other, so that each is a walk along an index.
	for _, source := range sources {
		if source != after.Source {
			after = deliver.ExceptionKey{}
		}
		if err := s.exceptionsOf(ctx, doing, source, endpoint, state, after, limit-len(out), &out); err != nil || len(out) == limit {
			return out, err
		}
	}
	return out, nil
}

func (s *Store) exceptionsOf(ctx context.Context, doing, source, endpoint string, state deliver.ExceptionState, after deliver.ExceptionKey, limit int, out *[]deliver.Exception) error {
	where, args := `WHERE source = ? AND endpoint = ? AND (seq, type) > (?, ?)`, []any{source, endpoint, after.Seq, after.Type}
	if state != 0 {
		where, args = where+` AND state = ?`, append(args, uint8(state))
	}
	return s.query(ctx, doing, `SELECT source, endpoint, record, x'' FROM exceptions `+where+` ORDER BY seq, type LIMIT ?`, append(args, limit),
		func(rows *sql.Rows) error {
			e, err := scanException(rows)
			if err == nil {
				*out = append(*out, e)
			}
			return err
		})
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

// CountParked counts an endpoint's parked exceptions of one source, along an index.
func (s *Store) CountParked(ctx context.Context, source, endpoint string) (int64, error) {
	var n int64
	err := s.reader.QueryRowContext(ctx, `SELECT COUNT(*) FROM exceptions WHERE source = ? AND state = ? AND endpoint = ?`,
		source, uint8(deliver.Parked), endpoint).Scan(&n)
	return n, s.failed("count the parked events of endpoint "+endpoint, err)
}
