package api

import "syscall"

// privateFromBirth gives the socket its mode before it has a name, so that at no moment others can connect to it.
func privateFromBirth(_, _ string, c syscall.RawConn) error {
	var failed error
	if err := c.Control(func(fd uintptr) { failed = syscall.Fchmod(int(fd), 0o600) }); err != nil {
		return err
	}
	return failed
}
