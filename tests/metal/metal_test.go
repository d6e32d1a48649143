// SPDX-License-Identifier: MIT

// Package metal tests metalrt with the Metal that is available: the machine's on
// macOS, otherwise the simulator. The conformance tests of core/metal and
// tests/python/test_metal.py do the same for the layers above.
package metal

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/metalrt"
	metalsim "github.com/natten-mps/natten-mps/tests/metalsim/simulator"
)

const source = `#include <metal_stdlib>
using namespace metal;
kernel void twice(constant float& by [[buffer(0)]], device const float* x [[buffer(1)]],
                  device float* y [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  y[i] = by * x[i];
}
`

var options = metalrt.CompileOptions{
	LanguageVersion:            metalrt.LanguageVersion3_1,
	MathMode:                   metalrt.MathModeSafe,
	MathFloatingPointFunctions: metalrt.MathFloatingPointFunctionsPrecise,
}

// gpu skips the test if there is no GPU, or fails it if NATTEN_TEST_REQUIRE names
// metal.
func gpu(t *testing.T) metalrt.Device {
	t.Helper()
	if runtime.GOOS != "darwin" {
		s, err := metalsim.Load()
		require.NoError(t, err)
		metalrt.Simulate(s.Path)
		s.Clear()
		t.Cleanup(func() { require.Empty(t, s.Findings()) })
	}
	devices, err := metalrt.Devices()
	if err != nil && !strings.Contains(os.Getenv("NATTEN_TEST_REQUIRE"), "metal") && runtime.GOOS == "darwin" {
		t.Skip(err)
	}
	require.NoError(t, err)
	for _, d := range devices {
		t.Cleanup(d.Release)
	}
	return devices[len(devices)-1]
}

func TestDevice(t *testing.T) {
	d := gpu(t)
	require.NotEmpty(t, d.Name())
	require.NotZero(t, d.RegistryID())
	require.True(t, d.SupportsFamily(metalrt.GPUFamilyApple7))
	require.GreaterOrEqual(t, d.MaxThreadgroupMemoryLength(), 32<<10)
	again := gpu(t)
	require.Equal(t, d.RegistryID(), again.RegistryID())
}

func TestCompileErrors(t *testing.T) {
	d := gpu(t)
	_, err := d.Compile("#include <metal_stdlib>\nkernel void f() { undeclared(); }", "f", options)
	require.ErrorContains(t, err, "undeclared")
	require.ErrorContains(t, err, "MTLLibraryErrorDomain")
	_, err = d.Compile(source, "thrice", options)
	require.EqualError(t, err, "metalrt: newFunctionWithName: the library has no function thrice")
}

// doubled is an encoding with one dispatch.
type doubled struct {
	pipeline metalrt.ComputePipelineState
	from, to metalrt.HostBuffer
	by       float32
}

func (d *doubled) Encode(e metalrt.ComputeCommandEncoder) error {
	e.SetComputePipelineState(d.pipeline)
	e.SetBytes(unsafe.Slice((*byte)(unsafe.Pointer(&d.by)), 4), 0)
	e.SetBuffer(d.from.Buffer, d.from.Offset, 1)
	e.SetBuffer(d.to.Buffer, d.to.Offset, 2)
	e.DispatchThreadgroups(&metalrt.Size{Width: 2, Height: 1, Depth: 1}, &metalrt.Size{Width: 32, Height: 1, Depth: 1})
	return nil
}

// A kernel runs on host memory at any offset within its pages, and writes only its
// output.
func TestKernelOnHostMemory(t *testing.T) {
	d := gpu(t)
	pipeline, err := d.Compile(source, "twice", options)
	require.NoError(t, err)
	defer pipeline.Release()
	require.Equal(t, 32, pipeline.ThreadExecutionWidth())
	require.GreaterOrEqual(t, pipeline.MaxTotalThreadsPerThreadgroup(), 32)
	queue, err := d.NewCommandQueue()
	require.NoError(t, err)
	defer queue.Release()
	memory := make([]float32, 64+70)
	for i := range memory {
		memory[i] = float32(i)
	}
	buffer := func(at int) metalrt.HostBuffer {
		b, err := d.NewHostBuffer(uintptr(unsafe.Pointer(&memory[at])), 0, 4*64)
		require.NoError(t, err)
		return b
	}
	run := &doubled{pipeline, buffer(0), buffer(65), 2}
	defer run.from.Release()
	defer run.to.Release()
	require.NoError(t, queue.EncodeAndWait(run))
	if gpu, host := run.to.Staged(); gpu != nil {
		copy(host, gpu)
	}
	for i, v := range memory {
		want := float32(i)
		if i >= 65 && i < 65+64 {
			want = 2 * float32(i-65)
		}
		require.Equal(t, want, v, i)
	}
}

func TestHandles(t *testing.T) {
	d := gpu(t)
	b, err := d.NewBuffer(64)
	require.NoError(t, err)
	defer b.Release()
	_, err = metalrt.BufferFromHandle(b.ID, 64)
	require.NoError(t, err)
	_, err = metalrt.BufferFromHandle(b.ID, 65)
	require.ErrorContains(t, err, "has 64 bytes (want at least 65)")
	_, err = metalrt.BufferFromHandle(d.ID, 1)
	require.ErrorContains(t, err, "is no MTLBuffer")
	_, err = metalrt.BufferFromHandle(uintptr(b.Contents()), 1)
	require.ErrorContains(t, err, "is no Objective-C object")
}
