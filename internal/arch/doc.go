// Package arch holds the rules about where code may stand and what it may
// import, as a test. It has no code of its own to use.
//
// The rules are those of ARCHITECTURE.md: imports go down only, two stages or
// two adapters never import each other, each technology stays in its room, the
// vocabulary does no I/O, and the few house rules that a compiler cannot see.
// A new package is first given its place in rules_test.go; until then the test
// fails.
package arch
