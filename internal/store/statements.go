package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// attemptRows is how many attempts one statement inserts. Fifty would be better but for the driver, which looks for each
// argument of a statement among all of them.
const attemptRows = 20

const attemptColumns = `event_id, endpoint, source, seq, type, attempt, epoch, started_us, duration_us, status, outcome, cause, error, body_sha256`

const attemptColumnCount = 14

// statements are prepared once on the writing connection, for what runs many times a second.
type statements struct {
	slotEpoch, claim, renew, release *sql.Stmt

	fence, readSeq                *sql.Stmt
	putProgress, clearProgress    *sql.Stmt
	putException, deleteException *sql.Stmt
	putExpired, putState          *sql.Stmt
	putRange                      *sql.Stmt
	attempt, attemptBlock         *sql.Stmt
}

func (st *statements) prepare(ctx context.Context, db *sql.DB) error {
	row := "(" + strings.Repeat("?, ", attemptColumnCount-1) + "?)"
	// ROLLBACK, because the whole batch goes anyway: it spares SQLite a journal for taking back half a statement.
	insertAttempts := `INSERT OR ROLLBACK INTO attempts (` + attemptColumns + `) VALUES `
	for _, p := range []struct {
		stmt  **sql.Stmt
		query string
	}{
		{&st.slotEpoch, `SELECT epoch FROM slots WHERE slot = ?`},
		{&st.claim, `UPDATE slots SET epoch = ?, owner = ?, until_ms = ? WHERE slot = ? AND epoch = ?
			AND (owner = '' OR owner = ? OR until_ms < ?)`},
		{&st.renew, `UPDATE slots SET until_ms = ? WHERE slot = ? AND epoch = ? AND owner = ?`},
		// The epoch moves on, so that a write still on its way from the releaser is refused.
		{&st.release, `UPDATE slots SET epoch = epoch + 1, owner = '', until_ms = 0 WHERE slot = ? AND epoch = ? AND owner = ?`},

		// It changes nothing: that it finds its row is the proof, and it holds the row until the transaction ends.
		{&st.fence, `UPDATE slots SET epoch = epoch WHERE slot = ? AND epoch = ?`},
		{&st.readSeq, `INSERT INTO slot_progress (source, slot, read_seq) VALUES (?, ?, ?)
			ON CONFLICT (source, slot) DO UPDATE SET read_seq = excluded.read_seq WHERE excluded.read_seq > read_seq`},
		{&st.putProgress, `INSERT INTO endpoint_progress (source, endpoint, record) VALUES (?, ?, ?)
			ON CONFLICT (source, endpoint) DO UPDATE SET record = excluded.record`},
		{&st.clearProgress, `DELETE FROM endpoint_progress WHERE source = ? AND endpoint = ?`},
		{&st.putException, `INSERT INTO exceptions (source, endpoint, seq, type, state, event_id, record, payload)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (source, endpoint, seq, type) DO UPDATE SET
			state = excluded.state, event_id = excluded.event_id, record = excluded.record, payload = excluded.payload`},
		{&st.deleteException, `DELETE FROM exceptions WHERE source = ? AND endpoint = ? AND seq = ? AND type = ?`},
		{&st.putExpired, `INSERT INTO expired (source, endpoint, first_seq, last_seq, at_ms) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (source, endpoint, first_seq) DO UPDATE SET last_seq = excluded.last_seq, at_ms = excluded.at_ms
			WHERE excluded.last_seq > last_seq`},
		{&st.putState, `INSERT INTO endpoint_states (endpoint, disabled, paused, reason, at_ms) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (endpoint) DO UPDATE SET disabled = excluded.disabled, paused = excluded.paused,
			reason = excluded.reason, at_ms = excluded.at_ms`},
		{&st.putRange, putRangeQuery},
		{&st.attempt, insertAttempts + row},
		{&st.attemptBlock, insertAttempts + strings.Repeat(row+", ", attemptRows-1) + row},
	} {
		stmt, err := db.PrepareContext(ctx, p.query)
		if err != nil {
			return fmt.Errorf("prepare %q: %w", p.query, err)
		}
		*p.stmt = stmt // closed with the database
	}
	return nil
}
