// SPDX-License-Identifier: MIT

package cpu

import (
	"math"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// loadItems loads the items' channels, those of the first product times scale,
// and clears their sums.
func (t *tile[T]) loadItems() {
	first, second := t.itemRoles()
	d, dv := padded(int(t.p.HeadDim)), padded(int(t.p.ValueDim))
	if t.parts.scoreFirst {
		t.first = grow(t.first, t.items*d)
		t.loadRole(t.first, first, int(t.p.HeadDim), T(t.p.Scale))
	}
	if t.parts.scoreSecond {
		t.second = grow(t.second, t.items*dv)
		t.loadRole(t.second, second, int(t.p.ValueDim), 1)
	}
	if t.parts.sumFirst {
		t.sumFirst = grow(t.sumFirst, t.items*d)
		clear(t.sumFirst)
	}
	if t.parts.sumSecond {
		t.sumSecond = grow(t.sumSecond, t.items*dv)
		clear(t.sumSecond)
	}
	switch t.pass.kind {
	case qkAttn, avAttn:
		t.clearSlots(t.pass.outputs[0], t.pass.kind.maskedSlot())
	case attnOut:
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

func (t *tile[T]) item(role core.Role, r int) unsafe.Pointer {
	return t.address(role, t.place[0], t.place[1], t.place[2]+t.position(r), t.itemHead(r))
}

func (t *tile[T]) loadRole(dst []T, role core.Role, channels int, factor T) {
	heads, depth := t.heads(), padded(channels)
	for head := range heads {
		p := t.item(role, head)
		s := source{p, 0, channels, t.p.DType}
		if t.positions > 1 {
			s.step = int(uintptr(t.item(role, head+heads)) - uintptr(p))
		}
		t.loadRows(dst[head*depth:], heads*depth, s, t.positions, factor)
	}
}

func (t *tile[T]) storeRole(role core.Role, src []T, channels int, factor T) {
	if !t.tensors[role].given() {
		return
	}
	depth := padded(channels)
	for r := range t.items {
		t.storeRow(source{t.item(role, r), 0, channels, t.p.DType}, src[r*depth:(r+1)*depth], factor)
	}
}

// storeItems writes what was summed up for the items.
func (t *tile[T]) storeItems() {
	d, dv, scale := int(t.p.HeadDim), int(t.p.ValueDim), T(t.p.Scale)
	first, second := core.DKey, core.DValue
	if t.pass.tokens {
		first, second = core.DExtraKey, core.DExtraValue
	}
	switch t.pass.kind {
	case attnOut:
		t.storeAttention(dv)
	case avOut:
		t.storeRole(core.Out, t.sumSecond, dv, 1)
	case attnQuery, qkQuery:
		t.storeRole(core.DQuery, t.sumFirst, d, scale)
	case attnKey, qkKey, avValue:
		t.storeRole(first, t.sumFirst, d, scale)
		t.storeRole(second, t.sumSecond, dv, 1)
	}
}

func (t *tile[T]) storeAttention(channels int) {
	depth := padded(channels)
	for r := range t.items {
		t.storeRow(source{t.item(core.Out, r), 0, channels, t.p.DType}, t.sumSecond[r*depth:(r+1)*depth], 1/t.total[r])
		if t.tensors[core.LSE].given() {
			lse := [1]T{t.maximum[r] + T(math.Log(float64(t.total[r])))}
			store(t.item(core.LSE, r), 0, t.p.DType.Accumulator(), lse[:], 1)
		}
	}
}
