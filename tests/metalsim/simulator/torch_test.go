// SPDX-License-Identifier: MIT

package simulator

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/require"
)

const (
	currentStream  = "_ZN2at3mps19getCurrentMPSStreamEv"
	commandEncoder = "_ZN2at3mps9MPSStream14commandEncoderEv"
	torchQueue     = "_ZN5torch3mps18get_dispatch_queueEv"
	torchSync      = "_ZN5torch3mps11synchronizeEv"
	torchCommit    = "_ZN5torch3mps6commitEv"
)

// registered registers floats as the memory of a torch tensor.
func (m metal) registered(values []float32) uintptr {
	m.t.Cleanup(func() { m.Call("metalsim_unregister", uintptr(unsafe.Pointer(&values[0]))) })
	return m.Call("metalsim_register", uintptr(unsafe.Pointer(&values[0])), uintptr(4*len(values)))
}

// onQueue runs f in a block of the default stream's queue.
func (m metal) onQueue(f func(encoder uintptr)) {
	callback := purego.NewCallback(func(uintptr) uintptr {
		pool := m.pool()
		f(m.Call(commandEncoder, m.Call(currentStream)))
		m.pop(pool)
		return 0
	})
	m.Call("dispatch_sync_f", m.Call(torchQueue), 0, callback)
}

func TestTorchEncoderIsSharedAndRunsAtSynchronize(t *testing.T) {
	m := startMetal(t)
	p := m.pipeline("scale")
	x := []float32{1, 2, 3}
	h := m.registered(x)
	require.Equal(t, h, m.registered(x), "the same stretch is the same buffer")
	var first, second uintptr
	m.onQueue(func(e uintptr) { first = e; m.encodeScale(e, p, h, h, 3, 2) })
	m.onQueue(func(e uintptr) { second = e; m.encodeScale(e, p, h, h, 3, 5) })
	require.Equal(t, first, second)
	require.Equal(t, []float32{1, 2, 3}, x)
	m.Call(torchCommit)
	require.Equal(t, []float32{1, 2, 3}, x)
	m.Call(torchSync)
	require.Equal(t, []float32{10, 20, 30}, x)
	m.finds()
}

// Threads that share a stream may wait for it while others encode.
func TestThreadsWaitForOneStream(t *testing.T) {
	m := startMetal(t)
	var wrong atomic.Int32
	var threads sync.WaitGroup
	for n := range 8 {
		x := make([]byte, 64)
		h := m.Call("metalsim_register", uintptr(unsafe.Pointer(&x[0])), 64)
		threads.Go(func() {
			for i := range 4000 {
				value := byte(n*16 + i%16)
				m.Call("metalsim_stream_fill", 0, h, 0, 64, uintptr(value))
				m.Call("metalsim_stream_synchronize", 0)
				if x[0] != value {
					wrong.Add(1)
				}
			}
		})
		t.Cleanup(func() { m.Call("metalsim_unregister", uintptr(unsafe.Pointer(&x[0]))) })
	}
	threads.Wait()
	require.Zero(t, wrong.Load())
	m.finds()
}

// Only the second of two launches on a buffer sees a torch operation between them.
func TestTorchOpsKeepTheirPlace(t *testing.T) {
	m := startMetal(t)
	p := m.pipeline("scale")
	x, y, z := []float32{1, 2, 3}, make([]float32, 3), make([]float32, 3)
	hx, hy, hz := m.registered(x), m.registered(y), m.registered(z)
	m.onQueue(func(e uintptr) { m.encodeScale(e, p, hx, hy, 3, 10) })
	next := []float32{7, 8, 9}
	m.Call("metalsim_stream_write", 0, hx, 0, uintptr(unsafe.Pointer(&next[0])), 12)
	m.onQueue(func(e uintptr) { m.encodeScale(e, p, hx, hz, 3, 10) })
	m.Call("metalsim_stream_fill", 0, hx, 4, 4, 0)
	m.Call("metalsim_stream_copy", 0, hx, 8, hy, 0, 4)
	m.Call("metalsim_stream_synchronize", 0)
	require.Equal(t, []float32{10, 20, 30}, y)
	require.Equal(t, []float32{70, 80, 90}, z)
	require.Equal(t, []float32{7, 0, 10}, x)
	m.finds()
	m.Call("metalsim_stream_fill", 0, hx, 8, 8, 0)
	m.finds("are in no buffer")
}

func TestStreamDiscipline(t *testing.T) {
	m := startMetal(t)
	stream := m.Call(currentStream)
	e := m.Call(commandEncoder, stream)
	require.NotZero(t, e)
	m.finds("MPSStream::commandEncoder() called off stream 0's queue")
	m.onQueue(func(e uintptr) { m.send(e, "endEncoding") })
	m.finds("this encoder is torch's")
	m.onQueue(func(uintptr) {
		b := m.Call("_ZN2at3mps9MPSStream13commandBufferEv", stream)
		m.send(b, "commit")
		m.Call("_ZN2at3mps9MPSStream19endKernelCoalescingEv", stream)
	})
	m.finds("this command buffer is torch's")
	m.Call(torchSync)
	m.onQueue(func(uintptr) { m.onQueue(func(uintptr) {}) })
	m.finds("a deadlock")
	m.Call("dispatch_sync_f", m.queue, 0, 0)
	m.finds("is no dispatch queue")

	m.Call("metalsim_stream_use", 3)
	require.NotEqual(t, stream, m.Call(currentStream))
	m.Call(commandEncoder, m.Call(currentStream))
	m.finds("off stream 3's queue")
	m.set("torch", "2.9")
	require.Equal(t, stream, m.Call(currentStream), "up to 2.9 there is one stream")
	m.set("torch", "2.15")
	m.Call("metalsim_stream_synchronize", 3)
	m.Call("metalsim_stream_use", 0)
	m.Call(torchSync)
	m.finds()
}

func TestConcurrentTorchEncoder(t *testing.T) {
	m := startMetal(t)
	m.set("dispatch_type", "concurrent")
	p := m.pipeline("scale")
	x := []float32{1, 2, 3}
	h := m.registered(x)
	m.onQueue(func(e uintptr) {
		m.encodeScale(e, p, h, h, 3, 2)
		m.encodeScale(e, p, h, h, 3, 2)
	})
	m.Call(torchSync)
	m.finds("buffer(1) in depends on an earlier dispatch", "buffer(2) out depends on an earlier dispatch")
}

func TestCommandBlock(t *testing.T) {
	m := startMetal(t)
	source, name := append([]byte(scaleSource), 0), append([]byte("scale"), 0)
	var library, function uintptr
	require.Zero(t, m.Call("aoti_torch_mps_create_shader_library", uintptr(unsafe.Pointer(&source[0])), uintptr(unsafe.Pointer(&library))))
	require.Zero(t, m.Call("aoti_torch_mps_get_kernel_function", library, uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&function))))
	x := []float32{1, 2, 3}
	h := m.registered(x)
	m.Call("metalsim_stream_use", 5)
	defer m.Call("metalsim_stream_use", 0)
	p := params{3, 4}
	tensor := [2]uint64{uint64(h), 0}
	three, group := [3]uint64{3, 1, 1}, [3]uint64{32, 1, 1}
	callback := purego.NewCallback(func(f, data uintptr) uintptr {
		require.EqualValues(t, 42, data)
		m.Call("aoti_torch_mps_set_arg_tensor", f, 1, uintptr(unsafe.Pointer(&tensor)))
		m.finds("aoti_torch_mps_set_arg_tensor before aoti_torch_mps_start_encoding")
		m.Call("aoti_torch_mps_start_encoding", f)
		m.Call("torch_mps_set_arg_bytes", f, 0, uintptr(unsafe.Pointer(&p)), 8)
		m.Call("aoti_torch_mps_set_arg_tensor", f, 1, uintptr(unsafe.Pointer(&tensor)))
		m.Call("aoti_torch_mps_set_arg_tensor", f, 2, uintptr(unsafe.Pointer(&tensor)))
		m.Call("aoti_torch_mps_dispatch_array_with_group_size", f, uintptr(unsafe.Pointer(&three)), 3, uintptr(unsafe.Pointer(&group)), 3)
		return 0
	})
	require.Zero(t, m.Call("aoti_torch_mps_run_command_block", function, callback, 42))
	m.Call("metalsim_stream_synchronize", 0)
	require.Equal(t, []float32{1, 2, 3}, x, "the work is on stream 5")
	m.Call("metalsim_stream_synchronize", 5)
	require.Equal(t, []float32{4, 8, 12}, x)
	require.Zero(t, m.Call("aoti_torch_mps_delete_shader_library", library))
	require.NotZero(t, m.Call("aoti_torch_mps_delete_shader_library", library))
	m.finds("is no handle of this kind (a deallocated SimLibrary)")
}

type argument struct {
	buffer, offset uint64
	bytes          unsafe.Pointer
	length         uint64
}

func TestCompileShader(t *testing.T) {
	m := startMetal(t)
	compile := func(text string) (uintptr, string) {
		source, err := append([]byte(text), 0), make([]byte, 400)
		s := m.Call("metalsim_shader", uintptr(unsafe.Pointer(&source[0])), uintptr(unsafe.Pointer(&err[0])), 400)
		return s, string(err)
	}
	_, text := compile("kernel void f(device float* p [[buffer(0)]]) {}")
	require.Contains(t, text, "without #include <metal_stdlib>")
	_, text = compile("#include <metal_stdlib>\nkernel void f(")
	require.Contains(t, text, "no ) closes this (")
	shader, text := compile(scaleSource)
	require.NotZero(t, shader, text)
	x := []float32{1, 2, 3}
	h := m.registered(x)
	p := params{3, 4}
	args := []argument{{bytes: unsafe.Pointer(&p), length: 8}, {buffer: uint64(h)}, {buffer: uint64(h)}}
	threads, group := [3]uint64{32, 1, 1}, [3]uint64{32, 1, 1}
	launch := func(kernel string) uintptr {
		name, err := append([]byte(kernel), 0), make([]byte, 400)
		return m.Call("metalsim_shader_launch", shader, uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&args[0])), 3,
			uintptr(unsafe.Pointer(&threads)), uintptr(unsafe.Pointer(&group)), uintptr(unsafe.Pointer(&err[0])), 400)
	}
	require.NotZero(t, launch("absent")&0xffffffff)
	require.Zero(t, launch("scale")&0xffffffff)
	m.Call(torchSync)
	require.Equal(t, []float32{4, 8, 12}, x)
	m.Call("metalsim_shader_release", shader)
	m.finds()
}

func TestUndefinedTensor(t *testing.T) {
	m := startMetal(t)
	p := m.pipeline("scale")
	x, y := []float32{1, 2, 3}, make([]float32, 3)
	hx, hy := m.registered(x), m.registered(y)
	m.Call("metalsim_undefined", hy)
	m.onQueue(func(e uintptr) { m.encodeScale(e, p, hy, hx, 3, 2) })
	m.Call(torchSync)
	m.finds("uninitialized: read of buffer(1)")
	for name, write := range map[string]func(){
		"write": func() { m.Call("metalsim_stream_write", 0, hy, 0, uintptr(unsafe.Pointer(&x[0])), 12) },
		"fill":  func() { m.Call("metalsim_stream_fill", 0, hy, 0, 12, 0) },
		"copy":  func() { m.Call("metalsim_stream_copy", 0, hy, 0, hx, 0, 12) },
	} {
		t.Log(name)
		m.Call("metalsim_undefined", hy)
		write()
		m.onQueue(func(e uintptr) { m.encodeScale(e, p, hy, hx, 3, 2) })
		m.Call(torchSync)
		m.finds()
	}
}

// Reused memory is undefined for work that is encoded from then on, and only for that.
func TestMemoryHandedOutAgainIsUndefined(t *testing.T) {
	m := startMetal(t)
	p := m.pipeline("scale")
	out := make([]float32, 3)
	first := []float32{1, 2, 3}
	h := m.registered(out)
	a := m.Call("metalsim_allocate", 12)
	m.Call("metalsim_stream_write", 0, a, 0, uintptr(unsafe.Pointer(&first[0])), 12)
	m.onQueue(func(e uintptr) { m.encodeScale(e, p, a, h, 3, 2) })
	m.Call("metalsim_free", a)
	require.Equal(t, a, m.Call("metalsim_allocate", 12))
	m.Call(torchSync)
	require.Equal(t, []float32{2, 4, 6}, out)
	m.finds()
	m.onQueue(func(e uintptr) { m.encodeScale(e, p, a, h, 3, 2) })
	m.Call(torchSync)
	m.finds("uninitialized: read of buffer(1)")
	m.Call("metalsim_free", a)
}

// BenchmarkLaunch measures the simulator's own cost of launching a kernel with three
// arguments on torch's stream, without running it.
func BenchmarkLaunch(b *testing.B) {
	m := startMetal(&testing.T{})
	p := m.pipeline("scale")
	x := []float32{1, 2, 3}
	h := m.Call("metalsim_register", uintptr(unsafe.Pointer(&x[0])), 12)
	m.set("mode", "fast")
	m.onQueue(func(e uintptr) {
		for b.Loop() {
			m.encodeScale(e, p, h, h, 3, 1)
		}
	})
	m.Call(torchSync)
}

// The buffer that was freed last is reused first. It is private and undefined, and
// earlier work on it may not have run.
func TestFreedMemoryIsHandedOutAgain(t *testing.T) {
	m := startMetal(t)
	a := m.Call("metalsim_allocate", 12)
	require.Zero(t, m.send(a, "contents"), "private storage")
	bytes := []byte("abcdefghijkl")
	m.Call("metalsim_stream_write", 0, a, 0, uintptr(unsafe.Pointer(&bytes[0])), 12)
	m.Call("metalsim_free", a)
	b := m.Call("metalsim_allocate", 12)
	require.Equal(t, a, b)
	other := m.Call("metalsim_allocate", 12)
	require.NotEqual(t, a, other)
	back := make([]byte, 12)
	m.Call("metalsim_stream_read", 0, b, 0, uintptr(unsafe.Pointer(&back[0])), 12)
	require.Equal(t, bytes, back, "what was encoded before still ran in its place")
	m.Call("metalsim_free", b)
	m.Call("metalsim_free", other)
	m.finds()
}

// With schedule=random, work runs before anybody waits, queues take turns in a varying
// order, and memory that two of them use is a finding.
func TestQueuesOverlap(t *testing.T) {
	m := startMetal(t)
	m.set("schedule", "random")
	p := m.pipeline("scale")
	in, _ := m.buffer(1, 2, 3)
	second := m.send(m.device, "newCommandQueue")
	defer m.send(second, "release")
	orders := map[string]bool{}
	begun := 0
	for range 24 {
		pool := m.pool()
		first, one := m.buffer(0, 0, 0)
		other, two := m.buffer(0, 0, 0)
		var commands []uintptr
		for i, queue := range []uintptr{m.queue, second} {
			b := m.send(queue, "commandBuffer")
			e := m.send(b, "computeCommandEncoder")
			m.encodeScale(e, p, in, []uintptr{first, other}[i], 3, 2)
			m.send(e, "endEncoding")
			commands = append(commands, b)
		}
		m.send(commands[0], "commit")
		m.send(commands[1], "commit")
		state := fmt.Sprint(one[0] != 0, two[0] != 0)
		orders[state] = true
		if state != "false false" {
			begun++
		}
		m.waitAll(commands)
		require.Equal(t, []float32{2, 4, 6}, one)
		require.Equal(t, []float32{2, 4, 6}, two)
		m.pop(pool)
	}
	require.Greater(t, len(orders), 2, "%v", orders)
	require.Positive(t, begun)
	m.finds()

	m.requireOverlapSeen(p, in, second)
}

// requireOverlapSeen writes one buffer from two queues, first with a wait in between.
func (m metal) requireOverlapSeen(p, in, second uintptr) {
	shared, _ := m.buffer(0, 0, 0)
	for _, wait := range []bool{true, false} {
		pool := m.pool()
		var commands []uintptr
		for _, queue := range []uintptr{m.queue, second} {
			b := m.send(queue, "commandBuffer")
			for range 8 { // so that some work has not run yet
				e := m.send(b, "computeCommandEncoder")
				m.encodeScale(e, p, in, shared, 3, 2)
				m.send(e, "endEncoding")
			}
			if wait {
				m.waitAll(commands)
			}
			m.send(b, "commit")
			commands = append(commands, b)
		}
		m.waitAll(commands)
		m.pop(pool)
		if wait {
			m.finds()
		} else {
			m.finds("work of another queue uses the buffer")
		}
	}
}

// waitAll waits until no queue has a command buffer that has not run.
func (m metal) waitAll(commands []uintptr) {
	for _, b := range commands {
		m.send(b, "waitUntilCompleted")
	}
}
