package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Control sequences that every terminal of today knows.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // a screen of its own, without a cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// screen draws on a terminal in place, and writes lines anywhere else. Its methods may be called from any goroutine.
type screen struct {
	out      *os.File
	terminal bool

	mu      sync.Mutex
	drawing bool
}

func newScreen(out *os.File) *screen {
	_, err := unix.IoctlGetWinsize(int(out.Fd()), unix.TIOCGWINSZ)
	return &screen{out: out, terminal: err == nil && os.Getenv("TERM") != "dumb"}
}

// interval is the time between two pictures.
func (s *screen) interval() time.Duration {
	if s.terminal {
		return 250 * time.Millisecond
	}
	return time.Second
}

// say writes a line. What cannot be written is lost: the demo goes on without its audience.
func (s *screen) say(format string, args ...any) {
	fmt.Fprintf(s.out, format+"\n", args...)
}

// Write is for logs.
func (s *screen) Write(p []byte) (int, error) { return s.out.Write(p) }

// draw shows a view.
func (s *screen) draw(v view) {
	if !s.terminal {
		s.say("%s", v.line())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	width, height := s.size()
	var b strings.Builder
	if !s.drawing {
		b.WriteString(enterScreen)
		s.drawing = true
	}
	b.WriteString(home)
	lines := v.picture(height)
	for i, line := range lines[:min(len(lines), height-1)] {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(cut(line, width) + clearLine)
	}
	b.WriteString("\r\n" + clearBelow)
	_, _ = s.out.WriteString(b.String())
}

// size is that of the terminal, or the usual one if it does not say.
func (s *screen) size() (width, height int) {
	size, err := unix.IoctlGetWinsize(int(s.out.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 || size.Row < 2 {
		return 80, 24
	}
	return int(size.Col), int(size.Row)
}

// restore gives the terminal back as it was.
func (s *screen) restore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drawing {
		_, _ = s.out.WriteString(leaveScreen)
		s.drawing = false
	}
}

// cut shortens a line to a number of characters.
func cut(line string, width int) string {
	if utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:width-1]) + "…"
}
