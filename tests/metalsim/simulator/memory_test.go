// SPDX-License-Identifier: MIT

package simulator

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const tileSource = `#include <metal_stdlib>
using namespace metal;
template <typename T, int N> kernel void tile(device T* out [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  threadgroup T a[N];
  threadgroup uchar mark;
  if (i == 0) { a[0] = 1; mark = 2; }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[i] = a[0] + mark;
}
template [[host_name("tile_100")]] kernel void tile<float, 100>(device float*, uint);
template [[host_name("tile_half")]] kernel void tile<half, 100>(device half*, uint);
template [[host_name("tile_9000")]] kernel void tile<float, 9000>(device float*, uint);
kernel void none(device float* out [[buffer(0)]], uint i [[thread_position_in_grid]]) { out[i] = 1; }
kernel void both(device float* out [[buffer(0)]], threadgroup float* more [[threadgroup(0)]], uint i [[thread_position_in_grid]]) {
  threadgroup float a[5000];
  a[i] = 1; more[i] = 2;
  out[i] = a[i] + more[i];
}
`

// The memory length is that of each instance's own variables, as compiled, and a
// pipeline beyond the limit is refused.
func TestStaticThreadgroupMemory(t *testing.T) {
	m := startMetal(t)
	library, text := m.compile(tileSource)
	require.NotZero(t, library, text)
	defer m.send(library, "release")
	for name, want := range map[string]int{"tile_100": 400 + 16, "tile_half": 208 + 16, "none": 0, "both": 20000} {
		p, text := m.pipelineOf(library, name)
		require.NotZero(t, p, text)
		require.EqualValues(t, want, m.send(p, "staticThreadgroupMemoryLength"), name)
		m.send(p, "release")
	}
	p, text := m.pipelineOf(library, "tile_9000")
	require.Zero(t, p)
	require.Contains(t, text, "Threadgroup memory size (36016) exceeds the maximum threadgroup memory allowed (32768)")
	m.finds()
}

func TestThreadgroupMemoryOfADispatch(t *testing.T) {
	m := startMetal(t)
	library, text := m.compile(tileSource)
	require.NotZero(t, library, text)
	defer m.send(library, "release")
	p, text := m.pipelineOf(library, "both")
	require.NotZero(t, p, text)
	defer m.send(p, "release")
	out, _ := m.buffer(make([]float32, 32)...)
	for bytes, want := range map[uintptr]string{12752: "", 12800: "32800 bytes of threadgroup memory (want at most 32768)"} {
		pool := m.pool()
		b, e := m.encoder()
		m.send(e, "setComputePipelineState:", p)
		m.send(e, "setBuffer:offset:atIndex:", out, 0, 0)
		m.send(e, "setThreadgroupMemoryLength:atIndex:", bytes, 0)
		m.dispatch(e, "dispatchThreadgroups:threadsPerThreadgroup:", [3]uintptr{1, 1, 1}, [3]uintptr{32, 1, 1})
		status, reason := m.finish(b, e)
		m.pop(pool)
		require.Equal(t, want == "", status == 4, reason)
		require.Contains(t, reason, want)
		if want == "" {
			m.finds()
		} else {
			m.finds("validation")
		}
	}
}
