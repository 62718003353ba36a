package bench

import (
	"fmt"
	"io"
	"time"
)

// progressInterval keeps a long run's log readable.
const progressInterval = 2 * time.Second

// Progress tells somebody who waits how far a scenario is, in lines. It belongs to one goroutine.
type Progress struct {
	w     io.Writer
	began time.Time
	last  time.Time
}

// NewProgress returns a Progress that writes to w.
func NewProgress(w io.Writer) *Progress { return &Progress{w: w, began: time.Now()} }

// Step says what begins now.
func (p *Progress) Step(format string, args ...any) {
	p.last = time.Now()
	_, _ = fmt.Fprintf(p.w, "%5.1fs  %s\n", time.Since(p.began).Seconds(), fmt.Sprintf(format, args...)) // nothing can be done about a closed terminal
}

// Part says how much of the step is done, not too often.
func (p *Progress) Part(what string, done, all int) {
	if time.Since(p.last) < progressInterval && done < all {
		return
	}
	p.Step("%s: %s of %s (%d %%)", what, thousands(float64(done)), thousands(float64(all)), done*100/max(all, 1))
}
