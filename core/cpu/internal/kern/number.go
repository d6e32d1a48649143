// SPDX-License-Identifier: MIT

package kern

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// Number is a type in which engines accumulate.
type Number interface{ float32 | float64 }

// Float32Bytes is the size of a float32.
const Float32Bytes = 4

// LineBytes is the size of a cache line.
const LineBytes = 64

// Slack is the number of extra elements after every panel. Kernels read whole vectors, which may
// extend past the end of the panel.
const Slack = 16

// SizeOf is the size of a T in bytes.
func SizeOf[T Number]() int {
	var x T
	return int(unsafe.Sizeof(x))
}

// At is the address of element i.
func At[T Number](p unsafe.Pointer, i int) unsafe.Pointer {
	var t T
	return unsafe.Add(p, i*int(unsafe.Sizeof(t)))
}

// AddressOf returns the address of scratch memory, which does not move and which its worker
// keeps alive.
func AddressOf[T any](p *T) core.Address { return core.Address(unsafe.Pointer(p)) }

// Padded rounds a number of channels or lanes up to a multiple of 8.
func Padded(channels int) int { return (channels + 7) &^ 7 }

// CeilDiv is n/size, rounded up.
func CeilDiv[T int | int64](n, size T) T { return (n + size - 1) / size }

// Grow returns s with length n, reallocated if its capacity is too small. The contents are
// undefined.
func Grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
