// Command demo shows Rowhook at work: `make demo` starts a private MariaDB with the Sakila database, a generator that plays its
// rental shop, the built rowhook binary that follows it with rowhook.yaml and types.yaml of this folder, and a receiver that
// verifies what arrives; and it draws what happens.
//
// It owns one temporary folder, in which everything is, and the processes of MariaDB and Rowhook. It guarantees that both are gone
// when it ends, however it ends, and that the account it closes with is honest: each committed change that a subscription asks for
// is booked before its COMMIT, with its values, and crossed out only when a verified request brought exactly that. Rowhook's own
// numbers play no part in it.
//
// It starts Rowhook again whenever a signal ended it, be it the demo's own kill -9 or somebody else's. It is not a test of Rowhook's
// promises under every fault; those are in e2e.
package main
