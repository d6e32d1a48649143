// SPDX-License-Identifier: MIT

package kern

import (
	"math"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// Load computes
//
//	for i := range dst { dst[i] = from[i*stride] }
//
// and converts from dtype.
func Load[T Number](dst []T, from core.Address, stride int, dtype core.DType) {
	if len(dst) == 0 {
		return
	}
	p := from.Pointer()
	if x, ok := any(dst).([]float32); ok && dtype == core.Float32 && stride == Float32Bytes {
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

// LoadLSE is Load for lse, which is subtracted from logits. It replaces -infinity, the lse of a
// row whose logits are all -infinity, by +infinity, so that all weights of the row become 0.
func LoadLSE[T Number](dst []T, from core.Address, stride int, dtype core.DType) {
	Load(dst, from, stride, dtype)
	for i, v := range dst {
		if math.IsInf(float64(v), -1) {
			dst[i] = -v
		}
	}
}

// Store computes
//
//	for i := range src { to[i*stride] = src[i] * factor }
//
// and converts to dtype.
func Store[T Number](to core.Address, stride int, dtype core.DType, src []T, factor T) {
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

// Fill computes
//
//	for i := range n { p[i*stride] = v }
//
// and converts to dtype.
func Fill(p core.Address, stride, n int, dtype core.DType, v float64) {
	value := [1]float64{v}
	for i := range n {
		Store(p.Add(i*stride), 0, dtype, value[:], 1)
	}
}
