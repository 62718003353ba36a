// Package api is the control API over HTTP: OpenAPI 3.1 from code, keys, tenants, problem documents (RFC 9457), cursor pagination,
// idempotency keys and entity tags. It is served on a Unix socket, where the file's mode is the guard, and on the process's HTTP
// address, where a key is. It also holds the client that the command line uses.
//
// It decides nothing: a Backend, which is the running process, does. What it guarantees is that no request, however malformed, is
// answered with a 5xx unless the process itself has failed.
package api
