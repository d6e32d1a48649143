// SPDX-License-Identifier: MIT

package metal

import "github.com/natten-mps/natten-mps/core"

// Largest number of threads of a threadgroup (NA_THREADS), and threads of a
// simdgroup.
const (
	threadsPerGroup = 128
	simdWidth       = 32
)

// side says what lane groups work on: queries that are computed, or keys.
type side int

const (
	querySide side = iota
	keySide
)

// extent is the work along one axis: length rows in each of a number of dilation
// groups. Neighboring rows are neighbors within one dilation group. na_axis_range,
// na_queries, na_keys and na_box of the shaders enumerate them.
type extent struct{ length, groups int }

// extents describes the rows of a side. With a query step, each output is a row of a
// single group.
func extents(p *core.Problem, side side) (e [3]extent) {
	for i := range p.Axes {
		a := &p.Axes[i]
		rows := a.Keys()
		if side == querySide {
			rows = a.Queries()
		}
		e[i] = extent{int((rows + a.Dilation - 1) / a.Dilation), int(a.Dilation)}
		if side == querySide && a.QueryStep != 1 {
			e[i] = extent{int(a.Outputs()), 1}
		}
	}
	return e
}

// units returns how many boxes of the given number of rows cover each axis.
func units(e [3]extent, rows [3]int) (n [3]int) {
	for i := range e {
		n[i] = e[i].groups * ((e[i].length + rows[i] - 1) / rows[i])
	}
	return n
}

// rows returns the shape of the box of rows that one lane group works on.
func (d *design) rows() [3]int {
	if d.matrix() {
		return d.box
	}
	return [3]int{1, d.reuse[0], d.reuse[1]}
}

// arrange chooses the shape of the threadgroups and the grid of a step. samples is
// the number of (sample, head) pairs.
func (x *step) arrange(threads int, samples int) {
	d := &x.variant.design
	x.threads = threads
	rows := d.rows()
	if x.variant.function == "attn_bwd_strip" {
		x.params.units = units(x.extents, [3]int{1, 1, stripKeys(threads/d.lanes, int(x.params.axes[2].Kernel))})
		x.groups = Size{x.params.units[2], 1, samples}
		return
	}
	if !x.variant.tiled() {
		x.params.units = units(x.extents, rows)
		x.params.tile = tile(x.params.units, rows, threads/d.lanes, 1)
		tiles := func(axis int) int {
			t := x.params.tile[axis]
			return (x.params.units[axis] + 1<<t - 1) >> t
		}
		x.groups = Size{tiles(2), tiles(1) * tiles(0), samples}
		return
	}
	var groups [3]int // per dilation group
	for i, e := range x.extents {
		groups[i] = (e.length + rows[i] - 1) / rows[i]
	}
	x.params.tile = tile(groups, rows, threads/d.lanes, d.aspect)
	for i := range rows {
		rows[i] <<= x.params.tile[i]
	}
	x.params.units = units(x.extents, rows)
	x.groups = Size{x.params.units[2], x.params.units[1] * x.params.units[0], samples}
}

// stripRows is the number of rows of a lane group of attn_bwd_strip (NA_STRIP_ROWS).
// stripSlots is the number of keys per query that fit its threadgroup memory.
const stripRows, stripSlots = 4, 16

// stripKeys returns the number of keys of one of its threadgroups, as the shader's
// na_strip_keys does.
func stripKeys(groups, slots int) int {
	return max((groups*stripRows-slots+1)/stripRows, 1) * stripRows
}

// stripFits reports whether a strip of the given number of lane groups has room for
// all keys that share loads, and is at least twice as long as the window.
func stripFits(groups, slots int) bool {
	return slots+stripRows-1 <= stripSlots && stripKeys(groups, slots) >= 2*slots
}

// shrink returns the step with threadgroups of at most limit threads.
func (x step) shrink(limit int) step {
	threads := x.threads
	for threads > limit {
		threads /= 2
	}
	if x.params.units[2] > 0 {
		x.arrange(threads, x.groups.Z)
	} else { // reduce has a one-dimensional grid
		x.groups.X *= x.threads / threads
		x.threads = threads
	}
	return x
}

// tile shapes a threadgroup of the given number of lane groups, a power of two, as a
// box of neighbors, so that they share what they load. The box is as close as
// possible to a cube of rows that is stretched aspect times along axis 2.
func tile(units, rows [3]int, groups, aspect int) (log2 [3]int) {
	extent := func(axis int) int {
		e := aspect * rows[axis] << log2[axis]
		if axis == 2 {
			e /= aspect
		}
		return e
	}
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
