//go:build !linux

package dbserver

import "syscall"

// childAttr has no way, on this system, to tie the child's life to ours.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
