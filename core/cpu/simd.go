// SPDX-License-Identifier: MIT

package cpu

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

type conversion = func(dst, src, factors unsafe.Pointer, rows, blocks, dstStep, srcStep, factorStep int)

// kernels is a set of float32 kernels for one instruction set. What each computes
// is written at its Go prototype.
type kernels struct {
	name string

	scoreRows, scoreHalves func(dst, vectors, panel, pairs unsafe.Pointer, count, depth, pitch, step, rows, dstStep, dstItem, vectorItem int)
	scorePairs             func(dst, vectors, panel, pairs unsafe.Pointer, count, depth, pitch, dstItem, vectorItem int)
	accumulate             func(sums, weights, panel, pairs unsafe.Pointer, count, channels, slots, sumItem, weightItem int)
	turn                   func(dst, src unsafe.Pointer, blocks, pitch, step int)
	maxRow                 func(row, masks unsafe.Pointer, slots, columns int) float32
	expRow                 func(row, masks unsafe.Pointer, slots, columns int, offset float32) float32
	softmax                func(rows, masks, tops, totals unsafe.Pointer, items, slots, columns, rowStep, maskStep int)
	expLanes               func(row, masks, offsets unsafe.Pointer, slots, columns, offsetSkip int)
	gradientRow            func(row, gradient unsafe.Pointer, vectors int, delta float32)
	gradientLanes          func(row, gradient, deltas unsafe.Pointer, slots, columns, deltaSkip int)
	dot                    func(a, b unsafe.Pointer, blocks int) float32
	block                  *blockKernels // nil: not in this set
	load, store            [core.Float64]conversion
	dots, sums             func(call unsafe.Pointer)
	stencil                *stencilKernels // nil: not in this set
	stripGradients         func(rows, gradients, masks, lses, deltas unsafe.Pointer, items, columns, rowStep int)
	finish                 func(lses, tops, totals unsafe.Pointer, vectors int)
	prefetch               func(p unsafe.Pointer, rows, step, lines int)
	peak                   func(rounds int)
	peakLanes              int // multiply-adds of a round of peak
}

// Rows that one call of the score kernels takes.
const (
	scoreRowsMost   = 7
	scoreHalvesMost = 10
)

// simd is the set in use, or nil for portable Go, and details says so in words.
var simd, details = choose(os.Getenv("NATTEN_DISABLE_ISA"))

// choose picks the first set of instructions that the processor has and that is
// not in the list of disabled ones.
func choose(disabled string) (*kernels, string) {
	var off, unknown []string
	sets := instructionSets()
	for _, name := range strings.FieldsFunc(disabled, func(r rune) bool { return r == ',' }) {
		if name = strings.TrimSpace(name); slices.Contains(knownISAs, name) {
			off = append(off, name)
		} else {
			unknown = append(unknown, name)
		}
	}
	note := ""
	if len(unknown) > 0 {
		note = fmt.Sprintf("; NATTEN_DISABLE_ISA names %s, which is unknown (want %s)",
			strings.Join(unknown, ", "), strings.Join(knownISAs, ", "))
	}
	for _, k := range sets {
		if !slices.Contains(off, k.name) {
			return k, runtime.GOARCH + ", " + k.name + " kernels" + note
		}
	}
	return nil, runtime.GOARCH + ", portable kernels" + note
}

// knownISAs are the names that NATTEN_DISABLE_ISA takes.
var knownISAs = []string{"avx512", "avx2", "neon"}
