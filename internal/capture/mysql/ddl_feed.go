package mysql

import (
	"github.com/rowhook/rowhook/internal/change"
)

// definitions takes a statement that changes definitions: plans are void, and what it did to wanted tables is a change of its own, in
// the transaction that it stands in.
func (s *stream) definitions(schema string, text, body []byte) error {
	s.decoder.Reset()
	var wanted []change.SchemaChange
	for _, t := range s.names.tablesOf(schema, text, body) {
		s.schemas.touch(t)
		if s.wants(t) {
			wanted = append(wanted, change.SchemaChange{Schema: t.schema, Table: t.table, Kind: t.kind})
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	return s.feedSchemaChange(wanted)
}

// feedSchemaChange writes one change for the statement, however many tables it touches: which of them are followed may be another
// question after a restart in the middle, and the number of its changes must be the same then.
func (s *stream) feedSchemaChange(wanted []change.SchemaChange) error {
	b, skip, err := s.out.BeginRows(change.Insert, s.schemaChanges)
	if err == nil {
		if skip > 0 {
			err = s.out.Dropped()
		} else {
			err = s.writeSchemaChange(b, wanted)
		}
	}
	if s.out.open { // the feed holds a lock until then
		if ended := s.out.EndRows(); err == nil {
			err = ended
		}
	}
	return notOurs(err)
}

func (s *stream) writeSchemaChange(b *change.Builder, wanted []change.SchemaChange) error {
	b.BeginChange(change.Insert, s.schemaChanges)
	p, err := change.AppendSchemaChange(b.BeginRow(false), wanted)
	if err != nil {
		return err
	}
	b.EndRow(p, false, nil)
	b.EndChange()
	return s.out.Wrote()
}
