// SPDX-License-Identifier: MIT

package core

import "unsafe"

// Address is where memory is that the caller owns. It is a number, so that the
// garbage collector never looks at it: an address of the caller's may be of no
// memory at all (that of an empty tensor), and what is past the end of a tensor
// may be anything. Only the code that reads or writes the memory turns it into a
// pointer.
type Address uintptr

// AddressOf returns the address of Go memory, which it moves to the heap if it is on
// a stack. The address does not keep the memory: who passes it on uses
// runtime.KeepAlive.
func AddressOf(p unsafe.Pointer) Address {
	if neverTrue {
		escaped = p
	}
	return Address(p)
}

// The compiler does not know that nothing is ever stored here.
var (
	neverTrue bool
	escaped   unsafe.Pointer
)

// Add returns the address n bytes further.
func (a Address) Add(n int) Address { return a + Address(n) }

// Pointer returns a as a pointer, which must lead to memory.
//
//go:nocheckptr
func (a Address) Pointer() unsafe.Pointer { return unsafe.Add(nil, uintptr(a)) }
