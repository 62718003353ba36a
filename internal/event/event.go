package event

import "github.com/rowhook/rowhook/internal/change"

// Move says which side of a row's move to another tenant an event tells. See [Matcher.Each].
type Move uint8

// The sides of a move. An endpoint of a tenant gets MoveOut and MoveIn, one without a tenant MoveUpdate; no endpoint gets both.
const (
	// MoveNone is an ordinary event: the row stays with its tenant, or the type names none.
	MoveNone Move = iota
	// MoveUpdate is the update as it is, for those who see all tenants. Its Tenant is the new one.
	MoveUpdate
	// MoveOut is a delete for the old tenant.
	MoveOut
	// MoveIn is an insert for the new tenant.
	MoveIn
)

// Event is one change as one type sees it. It is valid only within the call that gave it: its strings may be kept, everything
// else is reused and aliases the block.
type Event struct {
	// ID is a pure function of the event's place in the source; see Identity.
	ID   string
	Type string
	// Subject and Tenant as the type's templates gave them; empty if it has none.
	Subject, Tenant string
	// Time of the commit, in microseconds of the Unix epoch.
	Time int64
	// Seq of the change; seq, type and Move are unique within a source.
	Seq    uint64
	Source Origin
	// Op that the event tells: Delete for MoveOut and Insert for MoveIn, else that of the change.
	Op   change.Op
	Move Move
	// Key is the hash of the order key. OtherKey is the hash of the key before an update that changed it, else 0: the event
	// holds both.
	Key, OtherKey uint64
	// Table of the row.
	Table *change.Table
	// Data are the columns that the type names, in its order: after the change, or before it for a delete.
	Data []Field
	// Changed names the columns that an update changed, among the type's data and columns; a column that one of the two images
	// did not carry is not named.
	Changed []string
	// Err, if set, says why the event is incomplete and must be parked. ID, Type, Time, Seq, Source, Op, Move and Key are valid even
	// then, and Tenant for MoveOut and MoveIn.
	Err *Error
	// Test is set for an event that was made up; see [Example].
	Test bool
}

// Field is one column of an event.
type Field struct {
	Column *change.Column
	Value  change.Value
}

// Origin is the place of an event in its source.
type Origin struct {
	// Name of the source.
	Name string
	// Server is the server_id of the server that committed the transaction.
	Server uint32
	// GTID of the transaction as text; empty if the source has none.
	GTID string
	// File and Offset of the transaction's start in the binlog.
	File   string
	Offset uint64
	// Ordinal among the changes of the transaction that are in the log, from 0.
	Ordinal uint64
}
