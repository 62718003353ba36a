package capture

import "fmt"

// Skip names a transaction at which a source stopped, or which an operator gave up: it is passed over, and its end recorded as that
// of any other.
type Skip struct {
	// GTID of the transaction. Without one, File and Offset name it.
	GTID string
	// File and Offset are where it begins in the binlog; for an event outside all transactions, where that ends.
	File   string
	Offset uint64
	// FileCreated is the file's creation time in seconds of the Unix epoch, where transactions have no GTIDs; else 0.
	FileCreated uint32
}

// Place is "file:offset".
func (s Skip) Place() string { return fmt.Sprintf("%s:%d", s.File, s.Offset) }

// Name is what an operator calls it: its GTID, or else its place.
func (s Skip) Name() string {
	if s.GTID != "" {
		return s.GTID
	}
	return s.Place()
}

// Same reports whether both name one transaction. A GTID does so on every server.
func (s Skip) Same(o Skip) bool {
	if s.GTID != "" || o.GTID != "" {
		return s.GTID == o.GTID
	}
	return s == o
}

// Vanished are transactions that were captured and that the server lacks: a failover lost them.
type Vanished struct {
	// Has reports whether the transaction is one of them.
	Has func(gtid string) bool
	// After reports whether all of them were captured after a position with that GTID set.
	After func(set string) bool
}
