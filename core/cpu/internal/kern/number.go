// SPDX-License-Identifier: MIT

package kern

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// Number is a type in which sums are taken.
type Number interface{ float32 | float64 }

// Float32Bytes is the size of a float32.
const Float32Bytes = 4

// LineBytes is the size of a cache line.
const LineBytes = 64

// Slack is the number of elements behind every panel that kernels may read, so that a
// vector of lanes need not end where the panel does.
const Slack = 16

// SizeOf is the number of bytes of a T.
func SizeOf[T Number]() int {
	var x T
	return int(unsafe.Sizeof(x))
}

// At is the address of element i.
func At[T Number](p unsafe.Pointer, i int) unsafe.Pointer {
	var t T
	return unsafe.Add(p, i*int(unsafe.Sizeof(t)))
}

// AddressOf returns the address of scratch, which is a worker's and stays where it is.
func AddressOf[T any](p *T) core.Address { return core.Address(unsafe.Pointer(p)) }

// Padded is a number of channels or lanes rounded up to eights.
func Padded(channels int) int { return (channels + 7) &^ 7 }

// CeilDiv is n/size, rounded up.
func CeilDiv[T int | int64](n, size T) T { return (n + size - 1) / size }

// Grow returns s with length n, newly made if it is too small. What it holds is
// undefined.
func Grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
