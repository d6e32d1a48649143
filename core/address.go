// SPDX-License-Identifier: MIT

package core

import "unsafe"

// Address is the address of memory that the caller owns. It is a number and not a
// pointer, so that the garbage collector never looks at it: a caller's address need
// not point to memory at all (the tensor may be empty), and what follows a tensor may
// be anything. Only the code that reads or writes the memory converts it to a
// pointer.
type Address uintptr

// AddressOf returns the address of Go memory and moves that memory to the heap if it
// is on a stack. The address does not keep the memory alive: the caller needs
// runtime.KeepAlive.
func AddressOf(p unsafe.Pointer) Address {
	if neverTrue {
		escaped = p
	}
	return Address(p)
}

// neverTrue and escaped make escape analysis assume a store that never happens.
var (
	neverTrue bool
	escaped   unsafe.Pointer //nolint:unused // is only stored to
)

// Add returns the address n bytes after a.
func (a Address) Add(n int) Address { return a + Address(n) }

// Pointer returns a as a pointer. a must be the address of accessible memory.
//
//go:nocheckptr
func (a Address) Pointer() unsafe.Pointer { return unsafe.Add(nil, uintptr(a)) }
