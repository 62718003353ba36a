package change

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	rowhookv1 "github.com/rowhook/rowhook/gen/rowhook/v1"
)

// Position is a place in a source, and all that capture needs to go on from there.
type Position struct {
	// GTIDSet holds the transactions that are wholly in the log, as text.
	GTIDSet string
	// File and Offset are the binlog coordinates after the last whole transaction.
	File   string
	Offset uint64
	// Server identifies the server that the position was read from: server_uuid, or the server_id of a MariaDB.
	Server string
	// Partial is set inside a transaction.
	Partial *Partial
	// CommitTime of the last transaction seen, in microseconds of the Unix epoch; 0 before the first.
	CommitTime int64
	// FileCreated is the creation time of File in seconds of the Unix epoch. It is set where the position is File and Offset, and 0
	// where it is GTIDSet.
	FileCreated uint32
}

// ByFile reports whether the position is File and Offset on Server, because its source has no GTIDs.
func (p Position) ByFile() bool { return p.FileCreated != 0 }

// Partial says which rows of an unfinished transaction are in the log already.
type Partial struct {
	// GTID of the transaction, as text. Empty without GTIDs: then it is the transaction that begins next after the position, in the
	// same file.
	GTID string
	// Rows counts them by table. Counting by table makes it hold on another server, which may cut its events differently,
	// and when the list of captured tables changes.
	Rows []TableRows
}

// TableRows counts rows of one table in one transaction.
type TableRows struct {
	Schema, Name string
	Rows         uint64
}

// Marshal returns the position's frozen encoding.
func (p Position) Marshal() ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(p.proto())
	if err != nil {
		return nil, fmt.Errorf("encode position: %w", err)
	}
	return b, nil
}

// UnmarshalPosition reads what Marshal returned.
func UnmarshalPosition(b []byte) (Position, error) {
	var p rowhookv1.Position
	if err := proto.Unmarshal(b, &p); err != nil {
		return Position{}, malformed("position: %v", err)
	}
	return positionFromProto(&p), nil
}

func (p Position) proto() *rowhookv1.Position {
	out := &rowhookv1.Position{GtidSet: p.GTIDSet, File: p.File, Offset: p.Offset, Server: p.Server, CommitTimeUs: p.CommitTime, FileCreated: p.FileCreated}
	if p.Partial != nil {
		out.Partial = &rowhookv1.PartialTransaction{Gtid: p.Partial.GTID, Tables: tableRowsProto(p.Partial.Rows)}
	}
	return out
}

func positionFromProto(p *rowhookv1.Position) Position {
	out := Position{GTIDSet: p.GetGtidSet(), File: p.GetFile(), Offset: p.GetOffset(), Server: p.GetServer(), CommitTime: p.GetCommitTimeUs(),
		FileCreated: p.GetFileCreated()}
	if part := p.GetPartial(); part != nil {
		out.Partial = &Partial{GTID: part.Gtid, Rows: tableRowsFromProto(part.Tables)}
	}
	return out
}

func tableRowsProto(rows []TableRows) []*rowhookv1.TableRows {
	var out []*rowhookv1.TableRows
	for _, r := range rows {
		out = append(out, &rowhookv1.TableRows{Schema: r.Schema, Name: r.Name, Rows: r.Rows})
	}
	return out
}

func tableRowsFromProto(rows []*rowhookv1.TableRows) []TableRows {
	var out []TableRows
	for _, r := range rows {
		out = append(out, TableRows{Schema: r.Schema, Name: r.Name, Rows: r.Rows})
	}
	return out
}
