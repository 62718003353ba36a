package mysql

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"time"

	"github.com/rowhook/rowhook/internal/capture"
	"github.com/rowhook/rowhook/internal/change"
)

// stream turns the events of one connection into calls of a Feed. All of it runs on the goroutine that reads the connection.
type stream struct {
	flavor  change.Flavor
	decoder *Decoder
	feed    Feed
	out     rowsOut
	log     *slog.Logger
	// typesErr is why the server could not be asked for column types; it passes through the decoder, but is no fault of the row.
	typesErr error

	names names
	wants func(touched) bool // whether a statement that touches it is told
	// schemaChanges is the table that they are told in.
	schemaChanges *change.Table
	schemas       *schemas

	file        string
	end         uint64 // offset after the last event of the file
	files       *files // nil where transactions have GTIDs
	checksummed bool
	payloads    payloadReader
	tx          openTx
	// commitLater is set while a payload is decoded whose checksum is not known yet; commitDue when its transaction has ended.
	commitLater, commitDue bool

	skips  []capture.Skip // to be passed over
	source string         // its name

	// err is why the stream ended, if it was not the connection.
	err error
}

// openTx is the transaction whose GTID was read last, until its end.
type openTx struct {
	open bool
	// rowsMayFollow is set after BEGIN; a transaction without it is one statement.
	rowsMayFollow bool
	// xa is set inside the first half of an XA transaction, which may yet be rolled back.
	xa bool
	// fed is set once the feed knows of it: rows went there.
	fed bool
	// passed is set while it is passed over, because an operator gave it up.
	passed bool
	start  change.Transaction
	gtid   change.GTID
}

func newStream(ctx context.Context, r *Replica, s *session, feed Feed) *stream {
	st := &stream{flavor: s.flavor, feed: feed, log: r.log, skips: r.passes(), source: r.cfg.Source, wants: r.tables.wantsAny, schemaChanges: change.NewSchemaChangesTable(),
		names: names{flavor: s.flavor, lower: s.lowerNames()}}
	st.out = rowsOut{Feed: feed, s: st}
	st.schemas = newSchemas(ctx, r, s, st.names, func() { feed.Heard(time.Now()) })
	st.decoder = NewDecoder(DecoderOptions{
		Flavor: s.flavor, Wanted: r.tables.wanted, Exclude: r.tables.excluded,
		ColumnTypes: func(schema, table string) (map[string]string, error) {
			types, err := s.columnTypes(ctx, schema, table)
			if err != nil {
				st.typesErr = err
			}
			return types, err
		},
		Schema: func(schema, table string) (*tableSchema, error) {
			t, err := st.schemas.of(place{file: st.file, offset: st.end}, schema, table)
			if err != nil && !errors.Is(err, errUncertain) {
				st.typesErr = err
			}
			return t, err
		},
	})
	return st
}

// rowsOut stands between decoder and feed: it opens the transaction at its first wanted row, and remembers the feed's errors, which
// are not the decoder's.
type rowsOut struct {
	Feed
	s    *stream
	open bool
	err  error
}

// BeginRows implements Rows.
func (o *rowsOut) BeginRows(op change.Op, t *change.Table) (*change.Builder, uint64, error) {
	if err := o.s.beginRows(t); err != nil {
		o.err = err
		return nil, 0, err
	}
	b, skip, err := o.Feed.BeginRows(op, t)
	o.open = err == nil
	return b, skip, o.note(err)
}

// Dropped implements Rows.
func (o *rowsOut) Dropped() error { return o.note(o.Feed.Dropped()) }

// Wrote implements Rows.
func (o *rowsOut) Wrote() error { return o.note(o.Feed.Wrote()) }

// EndRows implements Rows.
func (o *rowsOut) EndRows() error {
	o.open = false
	return o.note(o.Feed.EndRows())
}

func (o *rowsOut) note(err error) error {
	if err != nil && o.err == nil {
		o.err = err
	}
	return err
}

// beginRows checks that rows may stand here, and tells the feed of the transaction.
func (s *stream) beginRows(t *change.Table) error {
	if s.tx.xa {
		return stop(CodeXA, s.skipHint("End it with XA COMMIT or XA ROLLBACK and keep XA off the captured tables."),
			"transaction %s changes %s in an XA transaction at %s; those are not followed yet", s.name(), t.FullName(), s.place())
	}
	return s.beginFeed()
}

func (s *stream) beginFeed() error {
	if s.tx.fed {
		return nil
	}
	s.tx.fed = true
	return s.feed.Begin(s.tx.start, s.tx.gtid)
}

// event takes one event as it stands in the file. It is not kept.
func (s *stream) event(raw []byte) error {
	h, err := parseHeader(raw)
	if err != nil {
		return s.fault(err)
	}
	body := raw[headerSize:]
	if h.kind == evFormatDescription {
		return s.fault(s.format(h, body))
	}
	if s.checksummed {
		if len(body) < checksumSize {
			return s.fault(malformedEvent("event of type %d has no checksum", h.kind))
		}
		body = body[:len(body)-checksumSize]
		end := headerSize + len(body)
		if crc32.ChecksumIEEE(raw[:end]) != binary.LittleEndian.Uint32(raw[end:]) {
			return s.fault(s.damaged(h))
		}
	}
	if h.kind == evHeartbeat || h.kind == evHeartbeatV2 {
		return s.idle()
	}
	skip, err := s.advance(h)
	if err != nil || skip {
		return s.fault(err)
	}
	return s.fault(s.dispatch(h, body))
}

// advance goes behind an event of the file, and reports whether to pass over it.
func (s *stream) advance(h eventHeader) (skip bool, err error) {
	switch {
	case h.flags&flagArtificial != 0:
		return false, nil
	case s.files != nil:
		s.end, skip, err = s.files.advance(s.end, h)
		return skip && h.kind != evRotate, err
	case h.kind != evRotate:
		s.end = endOffset(s.end, h)
	}
	return false, nil
}

// idle is called when the server has nothing to send.
func (s *stream) idle() error {
	if s.files == nil {
		return nil
	}
	return s.fault(s.files.idle())
}

// ended implements events.
func (s *stream) ended() error { return s.err }

// dispatch handles an event of the file, or of a payload.
func (s *stream) dispatch(h eventHeader, body []byte) error {
	switch {
	case s.passesOver(h):
		return s.passOver(h, body)
	case isRows(h.kind):
		return s.rows(h, body)
	case harmless(h.kind):
		return nil
	}
	switch h.kind {
	case evTableMap:
		return s.tableMap(body)
	case evXID:
		return s.commit()
	case evGTID, evGTIDTagged, evMariaGTID:
		return s.begin(h, body)
	case evQuery, evMariaQueryZip:
		return s.query(h, body)
	case evRotate:
		return s.rotate(body)
	case evTransactionPayload:
		return s.payload(body)
	case evXAPrepare:
		return s.commit() // without wanted rows, or it would have stopped before
	case evExecuteLoad:
		return s.statementChange()
	case evIncident:
		return stop(CodeIncident, s.skipHint("Find in the server's error log what was lost, and tell the receivers."),
			"the server says at %s that its binlog lacks changes (an INCIDENT event)", s.place())
	case evAnonymousGTID:
		if s.files != nil {
			return s.begin(h, body)
		}
		return stop(CodeNoGTID, noGTIDHint, "a transaction at %s has no GTID", s.place())
	}
	if h.flags&flagIgnorable != 0 {
		return nil
	}
	return stop(CodeUnknownEvent, "This release does not know the server's version. Look for a newer release of Rowhook.",
		"event of the unknown type %d at %s may carry changes", h.kind, s.place())
}

// format begins a file, or goes on in one.
func (s *stream) format(h eventHeader, body []byte) (err error) {
	s.checksummed, err = parseFormat(body)
	s.decoder.Reset()
	if err != nil {
		return err
	}
	if err := s.abandon(); err != nil || s.files == nil {
		return err
	}
	first, err := s.files.begin(s.file, s.end, h.timestamp)
	if err != nil {
		return err
	}
	if s.end == fileStart { // further on it is a copy of the one at the file's start
		if s.end, _, err = s.files.advance(s.end, h); err != nil {
			return err
		}
	}
	if first {
		return nil
	}
	return notOurs(s.feed.Moved(s.file, s.files.read.created, fileStart))
}

func (s *stream) rotate(body []byte) error {
	file, pos, err := parseRotate(body)
	if err != nil {
		return err
	}
	s.file, s.end = file, pos
	return nil
}

// name is what people call the transaction: its GTID, or else the place where it begins.
func (s *stream) name() string {
	if s.files != nil {
		return fmt.Sprintf("%s:%d", s.tx.start.File, s.tx.start.Offset)
	}
	return s.tx.start.GTID
}

// abandon drops a transaction that the server never finished: it died while it wrote it.
func (s *stream) abandon() error {
	if s.tx.passed {
		return s.endPassed(0)
	}
	if s.tx.open && s.tx.fed {
		return s.unfinished("is not finished in the binlog, because the server died while writing it")
	}
	s.tx.open = false
	return nil
}

func (s *stream) unfinished(what string) error {
	return stop(CodeUnfinished, s.skipHint("Its rows are not in the tables."), "transaction %s at %s %s", s.name(), s.place(), what)
}

// begin opens a transaction. The feed hears of it with its first row, or with its end.
func (s *stream) begin(h eventHeader, body []byte) error {
	if err := s.abandon(); err != nil {
		return err
	}
	e, err := parseAnyGTID(h, body)
	if err != nil {
		return err
	}
	if e.commitTime == 0 {
		e.commitTime = int64(h.timestamp) * 1e6
	}
	s.tx = openTx{open: true, rowsMayFollow: h.kind == evMariaGTID && !e.standalone, xa: e.prepared, gtid: e.gtid}
	s.tx.start = change.Transaction{
		GTID: e.gtid.String(), CommitTime: e.commitTime, File: s.file, Offset: s.end - min(s.end, uint64(h.size)), ServerID: h.serverID,
	}
	if s.files != nil { // some may have GTIDs, but the place is what names all of them
		s.tx.gtid, s.tx.start.GTID, s.tx.start.FileCreated = change.GTID{}, "", s.files.read.created
		s.files.partial = false
	}
	s.tx.passed = s.givenUp()
	return nil
}

func parseAnyGTID(h eventHeader, body []byte) (gtidEvent, error) {
	switch h.kind {
	case evGTID, evAnonymousGTID: // the same, with zeros for the GTID
		return parseGTID(body)
	case evGTIDTagged:
		return parseTaggedGTID(body)
	default:
		return parseMariaGTID(h, body)
	}
}

// commit ends the transaction.
func (s *stream) commit() error {
	if !s.tx.open {
		return malformedEvent("a transaction ends that did not begin")
	}
	if s.commitLater {
		s.commitDue = true
		return nil
	}
	if err := s.beginFeed(); err != nil {
		return notOurs(err)
	}
	s.tx.open = false
	return notOurs(s.feed.Commit(s.file, s.end))
}

func (s *stream) tableMap(body []byte) error {
	if !s.tx.open || !s.tx.rowsMayFollow {
		return malformedEvent("rows outside a transaction")
	}
	return s.decodeError(s.decoder.TableMap(body))
}

func (s *stream) rows(h eventHeader, body []byte) error {
	if !s.tx.open || !s.tx.rowsMayFollow {
		return malformedEvent("rows outside a transaction")
	}
	err := s.decoder.Rows(h.kind, body, &s.out)
	if s.out.open { // the feed holds a lock until then
		err = errors.Join(err, s.out.EndRows())
	}
	if s.out.err != nil {
		return notOurs(s.out.err)
	}
	return s.decodeError(err)
}

// query handles a statement, which in row format is a mark of the transaction or a change of definitions.
func (s *stream) query(h eventHeader, body []byte) (err error) {
	if h.kind == evMariaQueryZip {
		if body, err = inflateQuery(body); err != nil {
			return err
		}
	}
	schema, text, err := queryParts(body)
	if err != nil {
		return err
	}
	if s.tx.open && !s.tx.rowsMayFollow && string(text) == "BEGIN" { // how nearly all transactions of MySQL begin
		return s.openingStatement(stmtBegin)
	}
	kind := classifyStatement(string(schema), text)
	switch {
	case kind == stmtChange:
		return s.statementChange()
	case !s.tx.open:
		if kind == stmtNothing {
			return nil
		}
		return malformedEvent("a statement outside a transaction")
	case kind == stmtDDL:
		if err := s.definitions(string(schema), text, body); err != nil {
			return err
		}
	}
	if !s.tx.rowsMayFollow {
		return s.openingStatement(kind)
	}
	return s.innerStatement(kind)
}

// openingStatement is the first one after the GTID: BEGIN, or the only one.
func (s *stream) openingStatement(kind statement) error {
	switch kind {
	case stmtBegin, stmtXAStart:
		s.tx.rowsMayFollow, s.tx.xa = true, kind == stmtXAStart
		return nil
	}
	return s.commit()
}

// innerStatement stands in a transaction that may have rows.
func (s *stream) innerStatement(kind statement) error {
	switch kind {
	case stmtCommit, stmtXAFinish:
		return s.commit()
	case stmtRollback:
		if s.tx.fed {
			return s.unfinished("was rolled back after its rows were written to the binlog")
		}
		return s.commit()
	case stmtRollbackTo:
		if s.tx.fed {
			return s.unfinished("was rolled back in part after its rows were written to the binlog")
		}
	case stmtXAStart:
		s.tx.xa = true
	}
	return nil
}

func (s *stream) statementChange() error {
	return stop(CodeStatementChange, s.skipHint("SET GLOBAL binlog_format = 'ROW'; and let no session change it."),
		"transaction %s at %s changes rows by a statement, and the binlog does not say which rows", s.name(), s.place())
}

func (s *stream) place() string { return fmt.Sprintf("%s:%d", s.file, s.end) }

// skipHint ends a hint with the way past a transaction that nothing can be done about.
func (s *stream) skipHint(hint string) string {
	return hint + " If the transaction must be given up: " + s.skipCommand()
}

// outsideError is passed on as it is: an error of the feed, or of the second connection.
type outsideError struct{ error }

func (e outsideError) Unwrap() error { return e.error }

// notOurs marks an error that is no fault of the binlog.
func notOurs(err error) error {
	if err == nil {
		return nil
	}
	return outsideError{err}
}

func (s *stream) decodeError(err error) error {
	switch {
	case err == nil:
		return nil
	case s.typesErr != nil: // a lost connection; the next one asks again
		return notOurs(err)
	}
	code, hint := CodeUndecodable, "Look for a newer release of Rowhook, or exclude the column."
	switch {
	case errors.Is(err, ErrRowMetadata):
		code, hint = CodeRowMetadata, "SET GLOBAL binlog_row_metadata = 'FULL'; rows that were written before cannot be read any more."
	case errors.Is(err, ErrUnsupportedColumn):
		code, hint = CodeUnsupportedColumn, "Name the column under exclude_columns."
	}
	e := stop(code, s.skipHint(hint), "a row of transaction %s at %s is not captured", s.name(), s.place())
	e.Err = err
	return e
}

// fault ends the stream: what is not understood must not be passed over.
func (s *stream) fault(err error) error {
	if err == nil {
		return nil
	}
	var st *StopError
	var outside outsideError
	switch {
	case errors.As(err, &outside):
		err = outside.error
	case !errors.As(err, &st):
		e := stop(CodeMalformedEvent, "Check the binlog with mysqlbinlog --verify-binlog-checksum; if it is sound, report a bug.",
			"an event at %s is not understood", s.place())
		e.Err = err
		err = e
	}
	s.blame(err)
	s.err = err
	return err
}
