// SPDX-License-Identifier: MIT

package core

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every half and bfloat16 value survives conversion to float32 and back.
func TestHalvesRoundTrip(t *testing.T) {
	for bits := range 1 << 16 {
		h := uint16(bits)
		if f := Float16ToFloat32(h); f == f {
			require.Equal(t, h, Float32ToFloat16(f))
		}
		if f := BFloat16ToFloat32(h); f == f {
			require.Equal(t, h, Float32ToBFloat16(f))
		}
	}
}

func TestHalvesRoundToNearestEven(t *testing.T) {
	for _, c := range []struct {
		value        float32
		half, bfloat uint16
	}{
		{1, 0x3c00, 0x3f80},
		{-2, 0xc000, 0xc000},
		{1 + 1.0/2048, 0x3c00, 0x3f80}, // tie for float16: to even, down
		{1 + 3.0/2048, 0x3c02, 0x3f80}, // tie: to even, up
		{1 + 1.0/256, 0x3c04, 0x3f80},  // tie for bfloat16: down
		{1 + 3.0/256, 0x3c0c, 0x3f82},  // tie for bfloat16: up
		{65520, 0x7c00, 0x4780},        // above the largest float16: infinity
		{float32(math.Inf(-1)), 0xfc00, 0xff80},
		{0x1p-24, 0x0001, 0x3380}, // smallest float16 subnormal
		{0x1p-26, 0x0000, 0x3280},
	} {
		require.Equal(t, c.half, Float32ToFloat16(c.value), "%v", c.value)
		require.Equal(t, c.bfloat, Float32ToBFloat16(c.value), "%v", c.value)
	}
	nan := float32(math.NaN())
	require.True(t, math.IsNaN(float64(Float16ToFloat32(Float32ToFloat16(nan)))))
	require.True(t, math.IsNaN(float64(BFloat16ToFloat32(Float32ToBFloat16(nan)))))
	quietless := math.Float32frombits(0x7f800001) // a NaN whose upper half alone is infinity
	require.True(t, math.IsNaN(float64(BFloat16ToFloat32(Float32ToBFloat16(quietless)))))
}

func TestDTypeTable(t *testing.T) {
	for d, want := range map[DType]struct {
		name string
		size int64
		sums DType
	}{
		Float32: {"float32", 4, Float32}, Float16: {"float16", 2, Float32},
		BFloat16: {"bfloat16", 2, Float32}, Float64: {"float64", 8, Float64},
	} {
		require.Equal(t, want.name, d.String())
		require.Equal(t, want.size, d.Size())
		require.Equal(t, want.sums, d.Accumulator())
	}
	require.False(t, DType(0).Valid())
	require.False(t, DType(5).Valid())
	require.Equal(t, "unknown", DType(5).String())
}
