// Package app is the process as a value: New opens what the configuration names, Run works until it is told to stop, Close lets
// everything go. It is the only package that knows all the others, and holds the adapters between the stages' small interfaces
// and what the log and the store offer.
package app
