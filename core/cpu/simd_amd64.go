// SPDX-License-Identifier: MIT

//go:build !noasm

package cpu

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

var avx2 = kernels{
	name:      "avx2",
	scoreRows: scoreRowsAVX2, scoreHalves: scoreHalvesAVX2, scorePairs: scorePairsAVX2,
	accumulate: accumulateAVX2, turn: turnAVX2,
	maxRow: maxRowAVX2, expRow: expRowAVX2, softmax: softmaxAVX2, expLanes: expLanesAVX2,
	gradientRow: gradientRowAVX2, gradientLanes: gradientLanesAVX2, dot: dotAVX2,
	load: [core.Float64]conversion{
		core.Float32: loadFloat32AVX2, core.Float16: loadFloat16AVX2, core.BFloat16: loadBFloat16AVX2,
	},
	store: [core.Float64]conversion{
		core.Float32: loadFloat32AVX2, core.Float16: storeFloat16AVX2, core.BFloat16: storeBFloat16AVX2,
	},
	dots: dotsAVX2, sums: sumsAVX2, stripGradients: stripGradientsAVX2, finish: finishAVX2,
	prefetch: prefetchAVX2, peak: peakAVX2, peakLanes: 12 * 8,
}

// avx512 is avx2, blocks, and strips of an even number of vectors of channels.
var avx512 = func() kernels {
	k := avx2
	k.name = "avx512"
	k.block = &blockKernels{
		score: scoreBlocksAVX512, softmax: softmaxBlocksAVX512,
		gradientItems: gradientItemsAVX512, gradientLanes: gradientLanesAVX512,
		accumulate: accumulateBlocksAVX512, scatter: scatterBlocksAVX512, turn: turnBlockAVX512, dotRows: dotRowsAVX512,
	}
	k.stencil = &stencilKernels{stencilDotsAVX512, stencilSumsAVX512}
	k.dots, k.sums = widened(dotsAVX512, dotsAVX2), widened(sumsAVX512, sumsAVX2)
	k.peak, k.peakLanes = peakAVX512, 12*16
	return k
}()

// widened is a strip kernel that uses wide registers where channels fill them.
func widened(wide, narrow func(call unsafe.Pointer)) func(call unsafe.Pointer) {
	return func(call unsafe.Pointer) {
		if (*stripCall)(call).blocks%2 == 0 {
			wide(call)
			return
		}
		narrow(call)
	}
}

// instructionSets returns the sets that this processor has, the best first.
func instructionSets() []*kernels {
	const (
		fma, f16c, osxsave = 1 << 12, 1 << 29, 1 << 27     // leaf 1, ECX
		avx2Bit            = 1 << 5                        // leaf 7, EBX
		ymmState           = 6                             // XCR0: SSE and AVX state
		avx512Bits         = 1<<16 | 1<<17 | 1<<30 | 1<<31 // leaf 7, EBX: F, DQ, BW, VL
		zmmState           = 0xe6                          // XCR0: also the masks and all of the 32 wide registers
	)
	leaves, _, _, _ := cpuid(0, 0)
	if leaves < 7 {
		return nil
	}
	_, _, ecx, _ := cpuid(1, 0)
	_, ebx, _, _ := cpuid(7, 0)
	if need := uint32(fma | f16c | osxsave); ecx&need != need || ebx&avx2Bit == 0 {
		return nil
	}
	state, _ := xgetbv()
	if state&ymmState != ymmState {
		return nil
	}
	if state&zmmState == zmmState && ebx&avx512Bits == avx512Bits {
		return []*kernels{&avx512, &avx2}
	}
	return []*kernels{&avx2}
}
