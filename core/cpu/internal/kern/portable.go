// SPDX-License-Identifier: MIT

package kern

import "unsafe"

// This file has the two products of the panel engine in portable Go. A panel holds the keys of
// a tile transposed, [channel][slot][lane], and by rows, [slot][lane][channel]. All steps are in
// elements.

// scoreRow computes
//
//	for lane := range lanes { dst[lane] = sum over c of vector[c] * panel[c*pitch+lane] }
func scoreRow[T Number](dst, vector, panel unsafe.Pointer, depth, pitch, lanes int) {
	lane := 0
	for ; lanes-lane > 4; lane += 8 {
		score8[T](At[T](dst, lane), vector, At[T](panel, lane), depth, pitch, lanes-lane)
	}
	if lanes > lane {
		score4[T](At[T](dst, lane), vector, At[T](panel, lane), depth, pitch, lanes-lane)
	}
}

func score8[T Number](dst, vector, panel unsafe.Pointer, depth, pitch, lanes int) {
	var a0, a1, a2, a3, a4, a5, a6, a7 T
	for c := range depth {
		v := *(*T)(At[T](vector, c))
		p := (*[8]T)(At[T](panel, c*pitch))
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

func score4[T Number](dst, vector, panel unsafe.Pointer, depth, pitch, lanes int) {
	var a0, a1, a2, a3 T
	for c := range depth {
		v := *(*T)(At[T](vector, c))
		p := (*[4]T)(At[T](panel, c*pitch))
		a0 += v * p[0]
		a1 += v * p[1]
		a2 += v * p[2]
		a3 += v * p[3]
	}
	sums := [4]T{a0, a1, a2, a3}
	copy(unsafe.Slice((*T)(dst), lanes), sums[:])
}

// AccumulateRows computes
//
//	for c := range depth { sum[c] += sum over j < rows, lane < lanes of
//		weights[j*step+lane] * panel[(j*width+lane)*depth+c] }
//
// where depth is a multiple of 8.
func AccumulateRows[T Number](sum, weights, panel unsafe.Pointer, depth, rows, step, width, lanes int) {
	for c := 0; c < depth; c += 8 {
		accumulate8[T](At[T](sum, c), weights, At[T](panel, c), depth, rows, step, width, lanes)
	}
}

func accumulate8[T Number](sum, weights, panel unsafe.Pointer, depth, rows, step, width, lanes int) {
	var a0, a1, a2, a3, a4, a5, a6, a7 T
	for j := range rows {
		w, p := j*step, j*width*depth
		for range lanes {
			v, x := *(*T)(At[T](weights, w)), (*[8]T)(At[T](panel, p))
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

// ScoreRows is scoreRow for several rows. Their panels are width elements apart and their
// results step elements.
func ScoreRows[T Number](dst, vector, panel unsafe.Pointer, depth, pitch, rows, step, width, lanes int) {
	for j := range rows {
		scoreRow[T](At[T](dst, j*step), vector, At[T](panel, j*width), depth, pitch, lanes)
	}
}
