// SPDX-License-Identifier: MIT

package metalrt

import (
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

var options = CompileOptions{LanguageVersion3_1, MathModeSafe, MathFloatingPointFunctionsPrecise}

func device(t *testing.T) Device {
	t.Helper()
	found, err := Devices()
	require.NoError(t, err)
	require.Len(t, found, 1)
	t.Cleanup(found[0].Release)
	return found[0]
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	path, err := buildMock("nometal.so", "-DMOCK_WITHOUT_DEFAULT", "-DMOCK_WITHOUT_LIST")
	require.NoError(t, err)
	var f functions
	require.EqualError(t, f.open([]string{path}, nil),
		"MTLCopyAllDevices, MTLCreateSystemDefaultDevice not found in "+path)
	require.ErrorContains(t, f.open([]string{"/nowhere/libobjc.so"}, nil), "cannot open /nowhere/libobjc.so")
}

// Either of the two functions that find devices is enough, and CoreGraphics is
// optional.
func TestOpenTakesWhatIsThere(t *testing.T) {
	for _, without := range []string{"-DMOCK_WITHOUT_DEFAULT", "-DMOCK_WITHOUT_LIST"} {
		path, err := buildMock(without[2:]+".so", without)
		require.NoError(t, err)
		var f functions
		require.NoError(t, f.open([]string{path}, []string{"/nowhere/CoreGraphics"}))
	}
	graphics, err := buildMock("graphics.so")
	require.NoError(t, err)
	var f functions
	require.NoError(t, f.open([]string{mock.path}, []string{graphics}))
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	require.Contains(t, string(maps), graphics)
}

func TestLibrariesWithoutSimulator(t *testing.T) {
	defer Simulate(simulator)
	Simulate("")
	t.Setenv("NATTEN_MPS_SIMULATOR", mock.path)
	paths, _, why := libraries()
	require.Empty(t, paths, "the environment names nothing")
	require.Contains(t, why, "Metal exists on macOS only")
}

func TestNoDevice(t *testing.T) {
	withFaults(t, noDevice|noDevices)
	_, err := Devices()
	require.EqualError(t, err, "metalrt: MTLCopyAllDevices, MTLCreateSystemDefaultDevice: neither finds a GPU "+
		"that Metal can use (is this a virtual machine, or a sandbox without the GPU?)")
}

// A device is found even if only one of the two functions works. A device from the
// list outlives the list.
func TestEitherWayToADevice(t *testing.T) {
	for _, faults := range []int32{0, noDevice, noDevices} {
		withFaults(t, faults)
		d := device(t)
		require.EqualValues(t, 77, d.RegistryID())
		require.Equal(t, faults == noDevices, strings.Contains(trace(), "default "))
	}
}

func TestCompile(t *testing.T) {
	withFaults(t, 0)
	p, err := device(t).Compile("kernel void f() {}", "f", options)
	require.NoError(t, err)
	defer p.Release()
	require.Equal(t, 384, p.MaxTotalThreadsPerThreadgroup())
	require.Contains(t, trace(), "setLanguageVersion:196609,")
	require.Contains(t, trace(), "setMathMode:0,")
	require.Contains(t, trace(), "setMathFloatingPointFunctions:1,")
	require.Contains(t, trace(), "source=kernel void f() {} ")
}

func TestCompileOnMacOS14(t *testing.T) {
	withFaults(t, oldSystem)
	p, err := device(t).Compile("", "f", options)
	require.NoError(t, err)
	p.Release()
	require.Contains(t, trace(), "setFastMathEnabled:0,")
	require.NotContains(t, trace(), "setMathMode")
}

func TestWarningIsNoError(t *testing.T) {
	withFaults(t, warning)
	p, err := device(t).Compile("", "f", options)
	require.NoError(t, err)
	p.Release()
}

func TestCompileErrors(t *testing.T) {
	for _, c := range []struct {
		faults int32
		want   string
	}{
		{noLibrary, "metalrt: newLibraryWithSource: program_source:1:1: error: unknown type (MTLLibraryErrorDomain 3)"},
		{noFunction, "metalrt: newFunctionWithName: the library has no function f"},
		{noPipeline, "metalrt: newComputePipelineStateWithFunction: too many registers (MTLLibraryErrorDomain 3)"},
	} {
		t.Run(c.want, func(t *testing.T) {
			withFaults(t, c.faults)
			_, err := device(t).Compile("", "f", options)
			require.EqualError(t, err, c.want)
		})
	}
}

func TestNoMemory(t *testing.T) {
	withFaults(t, noMemory)
	_, err := device(t).NewBuffer(1 << 20)
	var memory *OutOfMemoryError
	require.ErrorAs(t, err, &memory)
	require.Equal(t, 1<<20, memory.Bytes)
}

func TestPipelinesCompileOnce(t *testing.T) {
	var p Pipelines
	var compiled atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			got, err := p.Get("key", func() (ComputePipelineState, error) {
				compiled.Add(1)
				return ComputePipelineState{Object{1}}, nil
			})
			require.NoError(t, err)
			require.EqualValues(t, 1, got.ID)
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, compiled.Load())
	for range 2 {
		_, err := p.Get("bad", func() (ComputePipelineState, error) {
			compiled.Add(1)
			return ComputePipelineState{}, errors.New("no")
		})
		require.EqualError(t, err, "no")
	}
	require.EqualValues(t, 2, compiled.Load())
}

// script is an encoding that sends every message used by a launch.
type script struct {
	pipeline ComputePipelineState
	buffer   Buffer
	bytes    []byte
	groups   Size
	threads  Size
	err      error
	panics   bool
}

func newScript() *script {
	return &script{
		pipeline: ComputePipelineState{Object{5}}, buffer: Buffer{Object{6}}, bytes: []byte("abc"),
		groups: Size{1, 2, 3}, threads: Size{4, 5, 6},
	}
}

func (s *script) Encode(e ComputeCommandEncoder) error {
	if s.panics {
		panic("a defect")
	}
	e.SetComputePipelineState(s.pipeline)
	e.SetBuffer(s.buffer, 32, 1)
	e.SetBytes(s.bytes, 2)
	e.DispatchThreadgroups(&s.groups, &s.threads)
	return s.err
}

const scriptTrace = "setComputePipelineState:5,0,0 setBuffer:offset:atIndex:6,32,1 " +
	"setBytes:length:atIndex:abc,2 dispatch(1,2,3)(4,5,6) "

func queue(t *testing.T) CommandQueue {
	t.Helper()
	q, err := device(t).NewCommandQueue()
	require.NoError(t, err)
	t.Cleanup(q.Release)
	clear(mock.log[:])
	return q
}

func TestEncodeAndWait(t *testing.T) {
	withFaults(t, 0)
	require.NoError(t, queue(t).EncodeAndWait(newScript()))
	require.Equal(t, "push "+scriptTrace+"endEncoding0,0,0 commit0,0,0 waitUntilCompleted0,0,0 pop ", trace())
}

func TestEncodeAndWaitErrors(t *testing.T) {
	withFaults(t, gpuFault)
	q := queue(t)
	require.EqualError(t, q.EncodeAndWait(newScript()),
		"metalrt: commandBuffer: the GPU faulted (MTLCommandBufferErrorDomain 3)")
	*mock.faults = gpuOutOfMemory
	var metal *Error
	require.ErrorAs(t, q.EncodeAndWait(newScript()), &metal)
	require.True(t, metal.OutOfMemory())
	*mock.faults = noEncoder
	require.ErrorContains(t, q.EncodeAndWait(newScript()), "computeCommandEncoder")
}

func TestFailedEncodingIsEndedAndNotCommitted(t *testing.T) {
	withFaults(t, 0)
	s := newScript()
	s.err = errors.New("no")
	require.EqualError(t, queue(t).EncodeAndWait(s), "no")
	require.Equal(t, "push "+scriptTrace+"endEncoding0,0,0 pop ", trace())
}

func TestTorchRoutes(t *testing.T) {
	for route, entry := range map[Route]string{CommandBlock: "block30 ", DispatchQueue: "queue7 "} {
		t.Run(route.String(), func(t *testing.T) {
			withFaults(t, 0)
			torch, err := OpenTorch(mock.path, route)
			require.NoError(t, err)
			clear(mock.log[:])
			require.NoError(t, torch.Encode(torch.CurrentStream(), newScript()))
			require.Equal(t, entry+"push stream10 "+scriptTrace+"pop ", trace())
		})
	}
}

func TestTorchDevice(t *testing.T) {
	withFaults(t, 0)
	torch, err := OpenTorch(mock.path, CommandBlock)
	require.NoError(t, err)
	d, err := torch.Device()
	require.NoError(t, err)
	require.False(t, d.Nil())
	require.Contains(t, trace(), "retain ")
	d.Release()
}

func TestConcurrentEncoderGetsBarriers(t *testing.T) {
	const barrier = "memoryBarrierWithScope:1,0,0 "
	for faults, want := range map[int32]string{
		concurrent:                 barrier + scriptTrace + barrier,
		silentEncoder:              scriptTrace,
		concurrent | silentEncoder: scriptTrace,
	} {
		withFaults(t, faults)
		torch, err := OpenTorch(mock.path, DispatchQueue)
		require.NoError(t, err)
		clear(mock.log[:])
		require.NoError(t, torch.Encode(torch.CurrentStream(), newScript()))
		require.Equal(t, "queue7 push stream10 "+want+"pop ", trace())
	}
}

func TestOtherStream(t *testing.T) {
	withFaults(t, otherStream)
	block, err := OpenTorch(mock.path, CommandBlock)
	require.NoError(t, err)
	require.NoError(t, block.Encode(block.CurrentStream(), newScript()))
	require.Contains(t, trace(), "stream20 ")
	queue, err := OpenTorch(mock.path, DispatchQueue)
	require.NoError(t, err)
	require.ErrorContains(t, queue.Encode(queue.CurrentStream(), newScript()), "not the default one")
}

func TestTorchErrors(t *testing.T) {
	withFaults(t, 0)
	torch, err := OpenTorch(mock.path, CommandBlock)
	require.NoError(t, err)
	for faults, want := range map[int32]string{
		noEncoder:   "no encoder",
		blockFails:  "aoti_torch_mps_run_command_block failed (1)",
		blockIsLost: "torch did not run the command block",
	} {
		*mock.faults = faults
		require.ErrorContains(t, torch.Encode(torch.CurrentStream(), newScript()), want)
	}
	*mock.faults = noLibrary
	_, err = OpenTorch(mock.path, CommandBlock)
	require.ErrorContains(t, err, "create_shader_library failed (1)")
	*mock.faults = noFunction
	_, err = OpenTorch(mock.path, CommandBlock)
	require.ErrorContains(t, err, "get_kernel_function failed (1)")
}

func TestPanicStaysInTheBlock(t *testing.T) {
	withFaults(t, 0)
	torch, err := OpenTorch(mock.path, DispatchQueue)
	require.NoError(t, err)
	s := newScript()
	s.panics = true
	require.ErrorContains(t, torch.Encode(torch.CurrentStream(), s), "panic while encoding: a defect")
	require.NoError(t, torch.Encode(torch.CurrentStream(), newScript()))
}

func TestTorchWithoutCommandBlocks(t *testing.T) {
	path, err := buildMock("torch29.so", "-DMOCK_TORCH_2_9")
	require.NoError(t, err)
	_, err = OpenTorch(path, CommandBlock)
	require.EqualError(t, err, "metalrt: torch's library "+path+" has no aoti_torch_mps_create_shader_library, "+
		"aoti_torch_mps_get_kernel_function, aoti_torch_mps_run_command_block, which the command block needs")
	_, err = OpenTorch(path, DispatchQueue)
	require.NoError(t, err)
	_, err = OpenTorch("/nowhere/libtorch_cpu.dylib", DispatchQueue)
	require.ErrorContains(t, err, "cannot open torch's library /nowhere/libtorch_cpu.dylib")
}

func TestBufferFromHandle(t *testing.T) {
	withFaults(t, 0)
	d := device(t)
	b, err := d.NewBuffer(64)
	require.NoError(t, err)
	defer b.Release()
	got, err := BufferFromHandle(b.ID, 64)
	require.NoError(t, err)
	require.Equal(t, b, got)
	for _, c := range []struct {
		handle uintptr
		length int
		want   string
	}{
		{0, 0, "is no Objective-C object"},
		{b.ID + 4, 0, "is no Objective-C object"},
		{d.ID, 0, "is no MTLBuffer"},
		{uintptr(unsafe.Pointer(mock.log)) &^ 15, 0, "is no MTLBuffer"},
		{b.ID, 65, "has 64 bytes (want at least 65)"},
	} {
		_, err := BufferFromHandle(c.handle, c.length)
		require.ErrorContains(t, err, c.want)
	}
}

func TestHostBufferCoversWholePages(t *testing.T) {
	withFaults(t, 0)
	page := os.Getpagesize()
	memory := make([]byte, 4*page)
	base := -int(uintptr(unsafe.Pointer(&memory[0]))) & (page - 1)
	data := memory[base:]
	h, err := device(t).NewHostBuffer(uintptr(unsafe.Pointer(&data[page])), -8, page+8)
	require.NoError(t, err)
	require.Equal(t, page, h.Offset)
	require.Equal(t, 3*page, h.Length())
	gpu, _ := h.Staged()
	require.Nil(t, gpu)
	h.Release()
}

// stagedData is a package variable because the compiler does not know that memory
// behind an address is written.
var stagedData [10]byte

func TestHostBufferIsStagedWhenMetalDeclines(t *testing.T) {
	withFaults(t, noCopyDeclined)
	data := stagedData[:]
	copy(data, "0123456789")
	h, err := device(t).NewHostBuffer(uintptr(unsafe.Pointer(&data[4])), -2, 3)
	require.NoError(t, err)
	defer h.Release()
	require.Equal(t, 2, h.Offset)
	gpu, host := h.Staged()
	require.Equal(t, "23456", string(gpu))
	copy(gpu, "abcde")
	require.Equal(t, "0123456789", string(data), "nothing is copied back unasked")
	host[1] = 'x'
	require.Equal(t, "012x456789", string(data))
}

func BenchmarkEncode(b *testing.B) {
	if err := Load(); err != nil {
		b.Fatal(err)
	}
	torch, err := OpenTorch(mock.path, CommandBlock)
	require.NoError(b, err)
	s := newScript()
	b.ReportAllocs()
	for b.Loop() {
		mock.log[0] = 0
		if err := torch.Encode(torch.CurrentStream(), s); err != nil {
			b.Fatal(err)
		}
	}
}
