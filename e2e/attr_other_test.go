//go:build !linux

package e2e

import "syscall"

// childAttr is what there is without Pdeathsig.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
