//go:build !linux

package main

import "syscall"

// childAttr keeps Ctrl-C from the child. Only Linux can tie its life to ours as well.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
