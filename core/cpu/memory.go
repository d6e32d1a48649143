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
	base    unsafe.Pointer
	strides [6]int
	dtype   core.DType
}

func newTensor(t core.Tensor, dtype core.DType) tensor {
	if t.Data == nil {
		return tensor{}
	}
	out := tensor{base: unsafe.Add(t.Data, t.Offset), dtype: dtype}
	for i, s := range t.Strides {
		out.strides[i] = int(s) * int(dtype.Size())
	}
	return out
}

func (t *tensor) given() bool { return t.base != nil }

// row is the address of the channels at one position and head.
func (t *tensor) row(sample, i0, i1, i2, head int) unsafe.Pointer {
	s := &t.strides
	return unsafe.Add(t.base, sample*s[0]+i0*s[1]+i1*s[2]+i2*s[3]+head*s[4])
}

// load is
//
//	for i := range dst { dst[i] = p[i*stride] }
//
// with the conversion from dtype; stride is in bytes.
func load[T number](dst []T, p unsafe.Pointer, stride int, dtype core.DType) {
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
//	for i := range src { p[i*stride] = src[i] * factor }
//
// with the conversion to dtype; stride is in bytes.
func store[T number](p unsafe.Pointer, stride int, dtype core.DType, src []T, factor T) {
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

// fill is
//
//	for i := range n { p[i*stride] = v }
func fill(p unsafe.Pointer, stride, n int, dtype core.DType, v float64) {
	value := [1]float64{v}
	for i := range n {
		store(unsafe.Add(p, i*stride), 0, dtype, value[:], 1)
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
