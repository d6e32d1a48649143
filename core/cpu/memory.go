// SPDX-License-Identifier: MIT

package cpu

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// number is a type in which sums are taken.
type number interface{ float32 | float64 }

// tensor is a core.Tensor with strides in bytes.
type tensor struct {
	base    core.Address
	strides [6]int
	dtype   core.DType
}

func newTensor(t core.Tensor, dtype core.DType) tensor {
	if t.Data == 0 {
		return tensor{}
	}
	out := tensor{base: t.Data.Add(int(t.Offset)), dtype: dtype}
	for i, s := range t.Strides {
		out.strides[i] = int(s) * int(dtype.Size())
	}
	return out
}

func (t *tensor) given() bool { return t.base != 0 }

// row is the address of the channels at one position and head.
func (t *tensor) row(sample, i0, i1, i2, head int) core.Address {
	s := &t.strides
	return t.base.Add(sample*s[0] + i0*s[1] + i1*s[2] + i2*s[3] + head*s[4])
}

// load is
//
//	for i := range dst { dst[i] = from[i*stride] }
//
// with the conversion from dtype; stride is in bytes.
func load[T number](dst []T, from core.Address, stride int, dtype core.DType) {
	if len(dst) == 0 {
		return
	}
	p := from.Pointer()
	if x, ok := any(dst).([]float32); ok && dtype == core.Float32 && stride == float32Bytes {
		copy(x, unsafe.Slice((*float32)(p), len(x)))
		return
	}
	switch dtype {
	case core.Float32:
		for i := range dst {
			dst[i] = T(*(*float32)(unsafe.Add(p, i*stride)))
		}
	case core.Float64:
		for i := range dst {
			dst[i] = T(*(*float64)(unsafe.Add(p, i*stride)))
		}
	case core.Float16:
		for i := range dst {
			dst[i] = T(core.Float16ToFloat32(*(*uint16)(unsafe.Add(p, i*stride))))
		}
	default:
		for i := range dst {
			dst[i] = T(core.BFloat16ToFloat32(*(*uint16)(unsafe.Add(p, i*stride))))
		}
	}
}

// store is
//
//	for i := range src { to[i*stride] = src[i] * factor }
//
// with the conversion to dtype; stride is in bytes.
func store[T number](to core.Address, stride int, dtype core.DType, src []T, factor T) {
	if len(src) == 0 {
		return
	}
	p := to.Pointer()
	switch dtype {
	case core.Float32:
		for i, v := range src {
			*(*float32)(unsafe.Add(p, i*stride)) = float32(v * factor)
		}
	case core.Float64:
		for i, v := range src {
			*(*float64)(unsafe.Add(p, i*stride)) = float64(v * factor)
		}
	case core.Float16:
		for i, v := range src {
			*(*uint16)(unsafe.Add(p, i*stride)) = core.Float32ToFloat16(float32(v * factor))
		}
	default:
		for i, v := range src {
			*(*uint16)(unsafe.Add(p, i*stride)) = core.Float32ToBFloat16(float32(v * factor))
		}
	}
}

// addressOf returns the address of scratch, which is a worker's and stays where it is.
func addressOf[T any](p *T) core.Address { return core.Address(unsafe.Pointer(p)) }

// fill is
//
//	for i := range n { p[i*stride] = v }
func fill(p core.Address, stride, n int, dtype core.DType, v float64) {
	value := [1]float64{v}
	for i := range n {
		store(p.Add(i*stride), 0, dtype, value[:], 1)
	}
}

// grow returns s with length n, newly made if it is too small. What it holds is
// undefined.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
