package capture

import "testing"

// Blocks wait for the append by number and by size: those of large rows must not pile up.
func TestQueueIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sizes []int
		want  bool
	}{
		{nil, false}, {[]int{1 << 20}, false}, {[]int{1 << 20, 1 << 20}, true}, {[]int{queueBytes}, false}, {[]int{queueBytes + 1}, true},
	} {
		w := &Writer{}
		for _, n := range c.sizes {
			w.queue = append(w.queue, cutBlock{bytes: make([]byte, n)})
		}
		if got := w.full(); got != c.want {
			t.Errorf("blocks of %v bytes: full is %v", c.sizes, got)
		}
	}
}
