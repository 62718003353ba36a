package main

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// watchKeys kills Rowhook for each k on standard input, until it or ctx ends.
func (d *demo) watchKeys(ctx context.Context, stdin *os.File) error {
	fd := int(stdin.Fd())
	buffer := make([]byte, 256)
	for ctx.Err() == nil {
		// A read could not be ended, so it is begun only when there is something to read.
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, int((100 * time.Millisecond).Milliseconds()))
		if errors.Is(err, unix.EINTR) || err == nil && n == 0 {
			continue
		}
		if err != nil {
			return nil // no keys, then
		}
		n, err = unix.Read(fd, buffer)
		if err != nil || n <= 0 {
			return nil
		}
		for _, key := range buffer[:n] {
			if key == 'k' || key == 'K' {
				d.daemon.kill()
			}
		}
	}
	return nil
}
