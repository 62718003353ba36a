// Package eventlog is the durable log of changes, kept by a NATS server that runs inside the process and listens on no port. A
// source's log is a chain of JetStream streams, its segments, which callers see as one log.
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
// A segment is closed at about 1 GiB by a seal, an append like any other, and the next one goes on with the sequence after it; so
// the fence holds from segment to segment. A block never spans two of them. A crash between the seal and the next segment is
// made good by whoever opens the log. Segments of which every block has expired are deleted when the log is opened and when a
// segment begins, never the newest.
//
// [Log.SeqAt] finds the changes from a time on. [Server.Import] makes a log anew from the blocks that a reader of another one gave.
//
// Opening a log that was closed takes milliseconds. After a kill the server reads again the segments written to in the last two and
// a half minutes, whose saved index no longer fits: about 0.45 s of a processor for each GB that the kernel still has in memory, as
// many segments at once as there are processors. Some damage could make that reading endless; [Open] gives up then.
//
// The package does not decide who may write, does not remember how far anybody has read, and looks into a block only as far as
// its header.
package eventlog
