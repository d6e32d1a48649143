// SPDX-License-Identifier: MIT

// Package kern is the kernels: the loops over channels and lanes, in assembly for some
// instruction sets and in Go for all.
//
// A kernel has one contract: the loop in its doc comment, in which vectors and matrices
// are named as the arguments are. Steps, strides and offsets are in bytes unless said.
// Kernels with many arguments get a struct of package abi. A kernel's Go twin is that
// loop; the tests hold every kernel to it, with guard words, all sizes and alignments.
//
//	kernels                                 in Go                 avx2   avx512       neon
//	PanelKernels  ScoreRows, Accumulate,    ScoreRows,            yes    as avx2      yes
//	              Softmax, ...              AccumulateRows,
//	                                        ExpSum (portable.go)
//	              ScoreHalves, ScorePairs   -                     yes    as avx2      -
//	StripKernels  Dots, Sums, Gradients     strip.go              yes    yes, or avx2 yes
//	              LogSumExp                 strip.go              yes    as avx2      in Go
//	StencilKernels Dots, Sums               stencil.go, any lanes yes    yes          yes
//	BlockKernels  Score, Softmax, ...       block.go, any lanes   yes    yes          yes
//	DenseKernels  Product, Max, Exp, ...    dense.go, any lanes   yes    yes          yes
//	Load, Store   float16, bfloat16         convert.go            yes    as avx2      yes
//	Prefetch                                -                     yes    as avx2      -
//
// To add a kernel to an instruction set: write its generator in _asm, called from
// writeAMD64 or writeARM64, with the field names of the abi struct as arguments, run
// ./build.sh gen, and assign it in the set (set_amd64.go, set_arm64.go). The engines look
// at what a set has and at its Lanes; their code and the tests stay as they are. To add an
// instruction set: a Set such as avx2 in set_amd64.go, a case in sets of that file that
// checks the processor, its name in Names, and a row in verb dispatch of build.sh that
// requires it on an emulated processor.
package kern

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

// Set is the float32 kernels of one instruction set. What each computes is written at
// its Go twin or, where there is none, at its prototype for AVX2.
type Set struct {
	Name    string
	Panel   PanelKernels
	Strip   StripKernels
	Stencil *StencilKernels // nil: not in this set
	Block   *BlockKernels   // nil: not in this set
	Dense   *DenseKernels   // nil: not in this set

	// Load and Store convert rows of 8*eights channels, by element type.
	Load, Store [core.Float64]Conversion
	// Dot is the inner product of 8*eights channels.
	Dot func(a, b unsafe.Pointer, eights int) float32
	// Prefetch asks for cache lines of rows that are step bytes apart. It may be nil.
	Prefetch func(p unsafe.Pointer, rows, step, lines int)
	// Peak does PeakLanes multiply-adds per round, in registers only.
	Peak      func(rounds int)
	PeakLanes int
}

// Conversion is, with steps in bytes and the conversion of its name,
//
//	for r := range rows { for c := range 8*eights {
//		dst[r*dstStep+c] = src[r*srcStep+c] * factors[r*factorStep] } }
type Conversion = func(dst, src, factors unsafe.Pointer, rows, eights, dstStep, srcStep, factorStep int)

// PanelKernels are those of package panel.
type PanelKernels struct {
	// ScoreRows takes up to MostRows rows of 8 lanes for pairs of items, ScoreHalves, which
	// may be nil, up to MostHalves rows of 4 lanes.
	ScoreRows, ScoreHalves func(dst, vectors, panel, pairs unsafe.Pointer, count, depth, pitch, step, rows, dstStep, dstItem, vectorItem int)
	// ScorePairs is ScoreRows with one row and a multiple of four as count. It may be nil.
	ScorePairs func(dst, vectors, panel, pairs unsafe.Pointer, count, depth, pitch, dstItem, vectorItem int)
	Accumulate func(sums, weights, panel, pairs unsafe.Pointer, count, channels, slots, sumItem, weightItem int)
	// Transpose is, with strides in bytes,
	//
	//	for c := range 8*eights { for lane := range 8 { dst[c*pitch+lane] = src[lane*step+c] } }
	Transpose     func(dst, src unsafe.Pointer, eights, pitch, step int)
	MaxRow        func(row, masks unsafe.Pointer, slots, columns int) float32
	ExpRow        func(row, masks unsafe.Pointer, slots, columns int, offset float32) float32
	Softmax       func(rows, masks, max, sums unsafe.Pointer, items, slots, columns, rowStep, maskStep int)
	ExpLanes      func(row, masks, offsets unsafe.Pointer, slots, columns, offsetSkip int)
	GradientRow   func(row, gradient unsafe.Pointer, vectors int, delta float32)
	GradientLanes func(row, gradient, deltas unsafe.Pointer, slots, columns, deltaSkip int)
}

// Rows that one call of the score kernels takes.
const (
	MostRows   = 7
	MostHalves = 10
)

// StripKernels are those of package strip.
type StripKernels struct {
	Dots, Sums func(call *abi.Strip)
	Gradients  func(rows, gradients, masks, lses, deltas unsafe.Pointer, items, columns, rowStep int)
	LogSumExp  func(lses, max, sums unsafe.Pointer, eights int)
}

// StencilKernels are those of package stencil.
type StencilKernels struct {
	Lanes      int // of a vector
	Dots, Sums func(call *abi.Stencil)
}

// BlockKernels are those of package block. Their contract does not depend on how wide
// the vectors of an instruction set are.
type BlockKernels struct {
	Lanes                                        int // of a vector, a power of two up to 16
	MostGroups                                   int // that one call of Score takes
	Score, Softmax, GradientItems, GradientLanes func(call *abi.Block)
	Accumulate, Scatter                          func(call *abi.Block)
	// Transpose is, with rows as Lanes addresses and pitch in bytes,
	//
	//	for c := range Lanes*vectors { for lane := range Lanes { dst[c*pitch+lane] = rows[lane][c] } }
	Transpose func(dst, rows unsafe.Pointer, vectors, pitch int)
	// DotRows is, with steps in bytes,
	//
	//	for r := range rows { dst[r*step] = sum over c < Lanes*vectors of a[r*aStep+c] * b[r*bStep+c] }
	DotRows func(dst, a, b unsafe.Pointer, rows, vectors, step, aStep, bStep int)
}

// active is the set in use, or nil for portable Go, and details says so in words.
var active, details = choose(os.Getenv("NATTEN_DISABLE_ISA"))

// Active is the set in use, or nil for portable Go.
func Active() *Set { return active }

// Details says in words what is in use.
func Details() string { return details }

// For is the set for sums of type T, or nil for portable Go.
func For[T Number]() *Set {
	if SizeOf[T]() != Float32Bytes {
		return nil
	}
	return active
}

// Replace puts another set in use until the function that it returns is called: for tests.
func Replace(s *Set) (undo func()) {
	given := active
	active = s
	return func() { active = given }
}

// choose picks the first set of instructions that the processor has and that is
// not in the list of disabled ones.
func choose(disabled string) (*Set, string) {
	var off, unknown []string
	for _, name := range strings.FieldsFunc(disabled, func(r rune) bool { return r == ',' }) {
		if name = strings.TrimSpace(name); slices.Contains(Names, name) {
			off = append(off, name)
		} else {
			unknown = append(unknown, name)
		}
	}
	note := ""
	if len(unknown) > 0 {
		note = fmt.Sprintf("; NATTEN_DISABLE_ISA names %s, which is unknown (want %s)",
			strings.Join(unknown, ", "), strings.Join(Names, ", "))
	}
	for _, s := range sets() {
		if !slices.Contains(off, s.Name) {
			return s, runtime.GOARCH + ", " + s.Name + " kernels" + note
		}
	}
	return nil, runtime.GOARCH + ", portable kernels" + note
}

// Names are the instruction sets that NATTEN_DISABLE_ISA takes.
var Names = []string{"avx512", "avx2", "neon"}
