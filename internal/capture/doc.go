// Package capture is the stage from a source to its log: one loop per source.
//
//	Source.Follow ──rows──▶ Writer ──blocks──▶ Log.Append
//
// The log is the checkpoint. [Capture.Run] reads the last block, lets the source go on from the position in it, and appends what
// comes; after any failure it starts again from the last block, so that every change is in the log exactly once and there is no
// second place to disagree. Rows that are in the log already, because the last block ended inside a transaction, are skipped by
// count.
//
// A block is what arrived while the previous append was in flight: at most [BlockBytes], or four times that in bulk. An idle
// source's commit is appended at once. Memory is bounded by four blocks: one being filled, two waiting, one being appended; five
// for the moment in which [Capture.SetTypesVersion] cuts one early.
//
// Each block says with which version of the event types its changes are to be read. A new version begins between two blocks, with
// a marker that holds no changes, and may begin inside a transaction.
//
// The package does not know MySQL's protocol (see capture/mysql) nor the log's engine (see eventlog).
package capture
