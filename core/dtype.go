// SPDX-License-Identifier: MIT

package core

import (
	"math"

	"github.com/x448/float16"
)

// DType is the element type of a problem's tensors. The values are those of
// natten_mps_dtype.
type DType int32

// Element types.
const (
	Float32 DType = iota + 1
	Float16
	BFloat16
	Float64
)

type dtypeRow struct {
	name string
	size int64
}

var dtypes = [...]dtypeRow{
	Float32:  {"float32", 4},
	Float16:  {"float16", 2},
	BFloat16: {"bfloat16", 2},
	Float64:  {"float64", 8},
}

// Valid reports whether d is a known element type.
func (d DType) Valid() bool { return d > 0 && int(d) < len(dtypes) }

// Size returns the size in bytes of one element.
func (d DType) Size() int64 { return dtypes[d].size }

func (d DType) String() string {
	if d.Valid() {
		return dtypes[d].name
	}
	return "unknown"
}

// Accumulator returns the type in which elements of type d are summed. Log-sum-exp
// tensors have this type, too.
func (d DType) Accumulator() DType {
	if d == Float64 {
		return Float64
	}
	return Float32
}

// Float16ToFloat32 converts IEEE half precision bits.
func Float16ToFloat32(h uint16) float32 { return float16.Frombits(h).Float32() }

// Float32ToFloat16 rounds to the nearest half precision number, ties to even.
func Float32ToFloat16(f float32) uint16 { return float16.Fromfloat32(f).Bits() }

// BFloat16ToFloat32 converts bfloat16 bits, the upper half of a float32.
func BFloat16ToFloat32(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// Float32ToBFloat16 rounds to the nearest bfloat16 number, ties to even.
func Float32ToBFloat16(f float32) uint16 {
	bits := math.Float32bits(f)
	if f != f {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
