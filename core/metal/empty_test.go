// SPDX-License-Identifier: MIT

package metal

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
	metalsim "github.com/natten-mps/natten-mps/tests/metalsim/simulator"
)

func emptyKernel(name string) string {
	return fmt.Sprintf("#include <metal_stdlib>\nusing namespace metal;\nkernel void %s("+
		"constant uint& n [[buffer(0)]], device float* a [[buffer(1)]], device float* b [[buffer(2)]], "+
		"device float* c [[buffer(3)]], device float* d [[buffer(4)]], uint i [[thread_position_in_grid]]) {}\n", name)
}

// emptyJob returns a job with the parameter block and four tensors of a forward pass.
func emptyJob(t testing.TB, g *GPU, s *metalsim.Simulator) *Job {
	t.Helper()
	p, err := g.Pipeline("empty_launch", func() string { return emptyKernel("empty_launch") })
	require.NoError(t, err)
	bindings := []Binding{{Bytes: make([]byte, 600)}}
	for range 4 {
		memory := make([]float32, 64)
		handle := s.Call("metalsim_register", uintptr(unsafe.Pointer(&memory[0])), 256)
		tensor := &core.Tensor{Data: core.Address(handle)}
		bindings = append(bindings, Binding{Tensor: tensor, High: 256})
		t.Cleanup(func() { runtime.KeepAlive(memory) })
	}
	return &Job{Memory: core.Metal, Dispatches: []Dispatch{{
		Pipeline: p, Function: "empty_launch", Bindings: bindings, Groups: Size{1, 1, 1}, Threads: Size{32, 1, 1},
	}}}
}

// BenchmarkLaunch measures the CPU time of launching a kernel that does nothing,
// until it is encoded in torch's stream.
func BenchmarkLaunch(b *testing.B) {
	for name, route := range streams {
		if route == 0 {
			continue
		}
		b.Run(name, func(b *testing.B) {
			g, s := simulated(b)
			require.NoError(b, s.Set("mode", "fast"))
			use(b, g, s, route)
			job := emptyJob(b, g, s)
			times := make([]time.Duration, 1<<16) // of the most recent launches
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				started := time.Now()
				if err := g.Run(job); err != nil {
					b.Fatal(err)
				}
				times[n%len(times)] = time.Since(started)
				if n++; n%256 == 0 {
					b.StopTimer()
					s.Call("metalsim_stream_synchronize", 0)
					b.StartTimer()
				}
			}
			s.Call("metalsim_stream_synchronize", 0)
			times = times[:min(n, len(times))]
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Nanoseconds()), "median-ns/op")
			b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds()), "p99-ns/op")
		})
	}
}
