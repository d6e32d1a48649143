// SPDX-License-Identifier: MIT

package main

// #include "header.h"
import "C"

import (
	"slices"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// Types of the header. Tests, which cgo does not process, can refer to them only by
// these names.
type (
	problemStruct     = C.natten_mps_problem
	argsStruct        = C.natten_mps_args
	tensorStruct      = C.natten_mps_tensor
	errorStruct       = C.natten_mps_error
	backendInfoStruct = C.natten_mps_backend_info
	planInfoStruct    = C.natten_mps_plan_info
	windowInfoStruct  = C.natten_mps_window_info
	planHandle        = C.natten_mps_plan
)

// Copies of the header's structs with numbers in place of pointers, because the
// caller's pointers may be invalid.
type (
	// call is natten_mps_args with the tensors in the form that core expects.
	call struct {
		size                 uint64
		numThreads, reserved int32
		sizes                core.Address
		buffers              core.Buffers
	}
	streamOptionsCopy struct {
		size             uint64
		stream, reserved int32
		torchLibrary     core.Address
	}
	dispatchCopy struct {
		size                       uint64
		bytes                      core.Address
		bytesCapacity, bytesLength uint64
		count, bindingsCount       int32
		groups, threads            [3]int64
		function                   [256]C.char
		bindings                   [C.NATTEN_MPS_MAX_BINDINGS]C.natten_mps_binding
	}
)

// If a size or offset differs, an index is out of range and the package does not
// compile.
var (
	_ = [1]struct{}{}[unsafe.Sizeof(tensorStruct{})-unsafe.Sizeof(core.Tensor{})]
	_ = [1]struct{}{}[unsafe.Offsetof(tensorStruct{}.strides)-unsafe.Offsetof(core.Tensor{}.Strides)]
	_ = [1]struct{}{}[unsafe.Offsetof(argsStruct{}.num_threads)-unsafe.Offsetof(call{}.numThreads)]
	_ = [1]struct{}{}[unsafe.Offsetof(argsStruct{}.sizes)-unsafe.Offsetof(call{}.sizes)]
	_ = [1]struct{}{}[unsafe.Offsetof(argsStruct{}.query)-unsafe.Offsetof(call{}.buffers)-unsafe.Offsetof(core.Buffers{}.Tensors)]
	_ = [1]struct{}{}[unsafe.Offsetof(argsStruct{}.interrupt)-unsafe.Offsetof(call{}.buffers)-unsafe.Offsetof(core.Buffers{}.Interrupt)]
	_ = [1]struct{}{}[unsafe.Offsetof(argsStruct{}.interrupt_context)-unsafe.Offsetof(call{}.buffers)-unsafe.Offsetof(core.Buffers{}.InterruptContext)]
	_ = [1]struct{}{}[unsafe.Sizeof(argsStruct{})-unsafe.Offsetof(argsStruct{}.interrupt_context)-unsafe.Sizeof(core.Buffers{}.InterruptContext)]
	_ = [1]struct{}{}[unsafe.Sizeof(C.natten_mps_stream_options{})-unsafe.Sizeof(streamOptionsCopy{})]
	_ = [1]struct{}{}[unsafe.Offsetof(C.natten_mps_stream_options{}.torch_library)-unsafe.Offsetof(streamOptionsCopy{}.torchLibrary)]
	_ = [1]struct{}{}[unsafe.Sizeof(C.natten_mps_dispatch{})-unsafe.Sizeof(dispatchCopy{})]
	_ = [1]struct{}{}[unsafe.Offsetof(C.natten_mps_dispatch{}.bindings_count)-unsafe.Offsetof(dispatchCopy{}.bindingsCount)]
	_ = [1]struct{}{}[unsafe.Offsetof(C.natten_mps_dispatch{}.bindings)-unsafe.Offsetof(dispatchCopy{}.bindings)]
)

// layout says which sizes of a struct are accepted: that of this version, those of
// older versions, and larger ones of newer versions. No version has a size in
// between, and a struct of such a size might end in the middle of a field.
type layout struct {
	name  string
	size  uintptr
	older []uintptr
}

// maxStructSize is the largest size that is accepted, in bytes. The largest struct
// has 2 KiB.
const maxStructSize = 1 << 14

var (
	problemLayout = layout{
		name: "natten_mps_problem", size: unsafe.Sizeof(problemStruct{}),
		older: []uintptr{unsafe.Offsetof(problemStruct{}.ranges)},
	}
	argsLayout = layout{
		name: "natten_mps_args", size: unsafe.Sizeof(argsStruct{}),
		older: []uintptr{unsafe.Offsetof(argsStruct{}.interrupt)},
	}
	backendInfoLayout   = layout{name: "natten_mps_backend_info", size: unsafe.Sizeof(backendInfoStruct{})}
	planInfoLayout      = layout{name: "natten_mps_plan_info", size: unsafe.Sizeof(planInfoStruct{})}
	windowInfoLayout    = layout{name: "natten_mps_window_info", size: unsafe.Sizeof(windowInfoStruct{})}
	streamOptionsLayout = layout{name: "natten_mps_stream_options", size: unsafe.Sizeof(streamOptionsCopy{})}
	dispatchLayout      = layout{name: "natten_mps_dispatch", size: unsafe.Sizeof(dispatchCopy{})}
)

func (l *layout) check(size uint64) error {
	known := size >= uint64(l.size) || slices.Contains(l.older, uintptr(size))
	if !known || size > maxStructSize {
		return invalid("size of %s is %d (want sizeof(%s) = %d)", l.name, size, l.name, l.size)
	}
	return nil
}

// sizeOf returns the size field with which every struct begins.
func sizeOf(p unsafe.Pointer) uint64 { return *(*uint64)(p) }

func bytesAt(p unsafe.Pointer, n uintptr) []byte { return unsafe.Slice((*byte)(p), n) }

// load copies the caller's struct to one of the same layout. Fields that a shorter
// struct lacks are set to 0. The bytes of a longer struct that this library does not
// know must be 0, because they would be ignored otherwise.
func load[T, C any](to *T, from *C, l *layout) error {
	source := unsafe.Pointer(from)
	if source == nil {
		return invalid("%s is NULL", l.name)
	}
	size := sizeOf(source)
	if err := l.check(size); err != nil {
		return err
	}
	known := min(uintptr(size), l.size)
	clear(bytesAt(unsafe.Pointer(to), l.size)[copy(bytesAt(unsafe.Pointer(to), l.size), bytesAt(source, known)):])
	for i, b := range bytesAt(source, uintptr(size))[known:] {
		if b != 0 {
			return invalid("%s has %d bytes and byte %d is not 0 (this library is older and knows %d)",
				l.name, size, known+uintptr(i), l.size)
		}
	}
	return nil
}

// store copies as much to the caller's struct as it has room for.
func store[C, T any](to *C, from *T, l *layout) error {
	target := unsafe.Pointer(to)
	if target == nil {
		return invalid("%s is NULL", l.name)
	}
	size := sizeOf(target)
	if err := l.check(size); err != nil {
		return err
	}
	const own = unsafe.Sizeof(size) // the size field is not overwritten
	room := min(uintptr(size), l.size)
	copy(bytesAt(target, room)[own:], bytesAt(unsafe.Pointer(from), l.size)[own:])
	return nil
}
