// Package change is the vocabulary of captured changes: GTIDs and positions, tables and rows, and the block, which is the
// unit that Rowhook appends to its log.
//
// A block is a Protobuf message (proto/rowhook/v1/block.proto). [Builder] writes it straight into bytes, one row image at a
// time and without an allocation per row; [Parse] reads it in place, so that every value aliases the block's bytes and is
// valid as long as they are. Both are frozen by test vectors: a block written by any release is read by every later one.
//
// The package does no input or output, starts no goroutine and knows neither MySQL's wire format nor the log's engine.
package change
