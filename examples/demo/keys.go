package main

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// watchKeys kills Rowhook for each k on standard input, until that or ctx ends. The demo goes on without keys.
func (d *demo) watchKeys(ctx context.Context, stdin *os.File) {
	fd := int(stdin.Fd())
	buffer := make([]byte, 256)
	for ctx.Err() == nil {
		// A read could not be ended, so it is begun only when there is something to read.
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, int((100 * time.Millisecond).Milliseconds()))
		if n > 0 {
			n, err = unix.Read(fd, buffer)
			if n == 0 {
				break // the end of a file or a pipe
			}
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			d.screen.say("keys have no effect: %v", err)
			break
		}
		for _, key := range buffer[:max(n, 0)] {
			if key == 'k' || key == 'K' {
				d.daemon.kill()
			}
		}
	}
}
