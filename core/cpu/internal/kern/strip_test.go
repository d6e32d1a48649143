// SPDX-License-Identifier: MIT

package kern

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

// stripTrial returns an argument of dots or sums with memory of random sizes, and the
// same argument with a copy of dst.
func stripTrial(r *rand.Rand, eights, count, vector, written int) (c, twin *abi.Strip, got, want numbers) {
	items, depth := 1+r.IntN(4), 8*eights
	advance, step := r.IntN(2)*(depth+r.IntN(9)), depth+r.IntN(9)
	vectorStep, dstStep := vector+r.IntN(9), written+r.IntN(9)
	rows := guarded(r, (items-1)*advance+max(count-1, 0)*step+depth, normal(r))
	vectors := guarded(r, items*vectorStep, normal(r))
	factors := guarded(r, items, normal(r))
	got = guarded(r, (items-1)*dstStep+written, normal(r))
	want = got.copy()
	c = &abi.Strip{
		Dst: got.address(), Vectors: vectors.address(), Rows: rows.address(), Factors: factors.address(), Items: items, Count: count, Eights: eights,
		DstStep: 4 * dstStep, VectorStep: 4 * vectorStep, Advance: 4 * advance, Step: 4 * step, FactorStep: 4 * r.IntN(2),
		Add: r.IntN(2),
	}
	copied := *c
	copied.Dst = want.address()
	return c, &copied, got, want
}

func TestDots(t *testing.T) {
	r := needKernels(t)
	for eights := 1; eights <= 9; eights++ {
		for count := 1; count <= 33; count++ {
			c, twin, got, want := stripTrial(r, eights, count, 8*eights, Padded(count))
			active.Strip.Dots(c)
			dots[float32](twin)
			for i := range c.Items { // kernels may write whole vectors
				at := i * c.DstStep / 4
				copy(want.v[at+count:at+Padded(count)], got.v[at+count:at+Padded(count)])
			}
			same(t, want, got, 1e-5, "eights %d count %d", eights, count)
		}
	}
}

func TestSums(t *testing.T) {
	r := needKernels(t)
	for eights := 1; eights <= 17; eights++ {
		for count := range 10 {
			weightStep := 1 + r.IntN(5)
			c, twin, got, want := stripTrial(r, eights, count, max(count, 1)*weightStep, 8*eights)
			c.WeightStep, twin.WeightStep = 4*weightStep, 4*weightStep
			active.Strip.Sums(c)
			sums[float32](twin)
			same(t, want, got, 1e-5, "eights %d count %d", eights, count)
		}
	}
}

func TestStripGradients(t *testing.T) {
	r := needKernels(t)
	for count := 1; count <= 33; count++ {
		items, lanes := 1+r.IntN(4), Padded(count)
		step := lanes + r.IntN(3)
		size := (items-1)*step + lanes
		rows, gradients := guarded(r, size, normal(r)), guarded(r, size, normal(r))
		wantRows, wantGradients := rows.copy(), gradients.copy()
		lses, deltas := guarded(r, items, normal(r)), guarded(r, items, normal(r))
		masks := make([]uint32, lanes)
		for i := range count {
			masks[i] = ^uint32(0)
		}
		active.Strip.Gradients(rows.p(), gradients.p(), unsafe.Pointer(&masks[0]), lses.p(), deltas.p(), items, lanes/8, 4*step)
		stripGradients(wantRows.v, wantGradients.v, lses.v, deltas.v, items, count, step)
		for i := range items {
			clear(wantRows.v[i*step+count : i*step+lanes])
			clear(wantGradients.v[i*step+count : i*step+lanes])
		}
		same(t, wantRows, rows, 1e-6, "weights, count %d", count)
		same(t, wantGradients, gradients, 1e-5, "gradients, count %d", count)
	}
}

func TestLogSumExp(t *testing.T) {
	r := needKernels(t)
	special := []float32{0, 1, 0x1p-126, 1.5, math.MaxFloat32, float32(math.Inf(1)), float32(math.NaN()), 49}
	for vectors := 1; vectors <= 20; vectors++ {
		max_, lses := guarded(r, 8*vectors, normal(r)), guarded(r, 8*vectors, untouched)
		sums_ := guarded(r, 8*vectors, func() float32 {
			if r.IntN(3) == 0 {
				return special[r.IntN(len(special))]
			}
			return float32(math.Exp(20 * (r.Float64() - 0.5)))
		})
		wantLSEs, wantTotals := lses.copy(), sums_.copy()
		active.Strip.LogSumExp(lses.p(), max_.p(), sums_.p(), vectors)
		logSumExp(wantLSEs.v, max_.v, wantTotals.v)
		same(t, wantLSEs, lses, 1e-6, "lse of %d vectors", vectors)
		same(t, wantTotals, sums_, 0, "1/total of %d vectors", vectors)
	}
}
