package main

import "syscall"

// childAttr keeps Ctrl-C from the child, which is the demo's to stop, and makes the kernel kill it when the demo dies.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
