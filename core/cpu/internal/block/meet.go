// SPDX-License-Identifier: MIT

package block

import (
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// met holds the keys that up to two rows of items meet.
type met struct {
	groups  []packedRow // groups of rows, for scores
	rows    []packedRow // single rows, for sums
	lo, hi  [2]int      // [row of items] range [lo, hi) of rows of keys along axis 1
	offsets []int       // [group] offset in bytes in score panels
	masks   [][2]uint32 // [group][row of items] bits of the vector elements that are met
	list    []abi.MetRow
	parts   []part // of list
}

// packedRow is a row, or a group of rows, of keys, with the slot that holds it.
type packedRow struct{ n0, member, index, slot int }

// tag identifies the row or group among those that share a slot.
func (p *packedRow) tag() rowTag { return rowTag{p.n0, p.index} }

// rowTag is the plane and the index of a row or group of keys.
type rowTag struct{ n0, index int }

// noRow is the tag of an empty slot.
var noRow = rowTag{-1, -1}

// part is a section of the list of rows of keys: first those that only the upper (first) row of
// items meets, then those that both meet, then those that only the lower one meets.
type part struct{ first, upper, both, lower int }

// meetRows lists the groups of rows of keys that the rows of items from n1 on, at most two,
// meet.
func (w *worker) meetRows(n1, rows int) {
	var lo, hi [2]int
	for i := range rows {
		lo[i], hi[i], _ = w.at.Span(1, n1+i)
	}
	if rows == 1 {
		lo[1], hi[1] = hi[0], hi[0]
	}
	l, m := w.plan, &w.met
	m.lo, m.hi = lo, hi
	first := (lo[0] + l.phase) / l.step
	end, step := max(hi[0], hi[1])+l.phase, l.rows/l.step
	m.groups, m.rows = m.groups[:0], m.rows[:0]
	m.offsets, m.masks, m.parts, m.list = m.offsets[:0], m.masks[:0], m.parts[:0], m.list[:0]
	for member := w.reach.member; member < w.reach.members; member++ {
		for n0 := w.reach.plane; n0 < w.reach.planes; n0++ {
			plane := (member-w.reach.member)*l.planes + n0%l.planes
			for g, groups := first, 0; g*l.step < end; g += step {
				m.groups = append(m.groups, packedRow{n0, member, g, l.slot(plane, g)})
				if groups++; groups*l.rows >= partRows {
					w.meetPart(plane, groups)
					groups = 0
				}
				if (g+step)*l.step >= end && groups > 0 {
					w.meetPart(plane, groups)
				}
			}
		}
	}
	w.weightItem = len(m.offsets) * l.wide * l.lanes
	size := 4 * len(w.quads) * w.weightItem
	scratch.Grow(w.Memory, &w.weights, size)
	if w.kind != walk.AttnOut {
		scratch.Grow(w.Memory, &w.gradients, size)
	}
}

// meetPart adds the rows of the last groups to the list as a part.
func (w *worker) meetPart(plane, groups int) {
	l, m := w.plan, &w.met
	rowBytes, vector := l.rowPitch()*kern.Float32Bytes, l.wide*l.lanes
	p, from := part{first: len(m.list)}, len(m.offsets)
	last := m.groups[len(m.groups)-groups:]
	for i := range last {
		m.offsets = append(m.offsets, last[i].slot*l.width*l.rows*kern.Float32Bytes)
		var masks [2]uint32
		at := last[i].index*l.step - l.phase
		for i := range masks {
			masks[i] = repeatBits(laneBits(min(max(m.lo[i]-at, 0), l.rows), max(min(m.hi[i]-at, l.rows), 0), 1), l.rows)
		}
		m.masks = append(m.masks, masks)
	}
	for class, count := range [3]*int{&p.upper, &p.both, &p.lower} {
		for i := range last {
			for r := range l.rows {
				n := last[i].index*l.step - l.phase + r
				upper, lower := m.lo[0] <= n && n < m.hi[0], m.lo[1] <= n && n < m.hi[1]
				if upper != (class < 2) || lower != (class > 0) {
					continue
				}
				slot := l.rowSlot(plane, n)
				m.rows = append(m.rows, packedRow{last[i].n0, last[i].member, n, slot})
				m.list = append(m.list, abi.MetRow{Panel: slot * rowBytes, Weights: ((from+i)*vector + r) * kern.Float32Bytes})
				*count++
			}
		}
	}
	m.parts = append(m.parts, p)
}

// repeatBits repeats the lowest count bits over all 32 bits.
func repeatBits(bits uint32, count int) uint32 {
	for ; count < 32; count *= 2 {
		bits |= bits << count
	}
	return bits
}
