// SPDX-License-Identifier: MIT

package metal

import "github.com/natten-mps/natten-mps/core"

// Threads of a threadgroup, at most (NA_THREADS), and of a simdgroup.
const (
	threadsPerGroup = 128
	simdWidth       = 32
)

// side says what lane groups work on: outputs of queries, or keys.
type side int

const (
	querySide side = iota
	keySide
)

// units returns the number of lane groups along each axis. Along the last one a
// group takes reuse neighbours of one dilation group; na_queries and na_keys of
// the shaders enumerate them.
func units(p *core.Problem, side side, reuse int) [3]int {
	var n [3]int64
	for i := range p.Axes {
		n[i] = p.Axes[i].Length
		if side == querySide {
			n[i] = p.Axes[i].Outputs()
		}
	}
	if reuse > 1 {
		a := &p.Axes[2]
		longest := a.GroupLength(0)
		n[2] = a.Dilation * ((longest + int64(reuse) - 1) / int64(reuse))
	}
	return [3]int{int(n[0]), int(n[1]), int(n[2])}
}

// arrange chooses the shape of threadgroups and the grid of a step whose lane
// groups have units to work on. samples counts pairs of a sample and a head.
func (x *step) arrange(threads int, samples int) {
	x.threads = threads
	x.params.tile = tile(x.params.units, threads/x.variant.design.lanes)
	tiles := func(axis int) int {
		t := x.params.tile[axis]
		return (x.params.units[axis] + 1<<t - 1) >> t
	}
	x.groups = Size{tiles(2), tiles(1) * tiles(0), samples}
}

// shrink is the step with threadgroups of at most limit threads.
func (x step) shrink(limit int) step {
	threads := x.threads
	for threads > limit {
		threads /= 2
	}
	if x.params.units[2] > 0 {
		x.arrange(threads, x.groups.Z)
	} else { // reduce, which is a line of threads
		x.groups.X *= x.threads / threads
		x.threads = threads
	}
	return x
}

// tile shapes a threadgroup of the given number of lane groups, a power of two,
// as a box of neighbours, so that they find each other's keys in the cache.
// Along the last axis it is at least 4 wide, as far as there are units.
func tile(units [3]int, groups int) (log2 [3]int) {
	grow := func(axis int) bool {
		if groups == 1 || 1<<log2[axis] >= units[axis] {
			return false
		}
		log2[axis]++
		groups /= 2
		return true
	}
	for grow(2) && log2[2] < 2 {
	}
	for grown := true; grown; {
		grown = false
		for axis := 2; axis >= 0; axis-- {
			grown = grow(axis) || grown
		}
	}
	for groups > 1 { // more lanes than work
		log2[2]++
		groups /= 2
	}
	return log2
}
