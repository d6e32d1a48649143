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
	d, dv := int(t.p.HeadDim), int(t.p.ValueDim)
	if t.parts.scoreFirst {
		t.first = grow(t.first, t.items*d)
		t.loadRole(t.first, first, d)
		scale := T(t.p.Scale)
		for i := range t.first {
			t.first[i] *= scale
		}
	}
	if t.parts.scoreSecond {
		t.second = grow(t.second, t.items*dv)
		t.loadRole(t.second, second, dv)
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
			n2, head := t.place[2]+r%t.positions, t.itemHead(r)
			load(t.lse[r:r+1], t.address(core.LSE, t.place[0], t.place[1], n2, head), 0, t.p.DType.Accumulator())
			t.delta[r] = t.deltaOf(t.place[0], t.place[1], n2, head)
		}
	}
}

func (t *tile[T]) item(role core.Role, r int) unsafe.Pointer {
	return t.address(role, t.place[0], t.place[1], t.place[2]+r%t.positions, t.itemHead(r))
}

func (t *tile[T]) loadRole(dst []T, role core.Role, depth int) {
	for r := range t.items {
		load(dst[r*depth:(r+1)*depth], t.item(role, r), int(t.p.DType.Size()), t.p.DType)
	}
}

func (t *tile[T]) storeRole(role core.Role, src []T, depth int, scale T) {
	if !t.tensors[role].given() {
		return
	}
	for r := range t.items {
		store(t.item(role, r), int(t.p.DType.Size()), t.p.DType, src[r*depth:(r+1)*depth], scale)
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

func (t *tile[T]) storeAttention(depth int) {
	for r := range t.items {
		size := int(t.p.DType.Size())
		store(t.item(core.Out, r), size, t.p.DType, t.sumSecond[r*depth:(r+1)*depth], 1/t.total[r])
		if t.tensors[core.LSE].given() {
			lse := [1]T{t.maximum[r] + T(math.Log(float64(t.total[r])))}
			store(t.item(core.LSE, r), 0, t.p.DType.Accumulator(), lse[:], 1)
		}
	}
}
