// SPDX-License-Identifier: MIT

package main

// #include "header.h"
import "C"

import (
	"slices"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// Types of the header. Tests, which cgo does not process, know them by
// these names only.
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

// Structs of the header with their pointers as numbers, as they are copied into:
// what the caller's pointers lead to may be no memory.
type (
	// call is natten_mps_args with the tensors where core wants them.
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

// An index out of range here does not compile.
var (
	_ = [1]struct{}{}[unsafe.Sizeof(tensorStruct{})-unsafe.Sizeof(core.Tensor{})]
	_ = [1]struct{}{}[unsafe.Offsetof(tensorStruct{}.strides)-unsafe.Offsetof(core.Tensor{}.Strides)]
	_ = [1]struct{}{}[unsafe.Offsetof(argsStruct{}.num_threads)-unsafe.Offsetof(call{}.numThreads)]
	_ = [1]struct{}{}[unsafe.Offsetof(argsStruct{}.sizes)-unsafe.Offsetof(call{}.sizes)]
	_ = [1]struct{}{}[unsafe.Offsetof(argsStruct{}.query)-unsafe.Offsetof(call{}.buffers)-unsafe.Offsetof(core.Buffers{}.Tensors)]
	_ = [1]struct{}{}[unsafe.Sizeof(argsStruct{})-unsafe.Offsetof(argsStruct{}.query)-unsafe.Sizeof(core.Buffers{}.Tensors)]
	_ = [1]struct{}{}[unsafe.Sizeof(C.natten_mps_stream_options{})-unsafe.Sizeof(streamOptionsCopy{})]
	_ = [1]struct{}{}[unsafe.Offsetof(C.natten_mps_stream_options{}.torch_library)-unsafe.Offsetof(streamOptionsCopy{}.torchLibrary)]
	_ = [1]struct{}{}[unsafe.Sizeof(C.natten_mps_dispatch{})-unsafe.Sizeof(dispatchCopy{})]
	_ = [1]struct{}{}[unsafe.Offsetof(C.natten_mps_dispatch{}.bindings_count)-unsafe.Offsetof(dispatchCopy{}.bindingsCount)]
	_ = [1]struct{}{}[unsafe.Offsetof(C.natten_mps_dispatch{}.bindings)-unsafe.Offsetof(dispatchCopy{}.bindings)]
)

// layout says which sizes of a struct are taken: this version's, those that it had in
// older ones, and larger ones of newer ones. A size between them is nobody's, and a
// struct of that size might end in the middle of a field.
type layout struct {
	name  string
	size  uintptr
	older []uintptr
}

// maxStructSize bounds the sizes that are believed; the largest struct has 2 KiB.
const maxStructSize = 1 << 14

var (
	problemLayout = layout{
		name: "natten_mps_problem", size: unsafe.Sizeof(problemStruct{}),
		older: []uintptr{unsafe.Offsetof(problemStruct{}.ranges)},
	}
	argsLayout          = layout{name: "natten_mps_args", size: unsafe.Sizeof(argsStruct{})}
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

// All structs begin with their size.
func sizeOf(p unsafe.Pointer) uint64 { return *(*uint64)(p) }

func bytesAt(p unsafe.Pointer, n uintptr) []byte { return unsafe.Slice((*byte)(p), n) }

// load copies the caller's struct to one of the same layout. What a shorter one
// lacks is 0; what a longer one has beyond what this library knows must be 0, or it
// would be ignored.
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

// store writes as much to the caller's struct as it has room for.
func store[C, T any](to *C, from *T, l *layout) error {
	target := unsafe.Pointer(to)
	if target == nil {
		return invalid("%s is NULL", l.name)
	}
	size := sizeOf(target)
	if err := l.check(size); err != nil {
		return err
	}
	const own = unsafe.Sizeof(size) // stays the caller's
	room := min(uintptr(size), l.size)
	copy(bytesAt(target, room)[own:], bytesAt(unsafe.Pointer(from), l.size)[own:])
	return nil
}
