// Package deliver is the stage from a source's log to customers' endpoints: at least once, in order for each key, and so that no
// endpoint can hold up another.
//
//	log ─▶ live reader ──┐                    ┌─▶ worker ─▶ journal ─▶ sign ─▶ POST ─▶ outcome
//	                     ├─▶ route ─▶ lane ───┤                                          │
//	log ─▶ catch-up ─────┘   (one queue per   └─▶ waiting ─▶ retry                       ▼
//	                          endpoint)                             checkpoint: progress, exceptions, attempts ─▶ store
//
// A lane is what one endpoint gets of one source; a subscription that wants what its endpoint has passed gets one more, its
// backfill. A lane keeps a queue bounded in bytes; one whose queue is full stops being fed and lags: it keeps a cursor, and the
// catch-up reader serves it from the log in slices until it is back with the live reader. So a flood to one endpoint is a lag, not
// memory, and nobody else waits for it.
//
// Endpoints and the ranges of their subscriptions come, change and go while Run runs; see Engine.Subscribe and the methods beside it.
//
// Every event a lane has accepted is, at each moment, exactly one of: queued, in flight, done, or an exception (waiting for a
// retry, behind another event of its key, or parked). A checkpoint writes, at most every 100 ms and fenced by the epoch of the
// lane's slot, the floor below which all is done or an exception, what is done above it, the exceptions, and the attempts. A
// crash therefore repeats at most what was sent since the last checkpoint, with the same ids; the send journal says which.
//
// The package knows neither NATS nor SQL: app hands it a log and a store.
package deliver
