// SPDX-License-Identifier: MIT

package kern

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

// DenseKernels are the kernels of package flash: matrix products, and the softmax of scores
// stored as [key][item].
type DenseKernels struct {
	Lanes       int // elements of a vector
	MostVectors int // maximum number of vectors per row in one call of Product

	Product                      func(call *abi.Product)
	Max, Exp, ExpRows, Gradients func(call *abi.Columns)
	GradientRows                 func(call *abi.Columns)
}

// DenseTwins returns the Go twins of the dense kernels.
func DenseTwins(lanes int) *DenseKernels {
	return &DenseKernels{
		Lanes: lanes, MostVectors: 4,
		Product:      func(call *abi.Product) { product(call, lanes) },
		Max:          func(call *abi.Columns) { maxColumns(call, lanes) },
		Exp:          func(call *abi.Columns) { expColumns(call, lanes) },
		ExpRows:      func(call *abi.Columns) { expRows(call, lanes) },
		Gradients:    func(call *abi.Columns) { gradientColumns(call, lanes) },
		GradientRows: func(call *abi.Columns) { gradientRows(call, lanes) },
	}
}

// float32s returns the n numbers at an address.
func float32s(at core.Address, n int) []float32 {
	return unsafe.Slice((*float32)(at.Pointer()), n)
}

// product computes, with += instead of = if add is not 0,
//
//	for m := range rows { for n := range vectors*lanes { c[m*cRow+n] =
//		sum over k < depth of a[m*aRow+k*aDepth] * b[k*bDepth+n] } }
func product(call *abi.Product, lanes int) {
	n := call.Vectors * lanes
	for m := range call.Rows {
		c := float32s(call.C.Add(m*call.CRow), n)
		if call.Add == 0 {
			clear(c)
		}
		for k := range call.Depth {
			a := *(*float32)(call.A.Add(m*call.ARow + k*call.ADepth).Pointer())
			for i, b := range float32s(call.B.Add(k*call.BDepth), n) {
				c[i] += a * b
			}
		}
	}
}

// maxColumns computes
//
//	for r := range rows { for n := range vectors*lanes { max[n] = the larger of max[n] and weights[r*row+n] } }
//
// Kernels may ignore or propagate a weight of NaN.
func maxColumns(call *abi.Columns, lanes int) {
	most := float32s(call.Max, call.Vectors*lanes)
	for r := range call.Rows {
		for i, w := range float32s(call.Weights.Add(r*call.Row), len(most)) {
			if w > most[i] {
				most[i] = w
			}
		}
	}
}

// expColumns computes
//
//	for r := range rows { for n := range vectors*lanes {
//		weights[r*row+n] = e**(weights[r*row+n] - offsets[n]); sums[n] += weights[r*row+n] } }
func expColumns(call *abi.Columns, lanes int) {
	offsets, sums := float32s(call.Offsets, call.Vectors*lanes), float32s(call.Sums, call.Vectors*lanes)
	for r := range call.Rows {
		weights := float32s(call.Weights.Add(r*call.Row), len(offsets))
		for i, w := range weights {
			weights[i] = exp32(w - offsets[i])
			sums[i] += weights[i]
		}
	}
}

// expRows computes
//
//	for r := range rows { for n := range vectors*lanes { weights[r*row+n] = e**(weights[r*row+n] - offsets[r]) } }
func expRows(call *abi.Columns, lanes int) {
	for r, offset := range float32s(call.Offsets, call.Rows) {
		weights := float32s(call.Weights.Add(r*call.Row), call.Vectors*lanes)
		for i, w := range weights {
			weights[i] = exp32(w - offset)
		}
	}
}

// gradientColumns computes
//
//	for r := range rows { for n := range vectors*lanes {
//		gradients[r*row+n] = weights[r*row+n] * (gradients[r*row+n] - deltas[n]) } }
func gradientColumns(call *abi.Columns, lanes int) {
	deltas := float32s(call.Deltas, call.Vectors*lanes)
	for r := range call.Rows {
		weights := float32s(call.Weights.Add(r*call.Row), len(deltas))
		for i, g := range float32s(call.Gradients.Add(r*call.Row), len(deltas)) {
			float32s(call.Gradients.Add(r*call.Row), len(deltas))[i] = weights[i] * (g - deltas[i])
		}
	}
}

// gradientRows is gradientColumns with deltas[r].
func gradientRows(call *abi.Columns, lanes int) {
	for r, delta := range float32s(call.Deltas, call.Rows) {
		weights := float32s(call.Weights.Add(r*call.Row), call.Vectors*lanes)
		gradients := float32s(call.Gradients.Add(r*call.Row), len(weights))
		for i, g := range gradients {
			gradients[i] = weights[i] * (g - delta)
		}
	}
}
