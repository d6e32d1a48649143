// SPDX-License-Identifier: MIT

package metalrt

import (
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Route is a way to run code on the queue of PyTorch's stream.
type Route int

// Routes.
const (
	// CommandBlock runs code on the current stream's queue through
	// aoti_torch_mps_run_command_block, which exists since torch 2.10.
	CommandBlock Route = iota + 1
	// DispatchQueue runs code on the default stream's queue through dispatch_sync_f,
	// for versions of torch that have only one stream.
	DispatchQueue
)

func (r Route) String() string {
	switch r {
	case CommandBlock:
		return "command block"
	case DispatchQueue:
		return "dispatch queue"
	}
	return "unknown"
}

// Torch is PyTorch's Metal stream.
type Torch struct {
	route             Route
	getCurrentStream  uintptr
	getDefaultStream  uintptr
	commandEncoder    uintptr
	getDispatchQueue  uintptr
	createLibrary     uintptr
	getKernelFunction uintptr
	runCommandBlock   uintptr
	queue             uintptr // of the default stream, DispatchQueue only
	function          uintptr // an empty kernel, CommandBlock only
}

// symbols lists the functions that a route needs.
func (t *Torch) symbols() map[string]*uintptr {
	needed := map[string]*uintptr{
		"_ZN2at3mps19getCurrentMPSStreamEv":      &t.getCurrentStream,
		"_ZN2at3mps9MPSStream14commandEncoderEv": &t.commandEncoder,
	}
	if t.route == CommandBlock {
		needed["aoti_torch_mps_create_shader_library"] = &t.createLibrary
		needed["aoti_torch_mps_get_kernel_function"] = &t.getKernelFunction
		needed["aoti_torch_mps_run_command_block"] = &t.runCommandBlock
	} else {
		needed["_ZN2at3mps19getDefaultMPSStreamEv"] = &t.getDefaultStream
		needed["_ZN5torch3mps18get_dispatch_queueEv"] = &t.getDispatchQueue
	}
	return needed
}

// OpenTorch prepares a route through libtorch_cpu at path, which the process must
// have loaded already. The library stays loaded.
func OpenTorch(path string, route Route) (*Torch, error) {
	if err := Load(); err != nil {
		return nil, err
	}
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("metalrt: cannot open torch's library %s: %w", path, err)
	}
	t := &Torch{route: route}
	if missing := find([]uintptr{handle}, t.symbols()); len(missing) > 0 {
		return nil, fmt.Errorf("metalrt: torch's library %s has no %s, which the %v needs",
			path, strings.Join(missing, ", "), route)
	}
	if route == CommandBlock {
		return t, t.makeFunction()
	}
	if t.queue = call(t.getDispatchQueue); t.queue == 0 {
		return nil, fmt.Errorf("metalrt: torch has no dispatch queue for its stream")
	}
	return t, nil
}

// makeFunction compiles the kernel that torch's function requires as an argument. It
// is never dispatched.
func (t *Torch) makeFunction() error {
	const name = "natten_mps_nothing"
	source := []byte("#include <metal_stdlib>\nkernel void " + name +
		"(device uint* unused [[buffer(0)]], uint i [[thread_position_in_grid]]) { unused[i] = 0; }\x00")
	var library uintptr
	if rc := int32(call(t.createLibrary, uintptr(unsafe.Pointer(&source[0])), uintptr(unsafe.Pointer(&library)))); rc != 0 {
		return fmt.Errorf("metalrt: aoti_torch_mps_create_shader_library failed (%d)", rc)
	}
	kernel := append([]byte(name), 0)
	if rc := int32(call(t.getKernelFunction, library, uintptr(unsafe.Pointer(&kernel[0])), uintptr(unsafe.Pointer(&t.function)))); rc != 0 {
		return fmt.Errorf("metalrt: aoti_torch_mps_get_kernel_function failed (%d)", rc)
	}
	return nil
}

// Route returns the route that OpenTorch was given.
func (t *Torch) Route() Route { return t.route }

// CurrentStream returns an identifier of the calling thread's current stream.
func (t *Torch) CurrentStream() uintptr { return quickCall(t.getCurrentStream, 0, 0, 0) }

// Encode writes dispatches into the open encoder of a stream, in order with torch's
// own work, and does not wait for them. stream is the result of CurrentStream on the
// same thread.
func (t *Torch) Encode(stream uintptr, encoding Encoding) error {
	b, key := takeBlock()
	defer returnBlock(b, key)
	b.encoding, b.torch, b.stream = encoding, t, stream
	if err := t.dispatch(b, key); err != nil {
		return err
	}
	if !b.ran {
		return fmt.Errorf("metalrt: torch did not run the %v", t.route)
	}
	return b.err
}

func (t *Torch) dispatch(b *block, key uintptr) error {
	if t.route == CommandBlock {
		if rc := int32(quickCall(t.runCommandBlock, t.function, commandBlock(), key)); rc != 0 {
			return fmt.Errorf("metalrt: aoti_torch_mps_run_command_block failed (%d)", rc)
		}
		return nil
	}
	if b.stream != quickCall(t.getDefaultStream, 0, 0, 0) {
		return fmt.Errorf("metalrt: the current torch.mps stream is not the default one, whose queue is all that this version of torch tells (want torch >= 2.10, or the default stream)")
	}
	quickCall(c.dispatch_sync_f, t.queue, key, queueBlock())
	return nil
}

// Device returns the GPU of torch's encoder, or nil if the encoder does not say. The
// caller releases it.
func (t *Torch) Device() (Device, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var asked deviceQuestion
	err := t.Encode(t.CurrentStream(), &asked)
	return asked.device, err
}

type deviceQuestion struct{ device Device }

func (q *deviceQuestion) Encode(e ComputeCommandEncoder) error {
	q.device = e.Device()
	q.device.Retain() // the pool around the encoding releases it
	return nil
}
