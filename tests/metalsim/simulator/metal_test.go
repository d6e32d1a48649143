// SPDX-License-Identifier: MIT

package simulator

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

const scaleSource = `#include <metal_stdlib>
using namespace metal;
struct Params { uint n; float factor; };
kernel void scale(constant Params& p [[buffer(0)]], device const float* in [[buffer(1)]], device float* out [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  if (i < p.n) out[i] = in[i] * p.factor;
}
kernel void race(device float* out [[buffer(0)]], uint i [[thread_position_in_grid]]) { out[i / 2] += 1.0f; }
kernel void tile(device float* out [[buffer(0)]], threadgroup float* t [[threadgroup(0)]], uint i [[thread_position_in_grid]]) { t[i] = 1; out[i] = t[i]; }
`

type params struct {
	n      uint32
	factor float32
}

// metal is a device with a queue and the kernels of scaleSource.
type metal struct {
	objc
	device, queue, library uintptr
}

func startMetal(t *testing.T) metal {
	m := metal{objc: start(t)}
	m.device = m.Call("MTLCreateSystemDefaultDevice")
	require.NotZero(t, m.device)
	m.queue = m.send(m.device, "newCommandQueue")
	var text string
	m.library, text = m.compile(scaleSource)
	require.NotZero(t, m.library, text)
	t.Cleanup(func() {
		for _, o := range []uintptr{m.library, m.queue, m.device} {
			m.send(o, "release")
		}
	})
	return m
}

func (m metal) compile(source string) (library uintptr, text string) {
	return m.compileAs(source, 3<<16+1, 0)
}

// unset leaves an option of compileAs at its default.
const unset = -1

func (m metal) compileAs(source string, language, math int) (library uintptr, text string) {
	pool := m.pool()
	defer m.pop(pool)
	s, options := m.str(source), m.send(m.class("MTLCompileOptions"), "new")
	if language != unset {
		m.send(options, "setLanguageVersion:", uintptr(language))
	}
	if math != unset {
		m.send(options, "setMathMode:", uintptr(math))
	}
	var nserror uintptr
	library = m.send(m.device, "newLibraryWithSource:options:error:", s, options, uintptr(unsafe.Pointer(&nserror)))
	m.send(s, "release")
	m.send(options, "release")
	return library, m.text(m.send(nserror, "localizedDescription"))
}

func (m metal) pipeline(name string) uintptr {
	p, text := m.pipelineOf(m.library, name)
	require.NotZero(m.t, p, text)
	m.t.Cleanup(func() { m.send(p, "release") })
	return p
}

// pipelineOf makes a pipeline, or returns the reason for the failure.
func (m metal) pipelineOf(library uintptr, name string) (pipeline uintptr, text string) {
	pool := m.pool()
	defer m.pop(pool)
	s := m.str(name)
	f := m.send(library, "newFunctionWithName:", s)
	m.send(s, "release")
	require.NotZero(m.t, f)
	defer m.send(f, "release")
	var nserror uintptr
	pipeline = m.send(m.device, "newComputePipelineStateWithFunction:error:", f, uintptr(unsafe.Pointer(&nserror)))
	return pipeline, m.text(m.send(nserror, "localizedDescription"))
}

// buffer makes a shared buffer of floats.
func (m metal) buffer(values ...float32) (uintptr, []float32) {
	b := m.send(m.device, "newBufferWithLength:options:", uintptr(4*len(values)), 0)
	require.NotZero(m.t, b)
	m.t.Cleanup(func() { m.send(b, "release") })
	p := m.send(b, "contents")
	view := unsafe.Slice((*float32)(*(*unsafe.Pointer)(unsafe.Pointer(&p))), len(values))
	copy(view, values)
	return b, view
}

func (m metal) encoder() (commands, encoder uintptr) {
	commands = m.send(m.queue, "commandBuffer")
	return commands, m.send(commands, "computeCommandEncoder")
}

func (m metal) setBytes(e uintptr, p params, index uintptr) {
	m.send(e, "setBytes:length:atIndex:", uintptr(unsafe.Pointer(&p)), unsafe.Sizeof(p), index)
}

// encodeScale encodes out = in * factor.
func (m metal) encodeScale(e, pipeline, in, out uintptr, n int, factor float32) {
	m.send(e, "setComputePipelineState:", pipeline)
	m.setBytes(e, params{uint32(n), factor}, 0)
	m.send(e, "setBuffer:offset:atIndex:", in, 0, 1)
	m.send(e, "setBuffer:offset:atIndex:", out, 0, 2)
	m.dispatch(e, "dispatchThreadgroups:threadsPerThreadgroup:", [3]uintptr{1, 1, 1}, [3]uintptr{32, 1, 1})
}

func (m metal) finish(commands, encoder uintptr) (status int, text string) {
	m.send(encoder, "endEncoding")
	m.send(commands, "commit")
	m.send(commands, "waitUntilCompleted")
	return int(m.send(commands, "status")), m.text(m.send(m.send(commands, "error"), "localizedDescription"))
}

func TestRunsWhenWaitedFor(t *testing.T) {
	m := startMetal(t)
	p := m.pipeline("scale")
	pool := m.pool()
	in, _ := m.buffer(1, 2, 3)
	out, got := m.buffer(0, 0, 0)
	b, e := m.encoder()
	m.encodeScale(e, p, in, out, 3, 2)
	m.send(e, "endEncoding")
	m.send(b, "commit")
	require.Equal(t, []float32{0, 0, 0}, got, "nobody has waited")
	require.EqualValues(t, 2, m.send(b, "status"))
	m.send(b, "waitUntilCompleted")
	require.Equal(t, []float32{2, 4, 6}, got)
	require.EqualValues(t, 4, m.send(b, "status"))
	m.pop(pool)
	require.EqualValues(t, 1, m.Stat("dispatches"))
	require.EqualValues(t, 3*4, m.Stat("device_read"))
	require.EqualValues(t, 3*4, m.Stat("device_written"))
	m.finds()

	m.set("schedule", "eager")
	pool = m.pool()
	b, e = m.encoder()
	m.encodeScale(e, p, out, out, 3, 2)
	m.send(e, "endEncoding")
	m.send(b, "commit")
	require.Equal(t, []float32{4, 8, 12}, got)
	m.pop(pool)
	m.finds()
	require.Zero(t, m.Live("SimCommandBuffer"))
	require.Zero(t, m.Live("SimComputeCommandEncoder"))
}

func TestCheckerEndsInAnErrorOfTheCommandBuffer(t *testing.T) {
	m := startMetal(t)
	p, race := m.pipeline("scale"), m.pipeline("race")
	in, _ := m.buffer(1, 2, 3)
	out, _ := m.buffer(0, 0)
	pool := m.pool()
	b, e := m.encoder()
	m.encodeScale(e, p, in, out, 3, 2)
	status, text := m.finish(b, e)
	require.Equal(t, 5, status)
	require.Contains(t, text, "out of bounds: write of 4 bytes at offset 8 of the 8-byte buffer(2), at program_source:5")
	m.finds("kernel: scale: out of bounds")
	b, e = m.encoder()
	m.send(e, "setComputePipelineState:", race)
	m.send(e, "setBuffer:offset:atIndex:", in, 0, 0)
	m.dispatch(e, "dispatchThreads:threadsPerThreadgroup:", [3]uintptr{4, 1, 1}, [3]uintptr{4, 1, 1})
	_, text = m.finish(b, e)
	require.Contains(t, text, "data race on buffer 0")
	m.finds("data race on buffer 0")
	undefined := m.send(m.device, "newBufferWithLength:options:", 12, 0)
	b, e = m.encoder()
	m.encodeScale(e, p, undefined, in, 3, 2)
	_, text = m.finish(b, e)
	require.Contains(t, text, "uninitialized")
	m.finds("uninitialized")
	m.send(undefined, "release")
	m.pop(pool)
}

// Breaks each rule of the validation layer once.
func TestValidation(t *testing.T) {
	m := startMetal(t)
	p, tile := m.pipeline("scale"), m.pipeline("tile")
	in, _ := m.buffer(1, 2, 3)
	out, _ := m.buffer(0, 0, 0)
	one, group := [3]uintptr{1, 1, 1}, [3]uintptr{32, 1, 1}
	run := func(e uintptr) { m.dispatch(e, "dispatchThreadgroups:threadsPerThreadgroup:", one, group) }
	for _, c := range []struct {
		name string
		f    func(b, e uintptr)
		want []string
	}{
		{"unbound", func(_, e uintptr) {
			m.send(e, "setComputePipelineState:", p)
			m.setBytes(e, params{}, 0)
			m.send(e, "setBuffer:offset:atIndex:", in, 0, 1)
			run(e)
		}, []string{"scale: nothing bound at buffer(2) out"}},
		{"no pipeline", func(_, e uintptr) { run(e) }, []string{"dispatch without a compute pipeline state"}},
		{"misaligned", func(_, e uintptr) {
			m.encodeScale(e, p, in, out, 3, 1)
			m.send(e, "setBuffer:offset:atIndex:", in, 2, 1)
			run(e)
		}, []string{"scale: offset 2 at buffer(1) in is not aligned to 4"}},
		{"offset", func(_, e uintptr) { m.send(e, "setBuffer:offset:atIndex:", in, 12, 1) }, []string{"offset 12 at index 1 in a buffer of 12 bytes"}},
		{"index", func(_, e uintptr) { m.send(e, "setBuffer:offset:atIndex:", in, 0, 31) }, []string{"index 31 (the last is 30)"}},
		{"no buffer", func(_, e uintptr) { m.send(e, "setBuffer:offset:atIndex:", p, 0, 1) }, []string{"is no MTLBuffer"}},
		{"freed buffer", func(_, e uintptr) {
			b := m.send(m.device, "newBufferWithLength:options:", 16, 0)
			m.send(b, "release")
			m.send(e, "setBuffer:offset:atIndex:", b, 0, 1)
		}, []string{"is no MTLBuffer (a deallocated SimBuffer)"}},
		{"bytes", func(_, e uintptr) {
			big := make([]byte, 4097)
			m.send(e, "setBytes:length:atIndex:", uintptr(unsafe.Pointer(&big[0])), 4097, 0)
		}, []string{"setBytes: 4097 bytes at index 0 (want 1 to 4096"}},
		{"short constant", func(_, e uintptr) {
			m.encodeScale(e, p, in, out, 3, 1)
			m.send(e, "setBytes:length:atIndex:", uintptr(unsafe.Pointer(&params{})), 4, 0)
			run(e)
		}, []string{"buffer(0) p has 4 bytes, the kernel reads 8"}},
		{"threads", func(_, e uintptr) {
			m.encodeScale(e, p, in, out, 3, 1)
			m.dispatch(e, "dispatchThreadgroups:threadsPerThreadgroup:", one, [3]uintptr{1025, 1, 1})
		}, []string{"1025 threads per threadgroup, the pipeline takes 1024"}},
		{"empty grid", func(_, e uintptr) {
			m.encodeScale(e, p, in, out, 3, 1)
			m.dispatch(e, "dispatchThreadgroups:threadsPerThreadgroup:", [3]uintptr{0, 1, 1}, group)
		}, []string{"grid of 0x1x1 threads"}},
		{"threadgroup memory unset", func(_, e uintptr) {
			m.send(e, "setComputePipelineState:", tile)
			m.send(e, "setBuffer:offset:atIndex:", in, 0, 0)
			run(e)
		}, []string{"no length set for threadgroup(0) t"}},
		{"threadgroup memory", func(_, e uintptr) { m.send(e, "setThreadgroupMemoryLength:atIndex:", 20, 0) }, []string{"setThreadgroupMemoryLength: 20"}},
		{"barrier", func(_, e uintptr) { m.send(e, "memoryBarrierWithScope:", 2) }, []string{"leaves buffers out"}},
		{"second encoder", func(b, _ uintptr) { m.send(b, "computeCommandEncoder") }, []string{"A command encoder is already encoding to this command buffer"}},
		{"after end", func(_, e uintptr) {
			m.send(e, "endEncoding")
			run(e)
			m.send(e, "endEncoding")
		}, []string{"dispatch after endEncoding", "endEncoding after endEncoding", "endEncoding after endEncoding"}},
		{"commit open", func(b, _ uintptr) { m.send(b, "commit") }, []string{"commit before endEncoding", "endEncoding on a committed command buffer", "the command buffer was committed before", "released without endEncoding"}},
		{"no kernel", func(_, e uintptr) { m.send(e, "setComputePipelineState:", in) }, []string{"is no pipeline"}},
		{"wait first", func(b, _ uintptr) { m.send(b, "waitUntilCompleted") }, []string{"waitUntilCompleted before commit"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			runtime.LockOSThread() // the pool belongs to the thread
			defer runtime.UnlockOSThread()
			m := m
			m.t = t
			pool := m.pool()
			b, e := m.encoder()
			c.f(b, e)
			status, text := m.finish(b, e)
			require.Equal(t, 5, status)
			require.Contains(t, text, c.want[0])
			m.pop(pool)
			m.finds(c.want...)
		})
	}
}

func TestEncoderRules(t *testing.T) {
	m := startMetal(t)
	p := m.pipeline("scale")
	in, _ := m.buffer(1, 2, 3)
	out, _ := m.buffer(0, 0, 0)
	pool := m.pool()
	m.encoder()
	m.pop(pool)
	m.finds("released without endEncoding")

	pool = m.pool()
	b, e := m.encoder()
	m.encodeScale(e, p, in, out, 3, 1)
	m.send(e, "endEncoding")
	m.pop(pool)
	m.finds("a command buffer with 1 commands was released and never committed")

	pool = m.pool()
	b, e = m.encoder()
	m.finish(b, e)
	m.send(b, "computeCommandEncoder")
	m.send(b, "commit")
	m.pop(pool)
	m.finds("the command buffer was committed", "the command buffer was committed before")

	pool = m.pool()
	b = m.send(m.queue, "commandBuffer")
	e = m.send(b, "computeCommandEncoderWithDispatchType:", 1)
	require.EqualValues(t, 1, m.send(e, "dispatchType"))
	m.encodeScale(e, p, in, out, 3, 1)
	m.send(e, "memoryBarrierWithScope:", 1)
	m.encodeScale(e, p, out, in, 3, 1)
	m.finds()
	m.encodeScale(e, p, in, out, 3, 1)
	m.finish(b, e)
	m.pop(pool)
	m.finds("buffer(1) in depends on an earlier dispatch", "buffer(2) out depends on an earlier dispatch")
}

func TestFaultsOnDemand(t *testing.T) {
	m := startMetal(t)
	p := m.pipeline("scale")
	in, _ := m.buffer(1, 2, 3)
	out, _ := m.buffer(0, 0, 0)
	library, text := m.compile("#include <metal_stdlib>\nkernel void f(device float* p [[buffer(0)]]) { p[0] = x; }")
	require.Zero(t, library)
	require.Contains(t, text, "program_source:2:55: error: use of undeclared identifier 'x'")
	m.set("fail", "library,device,queue,buffer@2,gpu_memory@1")
	library, text = m.compile(scaleSource)
	require.Zero(t, library)
	require.Contains(t, text, "injected")
	require.Zero(t, m.Call("MTLCreateSystemDefaultDevice"))
	require.Zero(t, m.send(m.device, "newCommandQueue"))
	first := m.send(m.device, "newBufferWithLength:options:", 16, 0)
	require.NotZero(t, first)
	require.Zero(t, m.send(m.device, "newBufferWithLength:options:", 16, 0), "the second fails")
	m.send(first, "release")
	pool := m.pool()
	b, e := m.encoder()
	m.encodeScale(e, p, in, out, 3, 1)
	status, text := m.finish(b, e)
	require.Equal(t, 5, status)
	require.Contains(t, text, "Insufficient Memory")
	require.EqualValues(t, 8, m.send(m.send(b, "error"), "code"))
	require.Equal(t, "MTLCommandBufferErrorDomain", m.text(m.send(m.send(b, "error"), "domain")))
	m.pop(pool)
	m.finds()
}

func TestThreadLimit(t *testing.T) {
	m := startMetal(t)
	m.set("max_threads", "96")
	m.set("max_threads_for", "sca")
	require.EqualValues(t, 96, m.send(m.pipeline("scale"), "maxTotalThreadsPerThreadgroup"))
	require.EqualValues(t, 1024, m.send(m.pipeline("race"), "maxTotalThreadsPerThreadgroup"))
}

func TestPagesWithoutCopy(t *testing.T) {
	m := startMetal(t)
	page := os.Getpagesize()
	memory := make([]byte, 4*page)
	base := (uintptr(unsafe.Pointer(&memory[0])) + uintptr(page) - 1) / uintptr(page) * uintptr(page)
	wrap := func(at uintptr, length int) uintptr {
		return m.send(m.device, "newBufferWithBytesNoCopy:length:options:deallocator:", at, uintptr(length), 0, 0)
	}
	b := wrap(base, 2*page)
	require.NotZero(t, b)
	require.Equal(t, base, m.send(b, "contents"))
	m.send(b, "release")
	m.finds()
	require.Zero(t, wrap(base+16, page))
	require.Zero(t, wrap(base, page+16))
	m.finds("want both in pages of", "want both in pages of")
	m.set("page_size", strconv.Itoa(2*page))
	require.Zero(t, wrap(base, page))
	m.finds(fmt.Sprint("in pages of ", 2*page))
}

func TestRecording(t *testing.T) {
	m := startMetal(t)
	dir := t.TempDir()
	m.set("record", dir)
	p := m.pipeline("scale")
	in, _ := m.buffer(1, 2, 3)
	out, _ := m.buffer(0, 0, 0)
	pool := m.pool()
	b, e := m.encoder()
	m.encodeScale(e, p, in, out, 3, 2)
	m.finish(b, e)
	m.pop(pool)
	cases, _ := filepath.Glob(filepath.Join(dir, "*-scale.case"))
	require.Len(t, cases, 1)
	text, err := os.ReadFile(cases[0])
	require.NoError(t, err)
	require.Contains(t, string(text), `"grid":[32,1,1],"group":[32,1,1]`)
	sources, _ := filepath.Glob(filepath.Join(dir, "*.metal"))
	require.Len(t, sources, 1)
}
