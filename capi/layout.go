// SPDX-License-Identifier: MIT

package main

// #include "natten_mps.h"
import "C"

import "unsafe"

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

	streamOptionsStruct = C.natten_mps_stream_options
	dispatchStruct      = C.natten_mps_dispatch
	planHandle          = C.natten_mps_plan
)

// layout says which sizes of a struct are taken: the caller's program may be
// older than the library and its struct shorter, down to what nothing works
// without, or newer and its struct longer.
type layout struct {
	name          string
	size, atLeast uintptr
}

// farTooLarge bounds the sizes that are believed; the largest struct has 2 KiB.
const farTooLarge = 1 << 14

var (
	errorLayout = layout{
		"natten_mps_error", unsafe.Sizeof(errorStruct{}),
		unsafe.Offsetof(errorStruct{}.message) + 1,
	}
	problemLayout = layout{
		"natten_mps_problem", unsafe.Sizeof(problemStruct{}),
		unsafe.Offsetof(problemStruct{}.axes) + unsafe.Sizeof(C.natten_mps_axis{}),
	}
	argsLayout = layout{
		"natten_mps_args", unsafe.Sizeof(argsStruct{}),
		unsafe.Offsetof(argsStruct{}.query) + unsafe.Sizeof(tensorStruct{}),
	}
	backendInfoLayout = layout{
		"natten_mps_backend_info", unsafe.Sizeof(backendInfoStruct{}),
		unsafe.Offsetof(backendInfoStruct{}.details),
	}
	planInfoLayout = layout{
		"natten_mps_plan_info", unsafe.Sizeof(planInfoStruct{}),
		unsafe.Offsetof(planInfoStruct{}.variant),
	}
	windowInfoLayout = layout{
		"natten_mps_window_info", unsafe.Sizeof(windowInfoStruct{}),
		unsafe.Sizeof(windowInfoStruct{}),
	}
	streamOptionsLayout = layout{
		"natten_mps_stream_options", unsafe.Sizeof(streamOptionsStruct{}),
		unsafe.Sizeof(streamOptionsStruct{}),
	}
	dispatchLayout = layout{
		"natten_mps_dispatch", unsafe.Sizeof(dispatchStruct{}),
		unsafe.Sizeof(dispatchStruct{}),
	}
)

func (l *layout) check(size uint64) error {
	if size < uint64(l.atLeast) || size > farTooLarge {
		return invalid("size of %s is %d (want sizeof(%s) = %d)", l.name, size, l.name, l.size)
	}
	return nil
}

// All structs begin with their size.
func sizeOf(p unsafe.Pointer) uint64 { return *(*uint64)(p) }

func bytesAt(p unsafe.Pointer, n uintptr) []byte { return unsafe.Slice((*byte)(p), n) }

// load copies the caller's struct. What a shorter one lacks is 0; what a longer
// one has beyond what this library knows must be 0, or it would be ignored.
func load[T any](to, from *T, l *layout) error {
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
func store[T any](to, from *T, l *layout) error {
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
