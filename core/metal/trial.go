// SPDX-License-Identifier: MIT

package metal

import "github.com/natten-mps/natten-mps/core"

// trials returns two small problems that run exactly the kernels of r for a layout:
// one with as few features as these kernels permit, and one with as many.
func (r *runner) trials(l layout) [2]*core.Problem {
	want := r.names(l)
	same := func(p core.Problem) *core.Problem {
		n, err := p.Normalize()
		if err != nil || len(tooLarge(n)) > 0 {
			return nil
		}
		x := &runner{problem: n}
		if x.steps, _ = steps(n, r.tune); x.names(l) != want {
			return nil
		}
		return n
	}
	small := *r.problem
	small.Memory = core.Host
	copy(small.Axes[:], small.Axes[3-small.Rank:]) // undoes Normalize, which moves the axes
	small = changed(small, smaller, same)
	return [2]*core.Problem{same(changed(small, simpler, same)), same(changed(small, richer, same))}
}

// change is one modification that makes a problem smaller, simpler or richer.
type change func(p *core.Problem)

// trialCost is the largest number of query-key products of a trial, which determines
// the reference's time, unless the kernels need more.
const trialCost = 4_000

func cost(p *core.Problem) int64 {
	pairs := p.Batch * p.Heads
	for i := range p.Rank {
		pairs *= p.Axes[i].Length * p.Axes[i].Kernel
	}
	return pairs
}

// changed applies the changes that keep the kernels the same and the cost low.
func changed(p core.Problem, changes []change, same func(core.Problem) *core.Problem) core.Problem {
	for _, c := range changes {
		q := p
		c(&q)
		fit(&q)
		if cost(&q) <= max(trialCost, cost(&p)) && same(q) != nil {
			p = q
		}
	}
	return p
}

// fit makes each axis one position per dilation group longer than a window, so that
// it has two different windows.
func fit(p *core.Problem) {
	for i := range p.Rank {
		a := &p.Axes[i]
		a.Length = (a.Kernel + 1) * a.Dilation
		if a.Ranged() {
			a.Range = core.Range{QueryCount: a.Length - 1}
			if a.QueryStep < a.Length {
				a.Range = core.Range{QueryFirst: a.QueryStep}
			}
		}
	}
}

// trialKernel is the largest window of a trial along one axis, by rank. It allows
// slightly more than 100 slots in total, because other kernels are chosen from 100
// slots on.
var trialKernel = [...]int64{1: 128, 2: 11, 3: 5}

// atMost limits the window along each axis.
func atMost(p *core.Problem, kernel int64) {
	for i := range p.Rank {
		p.Axes[i].Kernel = min(p.Axes[i].Kernel, kernel)
		p.Axes[i].Stride = min(p.Axes[i].Stride, p.Axes[i].Kernel)
	}
}

var smaller = []change{
	func(p *core.Problem) { atMost(p, trialKernel[p.Rank]) },
	func(p *core.Problem) { atMost(p, 5) },
	func(p *core.Problem) { atMost(p, 3) },
	func(p *core.Problem) { p.Extra = min(p.Extra, 3) },
	func(p *core.Problem) { p.Heads, p.KVHeads = min(p.Group(), 2), 1 },
	func(p *core.Problem) { p.Batch = min(p.Batch, 2) },
}

var simpler = []change{
	func(p *core.Problem) { p.Batch, p.Ragged = 1, false },
	func(p *core.Problem) { p.Heads, p.KVHeads = 1, 1 },
	func(p *core.Problem) { p.Extra = 0 },
	func(p *core.Problem) {
		for i := range p.Rank {
			a := &p.Axes[i]
			*a = core.Axis{Kernel: a.Kernel, Dilation: 1, Stride: 1, QueryStep: a.QueryStep}
		}
	},
}

var richer = []change{
	func(p *core.Problem) { p.Extra = 3 },
	func(p *core.Problem) { p.Heads, p.KVHeads = 2, 1 },
	func(p *core.Problem) { p.Batch, p.Ragged = 2, true },
	func(p *core.Problem) { p.HasScale, p.Scale = true, 0.6 },
	func(p *core.Problem) { p.Axes[0].Dilation = 2 },
	func(p *core.Problem) { p.Axes[0].Stride = 2 },
	func(p *core.Problem) { p.Axes[p.Rank-1].Causal = true },
}
