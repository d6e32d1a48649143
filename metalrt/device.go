// SPDX-License-Identifier: MIT

package metalrt

import (
	"fmt"
	"unsafe"
)

var (
	class_MTLCompileOptions = class("MTLCompileOptions")

	sel_count                                               = selector("count")
	sel_objectAtIndex                                       = selector("objectAtIndex:")
	sel_registryID                                          = selector("registryID")
	sel_name                                                = selector("name")
	sel_supportsFamily                                      = selector("supportsFamily:")
	sel_maxThreadgroupMemoryLength                          = selector("maxThreadgroupMemoryLength")
	sel_recommendedMaxWorkingSetSize                        = selector("recommendedMaxWorkingSetSize")
	sel_newCommandQueue                                     = selector("newCommandQueue")
	sel_newBufferWithLength_options                         = selector("newBufferWithLength:options:")
	sel_newBufferWithBytesNoCopy_length_options_deallocator = selector("newBufferWithBytesNoCopy:length:options:deallocator:")
	sel_newLibraryWithSource_options_error                  = selector("newLibraryWithSource:options:error:")
	sel_newFunctionWithName                                 = selector("newFunctionWithName:")
	sel_newComputePipelineStateWithFunction_error           = selector("newComputePipelineStateWithFunction:error:")
	sel_setLanguageVersion                                  = selector("setLanguageVersion:")
	sel_setMathMode                                         = selector("setMathMode:")
	sel_setMathFloatingPointFunctions                       = selector("setMathFloatingPointFunctions:")
	sel_setFastMathEnabled                                  = selector("setFastMathEnabled:")
	sel_maxTotalThreadsPerThreadgroup                       = selector("maxTotalThreadsPerThreadgroup")
	sel_threadExecutionWidth                                = selector("threadExecutionWidth")
	sel_staticThreadgroupMemoryLength                       = selector("staticThreadgroupMemoryLength")
	sel_contents                                            = selector("contents")
	sel_length                                              = selector("length")
)

// GPUFamily is a set of GPU features.
//
// Reference: https://developer.apple.com/documentation/metal/mtlgpufamily
type GPUFamily int

// GPU families. Apple7 is the M1, Apple8 the M2, Apple9 the M3 and M4, Apple10 the
// M5.
const (
	GPUFamilyApple7  GPUFamily = 1007
	GPUFamilyApple8  GPUFamily = 1008
	GPUFamilyApple9  GPUFamily = 1009
	GPUFamilyApple10 GPUFamily = 1010
	GPUFamilyMetal3  GPUFamily = 5001
)

// LanguageVersion is a version of the Metal shading language.
//
// Reference: https://developer.apple.com/documentation/metal/mtllanguageversion
type LanguageVersion uintptr

// LanguageVersion3_1 is the version of macOS 14, the first with bfloat.
const LanguageVersion3_1 LanguageVersion = 3<<16 + 1

// MathMode selects which floating-point transformations the compiler may apply.
//
// Reference: https://developer.apple.com/documentation/metal/mtlmathmode
type MathMode uintptr

// Math modes.
const (
	MathModeSafe    MathMode = 0
	MathModeRelaxed MathMode = 1
	MathModeFast    MathMode = 2
)

// MathFloatingPointFunctions selects the precision of exp, log and other functions.
//
// Reference: https://developer.apple.com/documentation/metal/mtlmathfloatingpointfunctions
type MathFloatingPointFunctions uintptr

// Precisions of library functions.
const (
	MathFloatingPointFunctionsFast    MathFloatingPointFunctions = 0
	MathFloatingPointFunctionsPrecise MathFloatingPointFunctions = 1
)

// CompileOptions are the options for compiling a library. All are set explicitly,
// because Metal's defaults differ between versions of macOS.
//
// Reference: https://developer.apple.com/documentation/metal/mtlcompileoptions
type CompileOptions struct {
	LanguageVersion            LanguageVersion
	MathMode                   MathMode
	MathFloatingPointFunctions MathFloatingPointFunctions
}

// new returns an MTLCompileOptions, which the caller releases. macOS 14 has only a
// switch for fast math.
func (o CompileOptions) new() Object {
	m := Object{send(class_MTLCompileOptions.id, sel_new)}
	send(m.ID, sel_setLanguageVersion, uintptr(o.LanguageVersion))
	if m.respondsTo(sel_setMathMode) {
		send(m.ID, sel_setMathMode, uintptr(o.MathMode))
		send(m.ID, sel_setMathFloatingPointFunctions, uintptr(o.MathFloatingPointFunctions))
	} else {
		send(m.ID, sel_setFastMathEnabled, boolean(o.MathMode != MathModeSafe))
	}
	return m
}

// Device is a GPU.
//
// Reference: https://developer.apple.com/documentation/metal/mtldevice
type Device struct{ Object }

// Devices loads Metal if necessary and returns the machine's GPUs, at least one, or
// an error. The caller releases them.
//
// There are two functions that find GPUs, and each is known to return nothing in some
// processes where the other works. For MTLCreateSystemDefaultDevice, these are
// terminals, SSH sessions and CI of macOS 14 and later; for MTLCopyAllDevices, some
// sandboxes. Torch uses MTLCopyAllDevices, so it is tried first.
//
// Reference: https://developer.apple.com/documentation/metal/mtlcopyalldevices()
// and https://developer.apple.com/documentation/metal/mtlcreatesystemdefaultdevice()
func Devices() ([]Device, error) {
	if err := Load(); err != nil {
		return nil, err
	}
	if devices := copyAllDevices(); len(devices) > 0 {
		return devices, nil
	}
	if c.MTLCreateSystemDefaultDevice != 0 {
		if d := (Device{Object{call(c.MTLCreateSystemDefaultDevice)}}); !d.Nil() {
			return []Device{d}, nil
		}
	}
	return nil, &Error{
		Call: "MTLCopyAllDevices, MTLCreateSystemDefaultDevice",
		Text: "neither finds a GPU that Metal can use (is this a virtual machine, or a sandbox without the GPU?)",
	}
}

func copyAllDevices() (devices []Device) {
	if c.MTLCopyAllDevices == 0 {
		return nil
	}
	defer PushPool().Pop()
	list := Object{call(c.MTLCopyAllDevices)}
	if list.Nil() {
		return nil
	}
	defer list.Release()
	for i := range send(list.ID, sel_count) {
		d := Device{Object{send(list.ID, sel_objectAtIndex, i)}}
		d.Retain() // the list is released
		devices = append(devices, d)
	}
	return devices
}

// RegistryID identifies a GPU. Object addresses do not: under Metal's debug layer,
// one GPU has several objects.
//
// Reference: https://developer.apple.com/documentation/metal/mtldevice/registryid
func (d Device) RegistryID() uint64 { return uint64(send(d.ID, sel_registryID)) }

// Name returns the GPU's name.
func (d Device) Name() string {
	defer PushPool().Pop()
	return text(send(d.ID, sel_name))
}

// SupportsFamily reports whether the GPU has the features of a family.
func (d Device) SupportsFamily(f GPUFamily) bool {
	return truth(send(d.ID, sel_supportsFamily, uintptr(f)))
}

// MaxThreadgroupMemoryLength returns a number of bytes.
func (d Device) MaxThreadgroupMemoryLength() int {
	return int(send(d.ID, sel_maxThreadgroupMemoryLength))
}

// RecommendedMaxWorkingSetSize returns a number of bytes.
func (d Device) RecommendedMaxWorkingSetSize() uint64 {
	return uint64(send(d.ID, sel_recommendedMaxWorkingSetSize))
}

// NewLibraryWithSource compiles source. Metal reports warnings as an error together
// with a library, so only a missing library counts as a failure.
func (d Device) NewLibraryWithSource(source string, options CompileOptions) (Library, error) {
	defer PushPool().Pop()
	s, o := newString(source), options.new()
	defer s.Release()
	defer o.Release()
	var nserror uintptr
	l := Library{Object{send(d.ID, sel_newLibraryWithSource_options_error,
		s.ID, o.ID, uintptr(unsafe.Pointer(&nserror)))}}
	if l.Nil() {
		return l, failure("newLibraryWithSource", nserror)
	}
	return l, nil
}

// NewComputePipelineState compiles a function for the GPU.
func (d Device) NewComputePipelineState(f Function) (ComputePipelineState, error) {
	defer PushPool().Pop()
	var nserror uintptr
	p := ComputePipelineState{Object{send(d.ID, sel_newComputePipelineStateWithFunction_error,
		f.ID, uintptr(unsafe.Pointer(&nserror)))}}
	if p.Nil() {
		return p, failure("newComputePipelineStateWithFunction", nserror)
	}
	return p, nil
}

// NewCommandQueue creates a queue.
func (d Device) NewCommandQueue() (CommandQueue, error) {
	q := CommandQueue{Object{send(d.ID, sel_newCommandQueue)}}
	if q.Nil() {
		return q, failure("newCommandQueue", 0)
	}
	return q, nil
}

// NewBuffer allocates memory that both CPU and GPU can access.
func (d Device) NewBuffer(length int) (Buffer, error) {
	const shared = 0 // MTLResourceStorageModeShared
	b := Buffer{Object{send(d.ID, sel_newBufferWithLength_options, uintptr(length), shared)}}
	if b.Nil() {
		return b, &OutOfMemoryError{Bytes: length}
	}
	if b.Contents() == nil {
		b.Release()
		return Buffer{}, &Error{Call: "contents", Text: "the CPU cannot reach shared memory of the GPU"}
	}
	return b, nil
}

// NewBufferWithBytesNoCopy wraps existing memory in a buffer. The memory must be
// whole pages, must outlive the buffer, and must not be moved by Go. Metal may
// refuse, then ok is false.
func (d Device) NewBufferWithBytesNoCopy(bytes uintptr, length int) (b Buffer, ok bool) {
	const shared, noDeallocator = 0, 0
	b = Buffer{Object{send(d.ID, sel_newBufferWithBytesNoCopy_length_options_deallocator,
		bytes, uintptr(length), shared, noDeallocator)}}
	return b, !b.Nil()
}

// OutOfMemoryError reports that Metal refused to allocate memory.
type OutOfMemoryError struct{ Bytes int }

func (e *OutOfMemoryError) Error() string {
	return fmt.Sprintf("metalrt: newBufferWithLength: no memory for %d bytes", e.Bytes)
}

// Library is a compiled MSL source.
//
// Reference: https://developer.apple.com/documentation/metal/mtllibrary
type Library struct{ Object }

// NewFunction returns the kernel called name.
func (l Library) NewFunction(name string) (Function, error) {
	s := newString(name)
	defer s.Release()
	f := Function{Object{send(l.ID, sel_newFunctionWithName, s.ID)}}
	if f.Nil() {
		return f, &Error{Call: "newFunctionWithName", Text: "the library has no function " + name}
	}
	return f, nil
}

// Function is a kernel of a library.
//
// Reference: https://developer.apple.com/documentation/metal/mtlfunction
type Function struct{ Object }

// ComputePipelineState is a kernel compiled for a GPU.
//
// Reference: https://developer.apple.com/documentation/metal/mtlcomputepipelinestate
type ComputePipelineState struct{ Object }

// MaxTotalThreadsPerThreadgroup is lower than 1024 if the kernel needs many
// registers.
func (p ComputePipelineState) MaxTotalThreadsPerThreadgroup() int {
	return int(send(p.ID, sel_maxTotalThreadsPerThreadgroup))
}

// ThreadExecutionWidth returns the number of threads of a simdgroup.
func (p ComputePipelineState) ThreadExecutionWidth() int {
	return int(send(p.ID, sel_threadExecutionWidth))
}

// StaticThreadgroupMemoryLength returns a number of bytes.
func (p ComputePipelineState) StaticThreadgroupMemoryLength() int {
	return int(send(p.ID, sel_staticThreadgroupMemoryLength))
}

// Buffer is memory that the GPU can access.
//
// Reference: https://developer.apple.com/documentation/metal/mtlbuffer
type Buffer struct{ Object }

// Length returns the size in bytes.
func (b Buffer) Length() int { return int(quickSend(b.ID, sel_length, 0, 0, 0)) }

// Contents returns the CPU address of the memory, or nil for a private buffer.
func (b Buffer) Contents() unsafe.Pointer { return pointer(quickSend(b.ID, sel_contents, 0, 0, 0)) }
