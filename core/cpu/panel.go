// SPDX-License-Identifier: MIT

package cpu

import (
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// column is one row of columns: all lanes of a tile at one place of the slow
// axes and, in the inverse walk, of one query head.
type column struct {
	n0, n1 int
	member int // query head of the group, inverse walk only
	slot   int
}

// segment is a sequence of slots in use.
type segment struct{ slot, count int }

// panel holds packed columns, in slots of width lanes.
type panel[T number] struct {
	slots, width int
	turnedFirst  []T // [channel][slot][lane], to score with
	turnedSecond []T
	first        []T // [slot][lane][channel], to sum up
	second       []T
	lse          []T // [slot][lane], inverse walk of fused attention
	delta        []T
	tags         []int // [slot] column number along the ring that is packed, or -1
}

func (b *panel[T]) size(slots, width, first, second int, parts parts, scalars bool) {
	b.slots, b.width = slots, width
	lanes := slots * width
	if parts.scoreFirst {
		b.turnedFirst = grow(b.turnedFirst, lanes*first+slack)
	}
	if parts.scoreSecond {
		b.turnedSecond = grow(b.turnedSecond, lanes*second+slack)
	}
	if parts.sumFirst || parts.scoreFirst {
		b.first = grow(b.first, lanes*first+slack)
	}
	if parts.sumSecond || parts.scoreSecond {
		b.second = grow(b.second, lanes*second+slack)
	}
	if scalars {
		b.lse, b.delta = grow(b.lse, lanes), grow(b.delta, lanes)
	}
	b.tags = grow(b.tags, slots)
	b.forget()
}

// forget marks all slots as not packed.
func (b *panel[T]) forget() {
	for i := range b.tags {
		b.tags[i] = -1
	}
}

// pack fills a slot with rows of channels that are step bytes apart, row-major
// and, if turned is not nil, dimension-major too. Lanes behind them become zero
// up to a multiple of 8.
func pack[T number](b *panel[T], turned, rows []T, slot, lanes, depth int, p unsafe.Pointer, step int, dtype core.DType) {
	at := slot * b.width
	rows = rows[at*depth:]
	for lane := range lanes {
		load(rows[lane*depth:(lane+1)*depth], unsafe.Add(p, lane*step), int(dtype.Size()), dtype)
	}
	if turned == nil {
		return
	}
	padded := min((lanes+7)&^7, b.width)
	clear(rows[lanes*depth : padded*depth])
	pitch := b.slots * b.width
	turned = turned[at:]
	for lane := 0; lane < padded; lane += 8 {
		turn8(turned[lane:], rows[lane*depth:], depth, pitch)
	}
}

// turn8 is
//
//	for c := range depth { for lane := range 8 { turned[c*pitch+lane] = rows[lane*depth+c] } }
func turn8[T number](turned, rows []T, depth, pitch int) {
	r0, r1, r2, r3 := rows[:depth], rows[depth:][:depth], rows[2*depth:][:depth], rows[3*depth:][:depth]
	r4, r5, r6, r7 := rows[4*depth:][:depth], rows[5*depth:][:depth], rows[6*depth:][:depth], rows[7*depth:][:depth]
	for c := range depth {
		t := turned[c*pitch:][:8:8]
		t[0], t[1], t[2], t[3] = r0[c], r1[c], r2[c], r3[c]
		t[4], t[5], t[6], t[7] = r4[c], r5[c], r6[c], r7[c]
	}
}
