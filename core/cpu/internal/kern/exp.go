// SPDX-License-Identifier: MIT

package kern

import (
	"math"

	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

// exp32 is e**x for x <= 0 in single precision, within 2 ulp; NaN gives NaN.
func exp32(x float32) float32 {
	c := &abi.Exp
	if x < c.Lowest {
		return 0
	}
	if x > c.Highest {
		x = c.Highest
	}
	shifted := x*c.Log2E + c.Magic
	k := shifted - c.Magic
	r := x - k*c.High
	r -= k * c.Low
	p := c.Terms[0]
	p = p*r + c.Terms[1]
	p = p*r + c.Terms[2]
	p = p*r + c.Terms[3]
	p = p*r + c.Terms[4]
	p = p*r + c.Terms[5]
	p = p*r*r + r + 1
	exponent := int32(math.Float32bits(shifted)) - int32(math.Float32bits(c.Magic)) + 127
	return p * math.Float32frombits(uint32(exponent)<<23)
}

// log32 is the logarithm of a positive normal x in single precision, within 2 ulp;
// NaN gives NaN.
func log32(x float32) float32 {
	if !(x <= math.MaxFloat32) || x < 0x1p-126 {
		return float32(math.Log(float64(x)))
	}
	c := &abi.Log
	bits := math.Float32bits(x) - c.Root
	k := float32(int32(bits) >> 23)
	m := math.Float32frombits(bits&c.Mantissa+c.Root) - 1
	z := m * m
	p := c.Terms[0]
	p = p*m + c.Terms[1]
	p = p*m + c.Terms[2]
	p = p*m + c.Terms[3]
	p = p*m + c.Terms[4]
	p = p*m + c.Terms[5]
	p = p*m + c.Terms[6]
	p = p*m + c.Terms[7]
	p = p*m + c.Terms[8]
	y := p*m*z + c.Low*k - c.Half*z
	return m + y + c.High*k
}

// Log is the natural logarithm.
func Log[T Number](x T) T {
	if SizeOf[T]() == Float32Bytes {
		return T(log32(float32(x)))
	}
	return T(math.Log(float64(x)))
}

// Inverse is the factor that normalizes a row with the given sum of weights: 1/sum, or 0 if the
// sum is 0 because all logits of the row are -infinity.
func Inverse[T Number](sum T) T {
	if sum == 0 {
		return 0
	}
	return 1 / sum
}

// ExpSum replaces each x by e**(x-offset), where x <= offset, and returns the sum.
func ExpSum[T Number](x []T, offset T) (sum T) {
	switch s := any(x).(type) {
	case []float32:
		var total float32
		for i, v := range s {
			e := exp32(v - float32(offset))
			s[i] = e
			total += e
		}
		return T(total)
	default:
		for i, v := range x {
			e := T(math.Exp(float64(v - offset)))
			x[i] = e
			sum += e
		}
		return sum
	}
}
