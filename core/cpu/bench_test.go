// SPDX-License-Identifier: MIT

//go:build unix

package cpu

import (
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/tests"
)

// further are problems beside the rows of the benchmark table.
func further() []tests.Case {
	square := func(name string, batch, heads, depth int64, lengths []int64, kernel int64) tests.Case {
		c := tests.Case{Name: name, Rank: len(lengths), Batch: batch, Heads: heads, KVHeads: heads, HeadDim: depth, ValueDim: depth, Lengths: lengths}
		for range lengths {
			c.Kernel = append(c.Kernel, kernel)
			c.Dilation = append(c.Dilation, 1)
			c.Stride = append(c.Stride, 1)
			c.QueryStep = append(c.QueryStep, 1)
			c.Causal = append(c.Causal, false)
		}
		return c
	}
	grouped := square("2d-32x32-k7-8-heads-per-kv", 1, 8, 64, []int64{32, 32}, 7)
	grouped.KVHeads = 1
	return []tests.Case{
		square("2d-128x128-k13", 1, 1, 64, []int64{128, 128}, 13),
		square("3d-16x16x16-k7", 1, 2, 64, []int64{16, 16, 16}, 7),
		square("2d-32x32-k7-8-heads", 1, 8, 64, []int64{32, 32}, 7),
		grouped,
		square("1d-l16-h1-d8-k7", 1, 1, 8, []int64{16}, 7),
	}
}

// flops are the useful operations of a forward pass.
func flops(c *tests.Case) float64 {
	n := 4 * float64(c.Batch*c.Heads*c.HeadDim)
	for i := range c.Lengths {
		n *= float64(c.Lengths[i] * c.Kernel[i])
	}
	return n
}

// threadTime is the processor time of this thread, which tells more than a clock
// on a machine with other work.
func threadTime() time.Duration {
	var u syscall.Rusage
	const thread = 1 // RUSAGE_THREAD
	if syscall.Getrusage(thread, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure reports GFLOP/s by the clock and, on one thread, by processor time.
func measure(b *testing.B, work float64, threads int, run func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	run()
	start := threadTime()
	for b.Loop() {
		run()
	}
	used := threadTime() - start
	b.ReportMetric(work*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
	if threads == 1 {
		b.ReportMetric(work*float64(b.N)/float64(used.Nanoseconds()), "GFLOP/cpu-s")
	}
}

func BenchmarkRun(b *testing.B) {
	for _, c := range append(tests.Bench(), further()...) {
		for _, op := range []core.Op{core.AttnForward, core.AttnBackward} {
			for _, dtype := range []core.DType{core.Float32, core.Float16, core.BFloat16} {
				for threads := range 2 {
					b.Run(fmt.Sprintf("%s/%v/%v/threads-%d", c.Name, op, dtype, threads+1), func(b *testing.B) {
						work := flops(&c)
						if op == core.AttnBackward {
							work *= 2.5
						}
						measure(b, work, threads+1, timed(b, c.Problem(op, dtype), threads+1))
					})
				}
			}
		}
	}
}

// BenchmarkPeak measures multiply-adds in registers only.
func BenchmarkPeak(b *testing.B) {
	if kern.Active() == nil {
		b.Skip("portable kernels")
	}
	const rounds = 1 << 16
	measure(b, rounds*2*float64(kern.Active().PeakLanes), 1, func() { kern.Active().Peak(rounds) })
}

// BenchmarkCopy measures bytes read and written by copies on all cores.
func BenchmarkCopy(b *testing.B) {
	for _, mega := range []int{8, 32, 128, 512} {
		b.Run(fmt.Sprintf("%dMB", mega), func(b *testing.B) {
			cores := runtime.GOMAXPROCS(0)
			n := mega << 20 / 2 / 8 / cores
			var src, dst [][]uint64
			for range cores {
				src, dst = append(src, make([]uint64, n)), append(dst, make([]uint64, n))
			}
			b.SetBytes(int64(2 * 8 * n * cores))
			for b.Loop() {
				var wait sync.WaitGroup
				for i := range cores {
					wait.Go(func() { copy(dst[i], src[i]) })
				}
				wait.Wait()
			}
		})
	}
}
