// SPDX-License-Identifier: MIT

package cpu

import (
	"math"

	"github.com/natten-mps/natten-mps/core"
)

// loadItems loads the items' channels, those of the first product times scale,
// and clears their sums.
func (t *tile[T]) loadItems() {
	first, second := t.itemRoles()
	d, dv := padded(int(t.p.HeadDim)), padded(int(t.p.ValueDim))
	if t.parts.scoreFirst {
		t.first = grow(t.first, (t.items+1)*d)
		t.loadRole(t.first, first, int(t.p.HeadDim), T(t.p.Scale))
	}
	if t.parts.scoreSecond {
		t.second = grow(t.second, (t.items+1)*dv)
		t.loadRole(t.second, second, int(t.p.ValueDim), 1)
	}
	if t.parts.sumFirst {
		t.sumFirst = grow(t.sumFirst, (t.items+1)*d)
		clear(t.sumFirst)
	}
	if t.parts.sumSecond {
		t.sumSecond = grow(t.sumSecond, (t.items+1)*dv)
		clear(t.sumSecond)
	}
	switch t.pass.kind {
	case qkAttn, avAttn:
		t.clearSlots(t.pass.outputs[0], t.pass.kind.maskedSlot())
	case attnOut:
		t.fresh = true
		t.maximum, t.total = grow(t.maximum, t.items), grow(t.total, t.items)
		clear(t.total)
		for r := range t.maximum {
			t.maximum[r] = T(math.Inf(-1))
		}
	case attnQuery:
		t.lse, t.delta = grow(t.lse, t.items), grow(t.delta, t.items)
		for r := range t.items {
			n2, head := t.place[2]+t.position(r), t.itemHead(r)
			load(t.lse[r:r+1], t.address(core.LSE, t.place[0], t.place[1], n2, head), 0, t.p.DType.Accumulator())
			t.delta[r] = t.deltaOf(t.place[0], t.place[1], n2, head)
		}
	}
}

func (t *tile[T]) item(role core.Role, r int) core.Address {
	return t.address(role, t.place[0], t.place[1], t.place[2]+t.position(r), t.itemHead(r))
}

func (t *tile[T]) loadRole(dst []T, role core.Role, channels int, factor T) {
	heads, depth := t.heads(), padded(channels)
	for head := range heads {
		t.loadRows(dst[head*depth:], heads*depth, t.ofHead(role, head, channels), t.positions, factor)
	}
}

// storeRole writes the items' channels times their factors, which are step elements
// apart.
func (t *tile[T]) storeRole(role core.Role, src []T, channels int, factors []T, step int) {
	if !t.tensors[role].given() {
		return
	}
	heads, depth := t.heads(), padded(channels)
	for head := range heads {
		s := t.ofHead(role, head, channels)
		t.storeRows(s, src[head*depth:], heads*depth, t.positions, factors[head*step:], heads*step)
	}
}

// ofHead is where a role's tensor has the items of one head.
func (t *tile[T]) ofHead(role core.Role, head, channels int) source {
	p := t.item(role, head)
	s := source{p, 0, channels, t.p.DType}
	if t.positions > 1 {
		s.step = int(t.item(role, head+t.heads()) - p)
	}
	return s
}

// storeItems writes what was summed up for the items.
func (t *tile[T]) storeItems() {
	d, dv := int(t.p.HeadDim), int(t.p.ValueDim)
	t.factors = append(t.factors[:0], T(t.p.Scale), 1)
	scale, one := t.factors[:1], t.factors[1:]
	first, second := core.DKey, core.DValue
	if t.pass.tokens {
		first, second = core.DExtraKey, core.DExtraValue
	}
	switch t.pass.kind {
	case attnOut:
		t.storeAttention(dv)
	case avOut:
		t.storeRole(core.Out, t.sumSecond, dv, one, 0)
	case attnQuery, qkQuery:
		t.storeRole(core.DQuery, t.sumFirst, d, scale, 0)
	case attnKey, qkKey, avValue:
		t.storeRole(first, t.sumFirst, d, scale, 0)
		t.storeRole(second, t.sumSecond, dv, one, 0)
	}
}

func (t *tile[T]) storeAttention(channels int) {
	if t.tensors[core.LSE].given() {
		for r := range t.items {
			t.lse = append(t.lse[:0], t.maximum[r]+logarithm(t.total[r]))
			store(t.item(core.LSE, r), 0, t.p.DType.Accumulator(), t.lse, 1)
		}
	}
	for r, v := range t.total {
		t.total[r] = 1 / v
	}
	t.storeRole(core.Out, t.sumSecond, channels, t.total, 1)
}
