package eventlog

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 256 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			l := openLog(b, open(b, options(b)))
			b.SetBytes(int64(size))
			var took []time.Duration
			seq := uint64(1)
			for b.Loop() {
				b.StopTimer()
				blk, h := block(b, 1, seq, 1, size)
				b.StartTimer()
				start := time.Now()
				if err := l.Append(b.Context(), blk, h); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
				seq = h.NextSeq()
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// BenchmarkRoll appends to a new segment each time.
func BenchmarkRoll(b *testing.B) {
	o := options(b)
	o.segmentBytes = 1
	l := openLog(b, open(b, o))
	var took []time.Duration
	seq := uint64(1)
	for b.Loop() {
		blk, h := block(b, 1, seq, 1, 1000)
		start := time.Now()
		if err := l.Append(b.Context(), blk, h); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
		seq = h.NextSeq()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkHandOver measures from the start of an append to the moment a waiting reader has the block.
func BenchmarkHandOver(b *testing.B) {
	l := openLog(b, open(b, options(b)))
	r := l.NewReader(1)
	got := make(chan time.Time)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := r.Next(ctx); err != nil {
				return
			}
			got <- time.Now()
		}
	}()
	var took []time.Duration
	var after []time.Duration
	seq := uint64(1)
	for b.Loop() {
		blk, h := block(b, 1, seq, 1, 1000)
		start := time.Now()
		if err := l.Append(b.Context(), blk, h); err != nil {
			b.Fatal(err)
		}
		acked := time.Now()
		at := <-got
		took, after = append(took, at.Sub(start)), append(after, max(0, at.Sub(acked)))
		seq = h.NextSeq()
	}
	cancel()
	<-done
	slices.Sort(took)
	slices.Sort(after)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(after[len(after)/2].Microseconds()), "after-ack-p50-µs")
}

// BenchmarkCatchUp reads a log from the disk.
func BenchmarkCatchUp(b *testing.B) {
	for _, size := range []int{1 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			o := options(b)
			o.RingBytes = 1
			l := openLog(b, open(b, o))
			const blocks = 400
			for seq := uint64(1); seq <= blocks; seq++ {
				appendBlock(b, l, 1, seq, 1, size)
			}
			b.SetBytes(int64(size * blocks))
			for b.Loop() {
				r := l.NewReader(1)
				for range blocks {
					next(b, r)
				}
			}
		})
	}
}
