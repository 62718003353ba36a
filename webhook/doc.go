// Package webhook signs and verifies webhooks by the Standard Webhooks
// specification (https://www.standardwebhooks.com), and drops those that were
// handled already. It is what Rowhook signs with, and what a receiver written in
// Go can receive with. It needs nothing but the standard library.
//
// It owns the three headers, the content that is signed
// ("id.timestamp.body"), the text form of secrets and the two signature
// schemes: v1 (HMAC-SHA256, secrets "whsec_…") and v1a (Ed25519, signing keys
// "whsk_…" and public keys "whpk_…"). Several secrets may be in force at once,
// on both sides, so that a secret is replaced without a pause.
//
// It guarantees that a message which verifies was signed, byte for byte, by
// a holder of one of the secrets, at a time within the tolerance (five minutes
// unless told otherwise); that comparing takes the same time for right and
// wrong signatures; and that a [Secret] does not show its key when it is
// printed or logged, only when it is asked to by [Secret.Reveal].
//
// It does not send or retry. Delivery is at least once: an event whose answer
// was lost is sent again, with the same id, signed anew with the time of the new
// attempt, and verifies as well as the first. So a receiver must drop what it
// has handled, in the database transaction that does the work, and answer 2xx
// for it. [Inbox] does that for MySQL, MariaDB, PostgreSQL and SQLite, through
// database/sql: by id where an effect must happen once, by seq where a copy must
// be the newest. [ParseEvent] reads what was verified.
//
// The tolerance of timestamps is no substitute for that, and is no guide to how
// long ids must be kept: the last retry may come 75 hours and 35 minutes after
// the first attempt, and a replay, which is retried as well, may begin as long as
// the sender keeps its log (in Rowhook 96 hours by default). Keep ids longer than
// both together, as [DefaultHorizon] does.
package webhook
