// SPDX-License-Identifier: MIT

package cpu

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// blockPanel holds packed groups of rows of columns. What absent rows, unused lanes
// and unused channels hold is undefined.
type blockPanel[T number] struct {
	turned     [2][]T // [channel][slot][lane][row of the group] of first and second channels, to score with
	rows       [2][]T // [slot][row of the group][lane][channel], to sum up
	lse, delta []T    // [slot][lane][row of the group], inverse walk
	tags       []int  // [slot] group along the ring that is packed, or -1
	loaded     []T    // [row of the group][lane][channel] on the way to turned
	from       [blockLanes]unsafe.Pointer
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
	if t.pass.kind.inverse() {
		size := s.slots()*s.width*s.rows + mostWide*blockLanes
		b.lse, b.delta = grow(b.lse, size), grow(b.delta, size)
	}
	b.tags = grow(b.tags, s.slots())
	b.forget()
}

func (b *blockPanel[T]) forget() {
	for i := range b.tags {
		b.tags[i] = -1
	}
}

// packGroup fills a slot with the columns of a group of rows.
func (t *tile[T]) packGroup(g *metGroup) {
	first, second := t.columnRoles()
	c, slot := column{n0: g.n0, member: g.member}, g.slot
	from := g.group*t.blocking.rows - t.blocking.phase
	t.packGroupOf(0, first, c, from, slot, int(t.p.HeadDim), t.parts.scoreFirst, t.parts.sumFirst)
	t.packGroupOf(1, second, c, from, slot, int(t.p.ValueDim), t.parts.scoreSecond, t.parts.sumSecond)
	if t.pass.kind.inverse() {
		t.packLaneNumbers(c, from, slot)
	}
}

// packGroupOf packs the first or second channels of the rows that begin with row
// from.
func (t *tile[T]) packGroupOf(which int, role core.Role, c column, from, slot, channels int, turn, sum bool) {
	s, b := &t.blocking, &t.blocked
	end := min(from+s.rows, t.columnRows())
	var rows [4]source
	for i := range s.rows {
		c.n1 = min(max(from+i, 0), end-1)
		p, step := t.lane(role, &c, t.columnHead(&c))
		x := source{p, step, channels, t.p.DType}
		if turn {
			rows[i] = t.turnable(x, i)
		}
		if sum && c.n1 == from+i {
			t.loadRows(b.rows[which][(slot*s.rows+i)*s.rowPitch():], s.depth, x, t.to-t.from, 1)
		}
	}
	if turn {
		t.turnGroup(b.turned[which][slot*s.width*s.rows:], rows[:s.rows])
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
	return source{unsafe.Pointer(&row[0]), s.depth * float32Bytes, x.channels, core.Float32}
}

// turnGroup turns rows of a group into a slot. Lanes beyond the last repeat it.
func (t *tile[T]) turnGroup(dst []T, rows []source) {
	lanes, step := t.to-t.from, blockLanes/len(rows)
	channels, pitch := wholeVectors(rows[0].channels)/blockLanes, t.blocking.channelPitch()*float32Bytes
	from := &t.blocked.from
	for first := 0; first < lanes; first += step {
		for i := range from {
			r := &rows[i%len(rows)]
			from[i] = unsafe.Add(r.p, min(first+i/len(rows), lanes-1)*r.step)
		}
		t.simd.block.turn(unsafe.Pointer(&dst[first*len(rows)]), unsafe.Pointer(from), channels, pitch)
	}
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
	of := func(role core.Role) (p unsafe.Pointer, step int) {
		p = t.address(role, n0, n1, n2, head)
		return p, int(uintptr(t.address(role, n0, n1, n2+1, head)) - uintptr(p))
	}
	out, outStep := of(core.Out)
	dOut, dOutStep := of(core.DOut)
	t.simd.block.dotRows(unsafe.Pointer(&dst[0]), out, dOut, count, depth/blockLanes, step*float32Bytes, outStep, dOutStep)
	if t.tensors[core.DLSE].given() {
		p, bytes := of(core.DLSE)
		for i := range count {
			dst[i*step] -= T(*(*float32)(unsafe.Add(p, i*bytes)))
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
