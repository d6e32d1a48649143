// SPDX-License-Identifier: MIT

package cpu

import (
	"math"
	"unsafe"
)

// Two primitives carry the engine: score and accumulate, on panels that hold the
// columns of a tile dimension-major ([channel][slot][lane]) and row-major
// ([slot][lane][channel]). This file has them in portable Go.

// slack is the number of elements behind every panel that kernels may read, so
// that a block of lanes need not end where the panel does.
const slack = 16

func at[T number](p unsafe.Pointer, i int) unsafe.Pointer {
	var t T
	return unsafe.Add(p, i*int(unsafe.Sizeof(t)))
}

// scoreRow is
//
//	for lane := range lanes { dst[lane] = sum over c of vector[c] * panel[c*pitch+lane] }
func scoreRow[T number](dst, vector, panel unsafe.Pointer, depth, pitch, lanes int) {
	lane := 0
	for ; lanes-lane > 4; lane += 8 {
		score8[T](at[T](dst, lane), vector, at[T](panel, lane), depth, pitch, lanes-lane)
	}
	if lanes > lane {
		score4[T](at[T](dst, lane), vector, at[T](panel, lane), depth, pitch, lanes-lane)
	}
}

func score8[T number](dst, vector, panel unsafe.Pointer, depth, pitch, lanes int) {
	var a0, a1, a2, a3, a4, a5, a6, a7 T
	for c := range depth {
		v := *(*T)(at[T](vector, c))
		p := (*[8]T)(at[T](panel, c*pitch))
		a0 += v * p[0]
		a1 += v * p[1]
		a2 += v * p[2]
		a3 += v * p[3]
		a4 += v * p[4]
		a5 += v * p[5]
		a6 += v * p[6]
		a7 += v * p[7]
	}
	sums := [8]T{a0, a1, a2, a3, a4, a5, a6, a7}
	copy(unsafe.Slice((*T)(dst), min(lanes, 8)), sums[:])
}

func score4[T number](dst, vector, panel unsafe.Pointer, depth, pitch, lanes int) {
	var a0, a1, a2, a3 T
	for c := range depth {
		v := *(*T)(at[T](vector, c))
		p := (*[4]T)(at[T](panel, c*pitch))
		a0 += v * p[0]
		a1 += v * p[1]
		a2 += v * p[2]
		a3 += v * p[3]
	}
	sums := [4]T{a0, a1, a2, a3}
	copy(unsafe.Slice((*T)(dst), lanes), sums[:])
}

// accumulateRows is
//
//	for c := range depth { sum[c] += sum over j < rows, lane < lanes of
//		weights[j*step+lane] * panel[(j*width+lane)*depth+c] }
//
// where depth is a multiple of 8.
func accumulateRows[T number](sum, weights, panel unsafe.Pointer, depth, rows, step, width, lanes int) {
	for c := 0; c < depth; c += 8 {
		accumulate8[T](at[T](sum, c), weights, at[T](panel, c), depth, rows, step, width, lanes)
	}
}

func accumulate8[T number](sum, weights, panel unsafe.Pointer, depth, rows, step, width, lanes int) {
	var a0, a1, a2, a3, a4, a5, a6, a7 T
	for j := range rows {
		w, p := j*step, j*width*depth
		for range lanes {
			v, x := *(*T)(at[T](weights, w)), (*[8]T)(at[T](panel, p))
			a0 += v * x[0]
			a1 += v * x[1]
			a2 += v * x[2]
			a3 += v * x[3]
			a4 += v * x[4]
			a5 += v * x[5]
			a6 += v * x[6]
			a7 += v * x[7]
			w, p = w+1, p+depth
		}
	}
	x := (*[8]T)(sum)
	x[0], x[1], x[2], x[3] = x[0]+a0, x[1]+a1, x[2]+a2, x[3]+a3
	x[4], x[5], x[6], x[7] = x[4]+a4, x[5]+a5, x[6]+a6, x[7]+a7
}

// exp32 is e**x for x <= 0 in single precision, within 2 ulp; NaN gives NaN.
func exp32(x float32) float32 {
	if x < -87.3 {
		return 0
	}
	if x > 88.3 {
		x = 88.3
	}
	n := math.Float32frombits(0x4b400000) // 1.5 * 2**23: adding it rounds to an integer
	shifted := x*1.4426950408889634 + n
	k := shifted - n
	r := x - k*0.693359375
	r += k * 2.12194440e-4
	p := float32(1.9875691500e-4)
	p = p*r + 1.3981999507e-3
	p = p*r + 8.3334519073e-3
	p = p*r + 4.1665795894e-2
	p = p*r + 1.6666665459e-1
	p = p*r + 5.0000001201e-1
	p = p*r*r + r + 1
	return p * math.Float32frombits(uint32(int32(math.Float32bits(shifted))-0x4b400000+127)<<23)
}

// log32 is the logarithm of a positive normal x in single precision, within 2 ulp;
// NaN gives NaN.
func log32(x float32) float32 {
	if !(x <= math.MaxFloat32) || x < 0x1p-126 {
		return float32(math.Log(float64(x)))
	}
	bits := math.Float32bits(x) - 0x3f3504f3 // of sqrt(1/2), the lower end of the reduced range
	k := float32(int32(bits) >> 23)
	m := math.Float32frombits(bits&0x7fffff+0x3f3504f3) - 1
	z := m * m
	p := float32(7.0376836292e-2)
	p = p*m - 1.1514610310e-1
	p = p*m + 1.1676998740e-1
	p = p*m - 1.2420140846e-1
	p = p*m + 1.4249322787e-1
	p = p*m - 1.6668057665e-1
	p = p*m + 2.0000714765e-1
	p = p*m - 2.4999993993e-1
	p = p*m + 3.3333331174e-1
	y := p*m*z - 2.12194440e-4*k - 0.5*z
	return m + y + 0.693359375*k
}

// logarithm is the natural logarithm.
func logarithm[T number](x T) T {
	if elementSize[T]() == float32Bytes {
		return T(log32(float32(x)))
	}
	return T(math.Log(float64(x)))
}

// exponential replaces each x by e**(x-offset), where x <= offset, and returns
// the sum.
func exponential[T number](x []T, offset T) (sum T) {
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

// scoreRows is scoreRow for rows panels that are width lanes, and destinations
// that are step lanes apart.
func scoreRows[T number](dst, vector, panel unsafe.Pointer, depth, pitch, rows, step, width, lanes int) {
	for j := range rows {
		scoreRow[T](at[T](dst, j*step), vector, at[T](panel, j*width), depth, pitch, lanes)
	}
}
