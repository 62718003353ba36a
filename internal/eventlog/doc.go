// Package eventlog is the durable log of changes: one JetStream stream for each source, kept by a NATS server that runs inside
// the process and listens on no port.
//
// It owns the folder of the log, the embedded server, and the way blocks lie in a stream. It guarantees that
//
//   - a block is on the disk, synced, when [Log.Append] returns nil;
//   - blocks of one log are in one order, each continuing the seq of the one before it, each exactly once;
//   - a writer that lost its place to another one can never append again ([ErrFenced]);
//   - a reader sees every block from the seq it asked for, or an error that names what is missing ([ErrExpired], [ErrCorrupt]);
//   - memory is bounded by [Options.RingBytes], a read ahead of about 1 MiB for each reader that is behind, and the server's
//     buffers of 8 MiB for the file being written and each file being read.
//
// A block is one JetStream message; one that is larger than [Options.MaxPayload] is several consecutive messages, of which a
// group that a crash cut short is ignored. Fresh blocks reach readers through a ring in memory, without a read of the disk.
//
// Appends are made one at a time. JetStream's fence compares sequence numbers only: were a second append sent before the first
// is acknowledged, another writer's block in between would refuse the first and let the second pass, and a block would be
// missing from the middle of the log.
//
// Opening a log that was closed takes milliseconds. After a kill the server reads the whole log again, about 0.6 s for each GB that
// the kernel still has in memory, because its saved index no longer fits the last file.
//
// The package does not decide who may write, does not remember how far anybody has read, and looks into a block only as far as
// its header.
package eventlog
