// SPDX-License-Identifier: MIT

package conformance

import (
	"math/rand/v2"

	"github.com/natten-mps/natten-mps/core"
)

// Random draws a small valid problem of any kind and sizes for it.
func Random(r *rand.Rand) (core.Problem, []int64) {
	p := core.Problem{
		Op:      core.Op(1 + r.Int64N(int64(core.AVBackward))),
		DType:   DTypes[r.IntN(len(DTypes))],
		Rank:    1 + r.IntN(3),
		Batch:   r.Int64N(3),
		KVHeads: 1 + r.Int64N(3),
		HeadDim: 1 + r.Int64N(40), ValueDim: 1 + r.Int64N(40),
		Extra:  max(0, r.Int64N(9)-4),
		Ragged: r.IntN(4) == 0,
	}
	p.Heads = p.KVHeads * (1 + r.Int64N(3))
	p.RPB = p.Op.UsesQK() && r.IntN(2) == 0
	if r.IntN(2) == 0 {
		p.Scale, p.HasScale = r.NormFloat64(), true
	}
	longest := []int64{60, 12, 7}[p.Rank-1]
	maskFirst := r.IntN(2) == 0
	for i := range p.Rank {
		p.Axes[i] = randomAxis(r, longest)
		p.Axes[i].MaskFirst = maskFirst
	}
	var sizes []int64
	for n := range p.Batch * int64(p.Rank) {
		a := &p.Axes[n%int64(p.Rank)]
		least := a.Kernel * a.Dilation
		sizes = append(sizes, least+r.Int64N(a.Length-least+1))
	}
	if !p.Ragged {
		return p, nil
	}
	return p, sizes
}

func randomAxis(r *rand.Rand, longest int64) core.Axis {
	a := core.Axis{Length: 1 + r.Int64N(longest), Causal: r.IntN(3) == 0, QueryStep: 1}
	a.Dilation = 1 + r.Int64N(min(a.Length, 4))
	a.Kernel = 1 + r.Int64N(a.Length/a.Dilation)
	a.Stride = 1 + r.Int64N(a.Kernel)
	if r.IntN(3) == 0 {
		a.QueryStep = 1 + r.Int64N(5)
	}
	return a
}
