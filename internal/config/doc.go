// Package config reads rowhook.yaml, and the environment variables it names,
// into a Config.
//
// It owns the keys of that file: their names, meanings, limits and defaults,
// each of which stands once, with its reason, in Keys. docs/configuration.md is
// made from that list.
//
// It is strict. An unknown key, a value of the wrong kind, a value out of its
// limits, a variable that is not set, a name that is used twice, a pattern that
// matches no file, and settings that contradict each other are errors. One Load
// reports all it finds, each with file, line, column, the line itself and what
// to type instead. No error quotes a secret, a DSN or a URL.
//
// It does not compile event types, connect to anything, or create a file.
package config
