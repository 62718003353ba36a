// Package mysql follows a MySQL or MariaDB server as a replica.
//
// A [Replica] connects twice: one connection receives the binlog, the other asks the server what the binlog does not say (its
// identity, what it has executed and purged, types of columns). [Replica.Follow] is one connection's life: it checks that the server
// can continue the given position without a gap, streams, and hands transactions and row images to a [Feed] in commit order.
//
// It guarantees that a transaction reaches the Feed whole or not at all, except when Follow ends inside it; that Commit is called
// only for what the server has committed; and that nothing which may carry changes of a wanted table is passed over: an event it
// cannot read exactly ends Follow with a [StopError], as does a position that the server cannot continue.
//
// Positions are GTID sets. Where a MySQL server has none, they are file and offset on that one server, and everything that could make
// them mean something else stops Follow (docs/decisions/0013).
//
// The package does not retry, does not remember where it was, and does not know the log: its caller does. go-mysql is used for login
// and framing only; event bodies are parsed here, and row images by [Decoder].
package mysql
