// Package store keeps what Rowhook must remember beside the log: which log belongs to it, who owns which slot,
// how far endpoints have come, the events that wait or are parked, every attempt, what subscriptions cover; the
// endpoints, subscriptions and keys that the API makes, with their secrets encrypted; the versions of the event types.
// It also keeps the send journal, a plain file that knows of sends before their attempts are recorded.
//
// The store is an SQLite database, rowhook.db, in a folder of its own, which belongs to one process: a second one is
// refused by a lock that dies with its holder. Because of that, leases of an earlier process end when the store is
// opened; its epochs stay behind and are refused for ever.
//
// It guarantees that an epoch of a slot is minted once, that Commit writes a slot's records all together or, when the epoch is
// stale, not at all, and that what a method wrote is on the disk when it returns (WAL with synchronous=FULL). The journal
// survives the death of the process, not that of the machine.
//
// It does not decide anything about deliveries, does not retry, and is no queue. All methods may be called by many goroutines at once;
// writes take turns, reads do not wait for them. Methods that write should be given a context that is not cancelled at
// shutdown, or the last results are rolled back and their events sent again.
package store
