// Package e2e tests Rowhook from outside: the built binary, real MariaDB and MySQL servers, real receivers, and faults.
//
// Its oracle compares what the database's clients know to be committed with what an independent receiver got; Rowhook's own records
// are never asked. A workload commits and rolls back from several connections and keeps a book of what was committed, checked against
// the tables at the end. After a load with faults, the oracle holds that nothing is missing, nothing was made up, no row's versions
// came out of order, every repeat carries its first id and body, and no repeat has another cause than a crash or a failed answer.
//
// Everything random comes from one seed, which each failing test prints: ROWHOOK_SEED repeats it (as far as two processes can).
// ROWHOOK_KILLS says how often the kill tests kill. Tests named TestSoak… take minutes to hours and are left out by
// `go test -skip '^TestSoak'`, as `make test` does.
//
// The package has no code but tests; package receiver under it is for the demo and benchmarks, too.
package e2e
