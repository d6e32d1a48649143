// SPDX-License-Identifier: MIT

//go:build !noasm

package cpu

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

var neon = kernels{
	name:      "neon",
	scoreRows: scoreRowsNEON, accumulate: accumulateNEON, turn: turnNEON,
	maxRow: maxRowNEON, softmax: softmaxNEON, expLanes: expLanesNEON,
	expRow: func(row, masks unsafe.Pointer, slots, columns int, offset float32) float32 {
		return expRowNEON(row, masks, unsafe.Pointer(&offset), slots, columns)
	},
	gradientRow: func(row, gradient unsafe.Pointer, vectors int, delta float32) {
		gradientRowNEON(row, gradient, unsafe.Pointer(&delta), vectors)
	},
	gradientLanes: gradientLanesNEON, dot: dotNEON,
	dots: dotsNEON, sums: sumsNEON, stripGradients: stripGradientsNEON,
	finish: func(lses, tops, totals unsafe.Pointer, vectors int) {
		lanes := func(p unsafe.Pointer) []float32 { return unsafe.Slice((*float32)(p), 8*vectors) }
		finish(lanes(lses), lanes(tops), lanes(totals))
	},
	load: [core.Float64]conversion{
		core.Float32: loadFloat32NEON, core.Float16: loadFloat16NEON, core.BFloat16: loadBFloat16NEON,
	},
	store: [core.Float64]conversion{
		core.Float32: loadFloat32NEON, core.Float16: storeFloat16NEON, core.BFloat16: storeBFloat16NEON,
	},
	peak: peakNEON, peakLanes: 24 * 4,
}

// instructionSets returns the sets that this processor has. NEON is part of the
// armv8-a baseline.
func instructionSets() []*kernels { return []*kernels{&neon} }
