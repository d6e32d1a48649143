// SPDX-License-Identifier: MIT

package cpu

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// blockPanel holds packed groups of rows of columns. What absent rows, unused lanes
// and unused channels hold is undefined.
type blockPanel[T number] struct {
	turned     [2][]T                   // [channel][slot][lane][row of the group] of first and second channels, to score with
	rows       [2][]T                   // [slot of a row][lane][channel], to sum up
	given      [2][]T                   // [slot of a row][lane][channel] sums for the columns, walk of all gradients
	unwritten  []bool                   // [slot of a row] nothing was stored for the row yet
	lse, delta []T                      // [slot][lane][row of the group], inverse walk
	tags       []int                    // [slot] tag of the group that is packed, or -1
	rowTags    []int                    // [slot of a row] tag of the row that is packed, or -1
	loaded     []T                      // [row of the group][lane][channel] on the way to turned
	from       [blockLanes]core.Address // of lanes, for the kernel that turns them
}

func (t *tile[T]) sizeBlockPanel() {
	b, s := &t.blocked, &t.blocking
	for i, want := range [2]bool{t.parts.scoreFirst, t.parts.scoreSecond} {
		if want {
			b.turned[i] = grow(b.turned[i], s.scoreSize(int([2]int64{t.p.HeadDim, t.p.ValueDim}[i])))
		}
	}
	for i, want := range [2]bool{t.parts.sumFirst, t.parts.sumSecond} {
		if want {
			b.rows[i] = grow(b.rows[i], s.rowsSize())
		}
	}
	if t.parts.scatter {
		b.given[0], b.given[1] = grow(b.given[0], s.rowsSize()), grow(b.given[1], s.rowsSize())
		b.unwritten = grow(b.unwritten, s.heads*s.planes*s.ring)
	}
	if t.pass.kind.inverse() {
		size := s.slots()*s.width*s.rows + mostWide*blockLanes
		b.lse, b.delta = grow(b.lse, size), grow(b.delta, size)
	}
	b.tags, b.rowTags = grow(b.tags, s.slots()), grow(b.rowTags, s.heads*s.planes*s.ring)
}

func (b *blockPanel[T]) forget() {
	for i := range b.tags {
		b.tags[i] = -1
	}
	for i := range b.rowTags {
		b.rowTags[i] = -1
	}
}

// packBlocks packs what is not packed yet of what the items meet.
func (t *tile[T]) packBlocks() {
	b := &t.blocked
	for i := range b.groups {
		if g := &b.groups[i]; b.tags[g.slot] != g.tag() {
			t.packGroup(g)
			b.tags[g.slot] = g.tag()
		}
	}
	if !t.parts.sumFirst && !t.parts.sumSecond {
		return
	}
	for i := range b.sources {
		if r := &b.sources[i]; b.rowTags[r.slot] != r.tag() {
			if t.parts.scatter {
				t.storeColumn(r.slot)
				t.beginColumn(r)
			}
			t.packRow(r)
			b.rowTags[r.slot] = r.tag()
		}
	}
}

// packGroup turns a group of rows into its slot of the score panels.
func (t *tile[T]) packGroup(g *place) {
	first, second := t.columnRoles()
	c := column{n0: g.n0, member: g.member}
	from := g.number*t.blocking.step - t.blocking.phase
	if t.parts.scoreFirst {
		t.turnGroup(0, first, c, from, g.slot, int(t.p.HeadDim))
	}
	if t.parts.scoreSecond {
		t.turnGroup(1, second, c, from, g.slot, int(t.p.ValueDim))
	}
	if t.pass.kind.inverse() {
		t.packLaneNumbers(c, from, g.slot)
	}
}

// packRow packs a row into its slot of the row panels.
func (t *tile[T]) packRow(r *place) {
	s := &t.blocking
	first, second := t.columnRoles()
	c := column{n0: r.n0, n1: r.number, member: r.member}
	if t.parts.sumFirst {
		p, step := t.lane(first, &c, t.columnHead(&c))
		t.loadRows(t.blocked.rows[0][r.slot*s.rowPitch():], s.depth, source{p, step, int(t.p.HeadDim), t.p.DType}, t.to-t.from, 1)
	}
	if t.parts.sumSecond {
		p, step := t.lane(second, &c, t.columnHead(&c))
		t.loadRows(t.blocked.rows[1][r.slot*s.rowPitch():], s.depth, source{p, step, int(t.p.ValueDim), t.p.DType}, t.to-t.from, 1)
	}
}

// turnGroup turns the first or second channels of the rows of a group, which begins
// with row from. Absent rows and lanes repeat their neighbours.
func (t *tile[T]) turnGroup(which int, role core.Role, c column, from, slot, channels int) {
	s := &t.blocking
	end := min(from+s.rows, t.columnRows())
	var rows [4]source
	for i := range s.rows {
		c.n1 = min(max(from+i, 0), end-1)
		p, step := t.lane(role, &c, t.columnHead(&c))
		rows[i] = t.turnable(source{p, step, channels, t.p.DType}, i)
	}
	dst := t.blocked.turned[which][slot*s.width*s.rows:]
	lanes, step := t.to-t.from, blockLanes/s.rows
	blocks, pitch := wholeVectors(channels)/blockLanes, s.channelPitch()*float32Bytes
	addresses := &t.blocked.from
	for first := 0; first < lanes; first += step {
		next := 0
		for lane := first; lane < first+step; lane++ {
			for i := range rows[:s.rows] {
				addresses[next%blockLanes] = rows[i].p.Add(min(lane, lanes-1) * rows[i].step)
				next++
			}
		}
		t.simd.block.turn(unsafe.Pointer(&dst[first*s.rows]), unsafe.Pointer(addresses), blocks, pitch)
	}
}

// turnable returns the source of row i of a group as float32 with whole vectors of
// channels.
func (t *tile[T]) turnable(x source, i int) source {
	if x.dtype == core.Float32 && x.channels%blockLanes == 0 {
		return x
	}
	s, b := &t.blocking, &t.blocked
	size := s.width * s.depth
	b.loaded = grow(b.loaded, s.rows*size+blockLanes)
	row := b.loaded[i*size:]
	t.loadRows(row, s.depth, x, t.to-t.from, 1)
	return source{addressOf(&row[0]), s.depth * float32Bytes, x.channels, core.Float32}
}

// packLaneNumbers packs lse and delta of queries.
func (t *tile[T]) packLaneNumbers(c column, from, slot int) {
	s, b := &t.blocking, &t.blocked
	head, lanes := t.columnHead(&c), t.to-t.from
	b.loaded = grow(b.loaded, lanes)
	for i := range s.rows {
		if c.n1 = from + i; c.n1 < 0 || c.n1 >= t.lines[1].queries {
			continue
		}
		at := slot*s.width*s.rows + i
		p, step := t.lane(core.LSE, &c, head)
		load(b.loaded[:lanes], p, step, t.p.DType.Accumulator())
		for lane, v := range b.loaded[:lanes] {
			b.lse[at+lane*s.rows] = v
		}
		t.deltas(b.delta[at:], s.rows, c.n0, c.n1, t.from, lanes, head)
	}
}

// deltas is deltaOf for queries from n2 on; step is the distance of elements of dst.
func (t *tile[T]) deltas(dst []T, step, n0, n1, n2, count, head int) {
	depth := int(t.p.ValueDim)
	if t.p.DType != core.Float32 || depth%blockLanes != 0 {
		for i := range count {
			dst[i*step] = t.deltaOf(n0, n1, n2+i, head)
		}
		return
	}
	of := func(role core.Role) (p core.Address, step int) {
		p = t.address(role, n0, n1, n2, head)
		return p, int(t.address(role, n0, n1, n2+1, head) - p)
	}
	out, outStep := of(core.Out)
	dOut, dOutStep := of(core.DOut)
	t.simd.block.dotRows(unsafe.Pointer(&dst[0]), out.Pointer(), dOut.Pointer(), count, depth/blockLanes, step*float32Bytes, outStep, dOutStep)
	if t.tensors[core.DLSE].given() {
		p, bytes := of(core.DLSE)
		for i := range count {
			dst[i*step] -= T(*(*float32)(p.Add(i * bytes).Pointer()))
		}
	}
}

// columnRows is the number of rows of columns along axis 1.
func (t *tile[T]) columnRows() int {
	if t.pass.kind.inverse() {
		return t.lines[1].queries
	}
	return t.lines[1].keys
}
