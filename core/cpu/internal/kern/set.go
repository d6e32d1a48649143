// SPDX-License-Identifier: MIT

// Package kern contains the kernels: the loops over channels and lanes. They are written in
// assembly for some instruction sets, and in portable Go.
//
// The contract of a kernel is the loop in its doc comment, which uses the names of the
// arguments. Steps, strides and offsets are in bytes unless noted otherwise. Kernels with many
// arguments take a struct of package abi. A kernel's Go twin implements that loop; tests compare
// every kernel with its twin, for all sizes and alignments and with guard words.
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
// To add a kernel to an instruction set, write its generator in _asm, with the field names of
// the abi struct as arguments, call it from writeAMD64 or writeARM64, run ./build.sh gen, and
// assign it in the set (set_amd64.go, set_arm64.go). The engines use whatever a set has, with
// its Lanes, so neither their code nor the tests change.
//
// To add an instruction set, add a Set such as avx2 in set_amd64.go, a case in that file's
// function sets that checks the processor, its name in Names, and a row in verb dispatch of
// build.sh that requires it on an emulated processor.
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

// Set is the float32 kernels of one instruction set. The contract of a kernel is documented at
// its Go twin or, if it has none, at its AVX2 prototype.
type Set struct {
	Name    string
	Panel   PanelKernels
	Strip   StripKernels
	Stencil *StencilKernels // nil if the set has none
	Block   *BlockKernels   // nil if the set has none
	Dense   *DenseKernels   // nil if the set has none

	// Load and Store convert rows of 8*eights channels from and to an element type.
	Load, Store [core.Float64]Conversion
	// Dot is the dot product of two vectors of 8*eights channels.
	Dot func(a, b unsafe.Pointer, eights int) float32
	// Prefetch prefetches the first lines cache lines of rows that are step bytes apart. It may
	// be nil.
	Prefetch func(p unsafe.Pointer, rows, step, lines int)
	// Peak does PeakLanes multiply-adds per round, on registers only.
	Peak      func(rounds int)
	PeakLanes int
}

// Conversion computes, with the implied conversion of element types,
//
//	for r := range rows { for c := range 8*eights {
//		dst[r*dstStep+c] = src[r*srcStep+c] * factors[r*factorStep] } }
type Conversion = func(dst, src, factors unsafe.Pointer, rows, eights, dstStep, srcStep, factorStep int)

// PanelKernels are the kernels of package panel.
type PanelKernels struct {
	// ScoreRows scores up to MostRows rows of 8 lanes for pairs of items. ScoreHalves scores up
	// to MostHalves rows of 4 lanes, and may be nil.
	ScoreRows, ScoreHalves func(dst, vectors, panel, pairs unsafe.Pointer, count, depth, pitch, step, rows, dstStep, dstItem, vectorItem int)
	// ScorePairs is ScoreRows for one row, and count is a multiple of four. It may be nil.
	ScorePairs func(dst, vectors, panel, pairs unsafe.Pointer, count, depth, pitch, dstItem, vectorItem int)
	Accumulate func(sums, weights, panel, pairs unsafe.Pointer, count, channels, slots, sumItem, weightItem int)
	// Transpose computes
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

// The maximum number of rows in one call of ScoreRows and ScoreHalves.
const (
	MostRows   = 7
	MostHalves = 10
)

// StripKernels are the kernels of package strip.
type StripKernels struct {
	Dots, Sums func(call *abi.Strip)
	Gradients  func(rows, gradients, masks, lses, deltas unsafe.Pointer, items, columns, rowStep int)
	LogSumExp  func(lses, max, sums unsafe.Pointer, eights int)
}

// StencilKernels are the kernels of package stencil.
type StencilKernels struct {
	Lanes      int // elements of a vector
	Dots, Sums func(call *abi.Stencil)
}

// BlockKernels are the kernels of package block. Their contracts hold for any vector width.
type BlockKernels struct {
	Lanes                                        int // elements of a vector, a power of two up to 16
	MostGroups                                   int // maximum number of groups in one call of Score
	Score, Softmax, GradientItems, GradientLanes func(call *abi.Block)
	Accumulate, Scatter                          func(call *abi.Block)
	// Transpose computes, where rows points to Lanes addresses,
	//
	//	for c := range Lanes*vectors { for lane := range Lanes { dst[c*pitch+lane] = rows[lane][c] } }
	Transpose func(dst, rows unsafe.Pointer, vectors, pitch int)
	// DotRows computes
	//
	//	for r := range rows { dst[r*step] = sum over c < Lanes*vectors of a[r*aStep+c] * b[r*bStep+c] }
	DotRows func(dst, a, b unsafe.Pointer, rows, vectors, step, aStep, bStep int)
}

// active is the set in use, or nil for portable Go; details describes it in words.
var active, details = choose(os.Getenv("NATTEN_DISABLE_ISA"))

// Active returns the set in use, or nil for portable Go.
func Active() *Set { return active }

// Details describes in words the kernels in use.
func Details() string { return details }

// For returns the set for sums of type T, or nil for portable Go.
func For[T Number]() *Set {
	if SizeOf[T]() != Float32Bytes {
		return nil
	}
	return active
}

// Replace makes another set the active one until undo is called. It is for tests.
func Replace(s *Set) (undo func()) {
	given := active
	active = s
	return func() { active = given }
}

// choose returns the first set that the processor supports and that is not in the
// comma-separated list of disabled ones, with a description.
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

// Names lists the instruction sets that NATTEN_DISABLE_ISA accepts.
var Names = []string{"avx512", "avx2", "neon"}
