package mysql

import (
	"errors"
	"slices"

	"github.com/rowhook/rowhook/internal/capture"
)

// Pass sets the transactions that an operator has given up. It holds for each Follow that begins afterwards.
func (r *Replica) Pass(skips []capture.Skip) {
	skips = slices.Clone(skips)
	r.skips.Store(&skips)
}

// passes are the transactions to pass over.
func (r *Replica) passes() []capture.Skip {
	if p := r.skips.Load(); p != nil {
		return *p
	}
	return nil
}

// givenUp reports whether the open transaction is one to pass over.
func (s *stream) givenUp() bool {
	return len(s.skips) > 0 && slices.ContainsFunc(s.skips, s.openSkip().Same)
}

// openSkip names the open transaction.
func (s *stream) openSkip() capture.Skip {
	t := s.tx.start
	return capture.Skip{GTID: t.GTID, File: t.File, Offset: t.Offset, FileCreated: t.FileCreated}
}

// placeSkip names an event outside all transactions: the one that was read last.
func (s *stream) placeSkip() capture.Skip {
	k := capture.Skip{File: s.file, Offset: s.end}
	if s.files != nil {
		k.FileCreated = s.files.read.created
	}
	return k
}

// passesOver reports whether an event belongs to what an operator has given up.
func (s *stream) passesOver(h eventHeader) bool {
	return s.tx.passed || h.kind == evIncident && !s.tx.open && slices.Contains(s.skips, s.placeSkip())
}

// passOver takes an event of a transaction that was given up. Nothing of it is looked at but its end, which is recorded, so that the
// position goes behind it; what cannot be read may hide the end, which is then where the next one begins.
func (s *stream) passOver(h eventHeader, body []byte) error {
	switch h.kind {
	case evGTID, evGTIDTagged, evMariaGTID, evAnonymousGTID:
		if err := s.endPassed(h.size); err != nil {
			return err
		}
		return s.begin(h, body)
	case evRotate:
		if err := s.endPassed(0); err != nil {
			return err
		}
		return s.rotate(body)
	case evQuery, evMariaQueryZip:
		return s.passQuery(h, body)
	case evXID, evXAPrepare, evTransactionPayload, evIncident:
		return s.endPassed(0)
	}
	return nil
}

// endPassed ends the passed transaction, so many bytes before the end of the event that was read last.
func (s *stream) endPassed(before uint32) error {
	if !s.tx.passed {
		return nil
	}
	s.tx.passed = false
	if !s.tx.open {
		return nil
	}
	s.log.Warn("a transaction was passed over: it is not in the log", "transaction", s.name(), "at", s.place())
	end := s.end
	s.end -= min(end, uint64(before))
	err := s.commit()
	s.end = end
	return err
}

// passQuery looks for the statement that ends the passed transaction.
func (s *stream) passQuery(h eventHeader, body []byte) (err error) {
	if h.kind == evMariaQueryZip {
		if body, err = inflateQuery(body); err != nil {
			return nil //nolint:nilerr // what cannot be read is what is given up
		}
	}
	schema, text, err := parseQuery(body)
	if err != nil {
		return nil //nolint:nilerr // what cannot be read is what is given up
	}
	kind := classifyStatement(schema, text)
	switch kind {
	case stmtDDL:
		s.decoder.Reset()
	case stmtBegin, stmtXAStart:
		s.tx.rowsMayFollow = true
		return nil
	}
	if kind == stmtCommit || kind == stmtRollback || kind == stmtXAFinish || !s.tx.rowsMayFollow && kind != stmtNothing {
		return s.endPassed(0)
	}
	return nil
}

// blame notes in an error which transaction it is about, where giving that one up is a way to go on.
func (s *stream) blame(err error) {
	var e *StopError
	if !errors.As(err, &e) || e.At != nil || !mayBePassed(e.Code) {
		return
	}
	var at capture.Skip
	switch {
	case s.tx.open:
		at = s.openSkip()
	case e.Code == CodeIncident:
		at = s.placeSkip()
	default:
		return
	}
	e.At = &at
}

// mayBePassed are the stops that are about one transaction; the others are about the server or the position.
func mayBePassed(code string) bool {
	switch code {
	case CodeIncident, CodeStatementChange, CodeXA, CodeUnfinished, CodeUnknownEvent, CodeMalformedEvent, CodeUndecodable, CodeRowMetadata,
		CodeUnsupportedColumn, CodePartialJSON:
		return true
	}
	return false
}

// skipCommand is what to type to give the open transaction up.
func (s *stream) skipCommand() string {
	k := s.placeSkip()
	if s.tx.open {
		k = s.openSkip()
	}
	flag := "--gtid " + k.GTID
	if k.GTID == "" {
		flag = "--position " + k.Place()
	}
	return "rowhook source skip " + s.source + " " + flag + " --reason '…' goes on behind it and records the gap."
}
