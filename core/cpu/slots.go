// SPDX-License-Identifier: MIT

package cpu

import (
	"math"

	"github.com/natten-mps/natten-mps/core"
)

// clearSlots fills the items' window slots with what masked slots hold.
func (t *tile[T]) clearSlots(role core.Role, masked float64) {
	a := &t.p.Axes
	if !a[0].Causal && !a[1].Causal && !a[2].Causal {
		return
	}
	for r := range t.items {
		fill(t.item(role, r), int(t.p.DType.Size()), int(t.p.WindowSize()), t.p.DType, masked)
	}
}

// slotOf is the number of the attention slot of item r and the first column that
// it meets in the forward walk; those of the next columns follow.
func (t *tile[T]) slotOf(r int, c *column) int {
	if t.tokens {
		return int(t.p.WindowSize()) + t.from
	}
	a, from := &t.p.Axes, t.clips[r].from
	n := (c.n0-t.start0)*int(a[1].Kernel) + c.n1 - t.start1
	return n*int(a[2].Kernel) + t.from + from - t.start[t.position(r)]
}

func (t *tile[T]) writeSlots(role core.Role, values []T) {
	size := int(t.p.DType.Size())
	for r := range t.items {
		p := t.item(role, r)
		for i := range t.columns {
			c := &t.columns[i]
			if row := t.lanes(values, r, c); len(row) > 0 {
				store(p.Add(t.slotOf(r, c)*size), size, t.p.DType, row, 1)
			}
		}
	}
}

func (t *tile[T]) readSlots(role core.Role) {
	if t.pass.kind.inverse() {
		t.gatherSlots(role)
		return
	}
	size := int(t.p.DType.Size())
	for r := range t.items {
		p := t.item(role, r)
		for i := range t.columns {
			c := &t.columns[i]
			if row := t.lanes(t.scores, r, c); len(row) > 0 {
				load(row, p.Add(t.slotOf(r, c)*size), size, t.p.DType)
			}
		}
	}
}

// gatherSlots reads, for keys as items, their slots in the windows of the queries
// that are the columns.
func (t *tile[T]) gatherSlots(role core.Role) {
	a, size := &t.p.Axes, int(t.p.DType.Size())
	for i := range t.columns {
		c := &t.columns[i]
		head := t.columnHead(c)
		_, _, start0 := t.lines[0].keysOf(c.n0)
		_, _, start1 := t.lines[1].keysOf(c.n1)
		line := ((t.place[0]-start0)*int(a[1].Kernel) + t.place[1] - start1) * int(a[2].Kernel)
		for lane := range t.to - t.from {
			n2 := t.from + lane
			p := t.address(role, c.n0, c.n1, n2, head)
			_, _, start2 := t.lines[2].keysOf(n2)
			for r := range t.items {
				key := t.place[2] + r
				slot := line + key - start2
				if t.pass.tokens {
					slot = int(t.p.WindowSize()) + key
				}
				if k := &t.clips[r]; k.from <= lane && lane < k.to {
					at := r*t.rowPitch + c.slot*k.width + lane - k.base
					load(t.scores[at:at+1], p.Add(slot*size), 0, t.p.DType)
				}
			}
		}
	}
}

// maskedSlot is what masked slots hold in what a walk writes.
func (k kind) maskedSlot() float64 {
	if k == qkAttn {
		return math.Inf(-1)
	}
	return 0
}
