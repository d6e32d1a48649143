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

// units returns the number of lane groups along each axis. Where a group takes
// several rows they are neighbours in one dilation group; na_queries, na_keys and
// na_box of the shaders enumerate them.
func units(p *core.Problem, side side, d design) (n [3]int) {
	rows := d.rows()
	for i := range p.Axes {
		a := &p.Axes[i]
		n[i] = int(a.Length)
		if side == querySide {
			n[i] = int(a.Outputs())
		}
		if rows[i] > 1 {
			n[i] = int(a.Dilation) * ((int(a.GroupLength(0)) + rows[i] - 1) / rows[i])
		}
	}
	return n
}

// rows is the shape of what one lane group works on.
func (d *design) rows() [3]int {
	if d.matrix() {
		return d.box
	}
	return [3]int{1, 1, d.reuse}
}

// arrange chooses the shape of threadgroups and the grid of a step whose lane
// groups have units to work on. samples counts pairs of a sample and a head.
func (x *step) arrange(threads int, samples int) {
	x.threads = threads
	x.params.tile = tile(x.params.units, x.variant.design.rows(), threads/x.variant.design.lanes)
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
// as a box of neighbours, as near to a cube of rows as it goes, so that they find
// each other's keys in the cache.
func tile(units, rows [3]int, groups int) (log2 [3]int) {
	extent := func(axis int) int { return rows[axis] << log2[axis] }
	for ; groups > 1; groups /= 2 {
		best := -1
		for axis := 2; axis >= 0; axis-- {
			if 1<<log2[axis] < units[axis] && (best < 0 || extent(axis) < extent(best)) {
				best = axis
			}
		}
		if best < 0 {
			best = 2 // more lanes than work
		}
		log2[best]++
	}
	return log2
}
