// SPDX-License-Identifier: MIT

//go:build unix

package cpu

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/tests"
)

// further returns problems that are not in the benchmark table.
func further() []tests.Case {
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

// flops is the number of useful floating-point operations of a forward pass.
func flops(c *tests.Case) float64 {
	n := 4 * float64(c.Batch*c.Heads*c.HeadDim)
	for i := range c.Lengths {
		n *= float64(c.Lengths[i] * c.Kernel[i])
	}
	return n
}

// threadTime is the processor time of this thread. On a busy machine it is more accurate than
// wall-clock time.
func threadTime() time.Duration {
	var u syscall.Rusage
	const thread = 1 // RUSAGE_THREAD
	if syscall.Getrusage(thread, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure reports GFLOP/s by wall-clock time and, on one thread, by processor time.
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

// BenchmarkPeak measures the rate of multiply-adds on registers only.
func BenchmarkPeak(b *testing.B) {
	if kern.Active() == nil {
		b.Skip("portable kernels")
	}
	const rounds = 1 << 16
	measure(b, rounds*2*float64(kern.Active().PeakLanes), 1, func() { kern.Active().Peak(rounds) })
}

// BenchmarkCopy measures the bandwidth, read and written, of copies on all cores.
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

// contiguous adds dense tensors to the buffers. It takes their memory from held where that has
// the role, and allocates it otherwise.
func contiguous(n *core.Problem, rank int, roles []core.Role, b *core.Buffers, held map[core.Role][]float32) {
	state := uint32(1)
	for _, role := range roles {
		if !used(n, role) {
			continue
		}
		shape, size := n.Shape(role), int64(1)
		shape = append(shape[:1:1], shape[4-rank:]...)
		for i := len(shape) - 1; i >= 0; i-- {
			b.Tensors[role].Strides[i] = size
			size *= shape[i]
		}
		if held[role] == nil {
			held[role] = make([]float32, size)
			for i := range held[role] {
				state = state*1664525 + 1013904223
				held[role][i] = float32(int32(state)) / (1 << 31)
			}
		}
		b.Tensors[role].Data = kern.AddressOf(&held[role][0])
	}
}

// BenchmarkThreads prints the milliseconds that the problems of manyCores take on 1, 8 and 16
// goroutines, limited by the number of processors and measured interleaved. One round is
// enough: -benchtime 1x.
func BenchmarkThreads(b *testing.B) {
	for _, c := range manyCores() {
		held := map[core.Role][]float32{}
		for _, op := range []core.Op{core.AttnForward, core.AttnBackward} {
			p := c.Problem(op, core.Float32)
			n, err := p.Normalize()
			require.NoError(b, err)
			plan, err := core.NewPlan([]core.Backend{New()}, core.Auto, p)
			require.NoError(b, err)
			given := new(core.Buffers)
			contiguous(n, c.Rank, append(slices.Clone(inputsOf[op]), outputsOf[op]...), given, held)
			b.Run(fmt.Sprintf("%s/%v", c.Name, op), func(b *testing.B) {
				for b.Loop() {
					b.ReportMetric(0, "ns/op")
					for threads, ms := range turns(b, plan, given) {
						b.ReportMetric(ms, fmt.Sprintf("ms-%02d", threads))
					}
				}
			})
		}
	}
}

// turns returns the median time in milliseconds for each number of goroutines.
func turns(b *testing.B, plan *core.Plan, given *core.Buffers) map[int]float64 {
	const long = 150 * time.Millisecond // for each number of goroutines
	times, medians := map[int][]float64{}, map[int]float64{}
	for round, start := 0, time.Now(); round < 3 || time.Since(start) < 3*long; round++ {
		for _, threads := range []int{1, 8, 16} {
			if threads > runtime.GOMAXPROCS(0) {
				continue
			}
			buffers := *given // a run changes them
			buffers.Threads = threads
			begin := time.Now()
			require.NoError(b, plan.Run(&buffers))
			if round > 0 {
				times[threads] = append(times[threads], float64(time.Since(begin).Microseconds())/1000)
			}
		}
	}
	for threads, of := range times {
		slices.Sort(of)
		medians[threads] = of[len(of)/2]
	}
	return medians
}
