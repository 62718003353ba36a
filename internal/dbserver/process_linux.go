package dbserver

import "syscall"

// childAttr makes the kernel kill the child when the thread that started it ends, and keeps the
// terminal's Ctrl-C for us: we stop the server ourselves.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
