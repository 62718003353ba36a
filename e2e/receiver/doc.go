// Package receiver is a webhook receiver that trusts nobody: it verifies every request, remembers what came in which order, and
// misbehaves when it is told to. Tests, the demo and benchmarks aim Rowhook at it.
//
// It owns one HTTP server and one compact record for each request. It guarantees that a request is recorded as accepted before its
// sender can know so, that arrivals and answers are counted on one clock, so that "accepted before the next one arrived" can be read
// off two numbers, and that memory stays bounded: above Options.Keep the oldest records are forgotten, and the count of the forgotten
// is told.
//
// It knows nothing of Rowhook but the form of a delivery, shares no code with it other than the public package webhook, and does not
// judge: whether what came is what should have come is for its user to say.
package receiver
