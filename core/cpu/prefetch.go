// SPDX-License-Identifier: MIT

package cpu

import "github.com/natten-mps/natten-mps/core"

// expect asks for what the next row of the tile will touch first: its items and
// the columns that come into its window. Rows of a heads-last tensor are too far
// apart for the processor to foresee them.
func (t *tile[T]) expect(n0, n1 int) {
	if t.simd == nil || t.simd.prefetch == nil || t.pass.tokens {
		return
	}
	t.tokens = false
	place := t.place
	t.place[0], t.place[1] = n0, n1
	first, second := t.itemRoles()
	if t.parts.scoreFirst {
		t.expectItems(first, int(t.p.HeadDim))
	}
	if t.parts.scoreSecond {
		t.expectItems(second, int(t.p.ValueDim))
	}
	if t.pass.kind == attnOut {
		t.expectItems(core.Out, int(t.p.ValueDim))
	}
	t.place = place
	lo0, hi0, _ := t.span(0, n0)
	lo1, hi1, _ := t.span(1, n1)
	if columns := t.high - t.low; lo1 == hi1 || t.ring == 0 || columns <= 0 || columns > t.width {
		return
	}
	first, second = t.columnRoles()
	for n := lo0; n < hi0; n++ {
		c := column{n0: n, n1: hi1 - 1}
		for c.member = range t.members() {
			if t.parts.scoreFirst || t.parts.sumFirst {
				t.expectColumn(first, &c, int(t.p.HeadDim))
			}
			if t.parts.scoreSecond || t.parts.sumSecond {
				t.expectColumn(second, &c, int(t.p.ValueDim))
			}
		}
	}
}

const lineBytes = 64

func (t *tile[T]) expectItems(role core.Role, channels int) {
	lines := parted(channels*int(t.p.DType.Size()), lineBytes)
	for head := range t.heads() {
		s := t.ofHead(role, head, channels)
		t.simd.prefetch(s.p.Pointer(), t.positions, s.step, lines)
	}
}

func (t *tile[T]) expectColumn(role core.Role, c *column, channels int) {
	t.from = t.low
	p, step := t.lane(role, c, t.columnHead(c))
	t.simd.prefetch(p.Pointer(), t.high-t.low, step, parted(channels*int(t.p.DType.Size()), lineBytes))
}
