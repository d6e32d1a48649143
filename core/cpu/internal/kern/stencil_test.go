// SPDX-License-Identifier: MIT

package kern

import (
	"math/rand/v2"
	"testing"

	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

func needStencils(t *testing.T) *rand.Rand {
	r := needKernels(t)
	if active.Stencil == nil {
		t.Skip("not in this set")
	}
	return r
}

// stencilTrial returns an argument with memory of random sizes, and the same argument with a
// copy of dst.
func stencilTrial(r *rand.Rand, parts, count, vector, written int) (c, twin *abi.Stencil, got, want numbers) {
	items, depth := 1+r.IntN(5), active.Stencil.Lanes*parts
	var starts, offsets []int
	for range items {
		starts = append(starts, 4*r.IntN(3*depth))
	}
	for range count {
		offsets = append(offsets, 4*r.IntN(5*depth))
	}
	vectorStep, dstStep := vector+r.IntN(9), written+r.IntN(9)
	rows := guarded(r, 9*depth, normal(r))
	vectors, factors := guarded(r, items*vectorStep, normal(r)), guarded(r, items, normal(r))
	got = guarded(r, (items-1)*dstStep+written, normal(r))
	want = got.copy()
	c = &abi.Stencil{
		Dst: got.address(), Vectors: vectors.address(), Rows: rows.address(), Starts: hold(starts), Offsets: hold(offsets),
		Factors: factors.address(), Items: items, Count: count, Vectorful: parts, DstStep: 4 * dstStep, VectorStep: 4 * vectorStep, FactorStep: 4,
	}
	copied := *c
	copied.Dst = want.address()
	return c, &copied, got, want
}

func TestStencilDots(t *testing.T) {
	r := needStencils(t)
	lanes := active.Stencil.Lanes
	for _, parts := range []int{1, 2, 4, 8} {
		for count := 4; count <= 68; count += 4 {
			whole := (count + lanes - 1) / lanes * lanes
			c, twin, got, want := stencilTrial(r, parts, count, lanes*parts, whole)
			c.FactorStep, twin.FactorStep = 0, 0
			active.Stencil.Dots(c)
			stencilDots(twin, lanes)
			for i := range c.Items { // kernels may write whole vectors
				at := i * c.DstStep / 4
				copy(want.v[at+count:at+whole], got.v[at+count:at+whole])
			}
			same(t, want, got, 1e-5, "parts %d count %d", parts, count)
		}
	}
}

func TestStencilSums(t *testing.T) {
	r := needStencils(t)
	lanes := active.Stencil.Lanes
	for _, parts := range []int{1, 2, 4, 8} {
		for count := 1; count <= 33; count++ {
			c, twin, got, want := stencilTrial(r, parts, count, count, lanes*parts)
			active.Stencil.Sums(c)
			stencilSums(twin, lanes)
			same(t, want, got, 1e-5, "parts %d count %d", parts, count)
		}
	}
}
