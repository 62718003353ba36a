//go:build !linux

package api

import "syscall"

// privateFromBirth does nothing where a socket has no mode before it has a name: there the mode of the folder is the guard until
// that of the socket is set.
func privateFromBirth(string, string, syscall.RawConn) error { return nil }
