// Package event is the vocabulary of events: event types (named rules from changes to events), how they are read from YAML,
// how a change is matched against them, and the identity and order key of the events that come out.
//
// Every type looks at every change on its own: the events of one type never depend on which other types exist. The id of an
// event is a pure function of its place in the source and of its type's name, frozen by test vectors. An expression or a
// template that fails on one change makes an event with Err set, which can be parked; it never stops the others.
//
// # Values in expressions
//
// The expression of a type (when) is CEL over before and after (maps from column to value), op, table, schema and changed
// (the names of the columns that an update changed). Integers are int, and uint only above the int range, so that
// after.qty + 1 and after.qty > 100 work on signed and unsigned columns alike; FLOAT and DOUBLE are double; DECIMAL stays
// exact and is therefore a string: write double(after.price) > 9.5 to compare it as a number. Text, JSON, dates and times
// are strings, binary values bytes, NULL is null. An insert has an empty before and a delete an empty after. Reading a column
// that is not there is an error, not false; has(after.x) asks first.
//
// After an update, a column that the image after the change left out (binlog_row_image=MINIMAL) was not changed, so that
// its value before stands for it.
//
// The package does no input or output and starts no goroutine. A Set is immutable and may be shared; a Matcher belongs to one
// goroutine.
package event
