// SPDX-License-Identifier: MIT

//go:build !noasm

package kern

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

var neon = Set{
	Name: "neon",
	Panel: PanelKernels{
		ScoreRows: scoreRowsNEON, Accumulate: accumulateNEON, Transpose: transposeNEON,
		MaxRow: maxRowNEON, Softmax: softmaxNEON, ExpLanes: expLanesNEON,
		ExpRow: func(row, masks unsafe.Pointer, slots, columns int, offset float32) float32 {
			return expRowNEON(row, masks, unsafe.Pointer(&offset), slots, columns)
		},
		GradientRow: func(row, gradient unsafe.Pointer, vectors int, delta float32) {
			gradientRowNEON(row, gradient, unsafe.Pointer(&delta), vectors)
		},
		GradientLanes: gradientLanesNEON,
	},
	Strip: StripKernels{
		Dots: dotsNEON, Sums: sumsNEON, Gradients: stripGradientsNEON,
		LogSumExp: func(lses, max, sums unsafe.Pointer, eights int) {
			lanes := func(p unsafe.Pointer) []float32 { return unsafe.Slice((*float32)(p), 8*eights) }
			logSumExp(lanes(lses), lanes(max), lanes(sums))
		},
	},
	Block: &BlockKernels{
		Lanes: 8, MostGroups: 3,
		Score: scoreQuadsNEON, GradientItems: gradientItemsNEON, GradientLanes: gradientLanesOfQuadsNEON,
		Accumulate: accumulateQuadsNEON, Scatter: scatterQuadsNEON,
		Softmax: func(call *abi.Block) {
			softmaxQuadsNEON(call)
			logSumExpQuads(call)
		},
		Transpose: transposeLanesNEON, DotRows: dotRowsNEON,
	},
	Stencil: &StencilKernels{Lanes: 16, Dots: stencilDotsNEON, Sums: stencilSumsNEON},
	Dense: &DenseKernels{
		Lanes: 8, MostVectors: 2, Product: productNEON, Max: maxNEON, Exp: expNEON, ExpRows: expRowsNEON,
		Gradients: gradientsNEON, GradientRows: gradientRowsNEON,
	},
	Load: [core.Float64]Conversion{
		core.Float32: loadFloat32NEON, core.Float16: loadFloat16NEON, core.BFloat16: loadBFloat16NEON,
	},
	Store: [core.Float64]Conversion{
		core.Float32: loadFloat32NEON, core.Float16: storeFloat16NEON, core.BFloat16: storeBFloat16NEON,
	},
	Dot: dotNEON, Peak: peakNEON, PeakLanes: 24 * 4,
}

// sets returns the sets that this processor supports. NEON is part of the armv8-a baseline.
func sets() []*Set { return []*Set{&neon} }
