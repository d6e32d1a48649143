// SPDX-License-Identifier: MIT

package metal

import "github.com/natten-mps/natten-mps/core"

// sumGrid is the grid of a kernel that sums over queries: x elements whose gradient
// is computed, z independent sums for each, and rows queries per sum.
type sumGrid struct{ x, z, rows int64 }

// cells returns the grid of the relative position bias.
func (l *lister) cells() sumGrid {
	p := l.problem
	n := p.Shape(core.RPB)
	return sumGrid{x: n[1] * n[2] * n[3], z: p.Heads, rows: p.Batch * p.Outputs()}
}

// tokens returns the grid of the additional tokens.
func (l *lister) tokens() sumGrid {
	p := l.problem
	return sumGrid{x: p.Extra, z: p.Batch * p.KVHeads, rows: p.Outputs()}
}

// sum adds the launch of a kernel that computes partial sums of the gradients outs,
// and the launches that add these up.
func (l *lister) sum(function string, grid sumGrid, outs []core.Role, args ...argument) {
	p := l.problem
	d := l.tune.design(p, function)
	x := step{
		variant: l.variant(function, false, d), wants: outs, params: l.params(0), threads: simdWidth,
	}
	splits := l.tune.splits(grid, d)
	x.params.splits = splits
	x.params.heads = int(p.KVHeads)
	x.groups = Size{int(grid.x), splits, int(grid.z)}
	var reductions []step
	for _, out := range outs {
		n := p.Shape(out)
		bytes := 4 * int64(splits) * n[0] * n[1] * n[2] * n[3]
		index := l.addScratch(scratch{bytes: bytes})
		args = append(args, writesScratch(index))
		reductions = append(reductions, l.reduction(out, index, splits))
	}
	x.args = append(args, sizes)
	l.steps = append(append(l.steps, x), reductions...)
}

// reduceThreads is the number of threads in a threadgroup of reduce.
const reduceThreads = 128

// reduction adds up the partial sums of a gradient with four dimensions.
func (l *lister) reduction(out core.Role, sums, splits int) step {
	r := step{
		variant: l.variant("reduce", false, design{}), wants: []core.Role{out}, params: l.params(0),
		args: []argument{readsScratch(sums), writes(out)}, threads: reduceThreads,
	}
	elements := int64(1)
	for i, n := range l.problem.Shape(out) {
		r.params.dims[i] = int(n)
		elements *= n
	}
	r.params.splits = splits
	r.groups = Size{int((elements + reduceThreads - 1) / reduceThreads), 1, 1}
	return r
}
