// SPDX-License-Identifier: MIT

//go:build !noasm

package kern

import (
	"golang.org/x/sys/cpu"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

var avx2 = Set{
	Name: "avx2",
	Panel: PanelKernels{
		ScoreRows: scoreRowsAVX2, ScoreHalves: scoreHalvesAVX2, ScorePairs: scorePairsAVX2,
		Accumulate: accumulateAVX2, Transpose: transposeAVX2,
		MaxRow: maxRowAVX2, ExpRow: expRowAVX2, Softmax: softmaxAVX2, ExpLanes: expLanesAVX2,
		GradientRow: gradientRowAVX2, GradientLanes: gradientLanesAVX2,
	},
	Strip: StripKernels{Dots: dotsAVX2, Sums: sumsAVX2, Gradients: stripGradientsAVX2, LogSumExp: logSumExpAVX2},
	Block: &BlockKernels{
		Lanes: 8, MostGroups: 3,
		Score: scoreQuadsAVX2, GradientItems: gradientItemsAVX2, GradientLanes: gradientLanesOfQuadsAVX2,
		Accumulate: accumulateQuadsAVX2, Scatter: scatterQuadsAVX2,
		Softmax: func(call *abi.Block) {
			softmaxQuadsAVX2(call)
			logSumExpQuads(call)
		},
		Transpose: transposeLanesAVX2, DotRows: dotRowsAVX2,
	},
	Stencil: &StencilKernels{Lanes: 16, Dots: stencilDotsAVX2, Sums: stencilSumsAVX2},
	Dense: &DenseKernels{
		Lanes: 8, MostVectors: 2, Product: productAVX2, Max: maxAVX2, Exp: expAVX2, ExpRows: expRowsAVX2,
		Gradients: gradientsAVX2, GradientRows: gradientRowsAVX2,
	},
	Load: [core.Float64]Conversion{
		core.Float32: loadFloat32AVX2, core.Float16: loadFloat16AVX2, core.BFloat16: loadBFloat16AVX2,
	},
	Store: [core.Float64]Conversion{
		core.Float32: loadFloat32AVX2, core.Float16: storeFloat16AVX2, core.BFloat16: storeBFloat16AVX2,
	},
	Dot: dotAVX2, Prefetch: prefetchAVX2, Peak: peakAVX2, PeakLanes: 12 * 8,
}

// avx512 is avx2 with wider kernels for blocks, matrix products, stencils, and strips whose
// channels are a multiple of 16.
var avx512 = func() Set {
	s := avx2
	s.Name = "avx512"
	s.Block = &BlockKernels{
		Lanes: 16, MostGroups: 4,
		Score: scoreQuadsAVX512, Softmax: softmaxQuadsAVX512,
		GradientItems: gradientItemsAVX512, GradientLanes: gradientLanesAVX512,
		Accumulate: accumulateQuadsAVX512, Scatter: scatterQuadsAVX512,
		Transpose: transposeAVX512, DotRows: dotRowsAVX512,
	}
	s.Dense = &DenseKernels{
		Lanes: 16, MostVectors: 4, Product: productAVX512, Max: maxAVX512, Exp: expAVX512, ExpRows: expRowsAVX512,
		Gradients: gradientsAVX512, GradientRows: gradientRowsAVX512,
	}
	s.Stencil = &StencilKernels{Lanes: 16, Dots: stencilDotsAVX512, Sums: stencilSumsAVX512}
	s.Strip.Dots, s.Strip.Sums = widened(dotsAVX512, dotsAVX2), widened(sumsAVX512, sumsAVX2)
	s.Peak, s.PeakLanes = peakAVX512, 12*16
	return s
}()

// widened returns a strip kernel that calls wide if the channels fill its registers, else
// narrow.
func widened(wide, narrow func(call *abi.Strip)) func(call *abi.Strip) {
	return func(call *abi.Strip) {
		if call.Eights%2 == 0 {
			wide(call)
			return
		}
		narrow(call)
	}
}

// sets returns the sets that this processor supports, the best first. The avx2 kernels also use
// F16C, which every processor with AVX2 and FMA has.
func sets() []*Set {
	x := &cpu.X86
	switch {
	case !x.HasAVX2 || !x.HasFMA:
		return nil
	case x.HasAVX512F && x.HasAVX512DQ && x.HasAVX512BW && x.HasAVX512VL:
		return []*Set{&avx512, &avx2}
	}
	return []*Set{&avx2}
}
