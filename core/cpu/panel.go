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

// panel holds packed columns, in slots of width lanes. What unused lanes and
// channels hold is undefined.
type panel[T number] struct {
	slots, width int
	turnedFirst  []T // [channel][slot][lane], to score with
	turnedSecond []T
	first        []T // [slot][lane][padded channel], to sum up
	second       []T
	lse          []T // [slot][lane], inverse walk of fused attention
	delta        []T
	tags         []int // [slot] column number along the ring that is packed, or -1
}

// padded is a number of channels rounded up to whole vectors.
func padded(channels int) int { return (channels + 7) &^ 7 }

func (b *panel[T]) size(slots, width, first, second int, parts parts, scalars bool) {
	b.slots, b.width = slots, width
	lanes := slots * width
	if parts.scoreFirst {
		b.turnedFirst = grow(b.turnedFirst, lanes*padded(first)+slack)
	}
	if parts.scoreSecond {
		b.turnedSecond = grow(b.turnedSecond, lanes*padded(second)+slack)
	}
	if parts.sumFirst || parts.scoreFirst {
		b.first = grow(b.first, (lanes+8)*padded(first)+slack)
	}
	if parts.sumSecond || parts.scoreSecond {
		b.second = grow(b.second, (lanes+8)*padded(second)+slack)
	}
	if scalars {
		b.lse, b.delta = grow(b.lse, lanes+slack), grow(b.delta, lanes+slack)
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

// source is rows of channels in a tensor, step bytes apart.
type source struct {
	p        core.Address
	step     int
	channels int
	dtype    core.DType
}

// pack fills a slot of rows and of turned with the lanes of a source. rows is
// packed only if it is wanted or needed on the way to turned.
func (t *tile[T]) pack(turned, rows []T, slot, lanes int, s source, wanted bool) {
	b := t.current
	first := slot * b.width
	depth := padded(s.channels)
	pitch := b.slots * b.width
	rows = rows[first*depth:]
	if t.simd != nil && turned != nil && !wanted && s.dtype == core.Float32 && s.channels%8 == 0 && lanes >= 8 {
		size := int(unsafe.Sizeof(rows[0]))
		for lane := 0; lane < lanes; lane += 8 {
			at := min(lane, lanes-8)
			t.simd.turn(unsafe.Pointer(&turned[first+at]), s.p.Add(at*s.step).Pointer(), depth/8, pitch*size, s.step)
		}
		return
	}
	t.loadRows(rows, depth, s, lanes, 1)
	if turned == nil {
		return
	}
	for lane := 0; lane < lanes; lane += 8 {
		t.turn(turned[first+lane:], rows[lane*depth:], depth, pitch)
	}
}

// turn is
//
//	for c := range depth { for lane := range 8 { turned[c*pitch+lane] = rows[lane*depth+c] } }
func (t *tile[T]) turn(turned, rows []T, depth, pitch int) {
	if t.simd != nil {
		size := int(unsafe.Sizeof(rows[0]))
		t.simd.turn(unsafe.Pointer(&turned[0]), unsafe.Pointer(&rows[0]), depth/8, pitch*size, depth*size)
		return
	}
	r0, r1, r2, r3 := rows[:depth], rows[depth:][:depth], rows[2*depth:][:depth], rows[3*depth:][:depth]
	r4, r5, r6, r7 := rows[4*depth:][:depth], rows[5*depth:][:depth], rows[6*depth:][:depth], rows[7*depth:][:depth]
	for c := range depth {
		x := turned[c*pitch:][:8:8]
		x[0], x[1], x[2], x[3] = r0[c], r1[c], r2[c], r3[c]
		x[4], x[5], x[6], x[7] = r4[c], r5[c], r6[c], r7[c]
	}
}

// loadRows loads rows of channels times factor; pitch is the distance of rows of
// dst in elements.
func (t *tile[T]) loadRows(dst []T, pitch int, s source, rows int, factor T) {
	size, done := int(s.dtype.Size()), 0
	if t.simd != nil && s.channels >= 8 {
		done = s.channels &^ 7
		t.factors = append(t.factors[:0], factor)
		t.simd.load[s.dtype](unsafe.Pointer(&dst[0]), s.p.Pointer(), unsafe.Pointer(&t.factors[0]), rows, done/8, pitch*float32Bytes, s.step, 0)
	}
	if done == s.channels {
		return
	}
	for r := range rows {
		row := dst[r*pitch+done : r*pitch+s.channels]
		load(row, s.p.Add(r*s.step+done*size), size, s.dtype)
		if factor == 1 {
			continue
		}
		for i := range row {
			row[i] *= factor
		}
	}
}

// storeRows stores rows of channels, each times a factor; pitch and step are the
// distances of rows of src and of factors in elements.
func (t *tile[T]) storeRows(s source, src []T, pitch, rows int, factors []T, step int) {
	if t.pass.kind.inverse() && t.member > 0 {
		t.addRows(s, src, pitch, rows, factors, step)
		return
	}
	size, done := int(s.dtype.Size()), 0
	if t.simd != nil && s.channels >= 8 {
		done = s.channels &^ 7
		t.simd.store[s.dtype](s.p.Pointer(), unsafe.Pointer(&src[0]), unsafe.Pointer(&factors[0]), rows, done/8,
			s.step, pitch*float32Bytes, step*float32Bytes)
	}
	if done == s.channels {
		return
	}
	for r := range rows {
		store(s.p.Add(r*s.step+done*size), size, s.dtype, src[r*pitch+done:r*pitch+s.channels], factors[r*step])
	}
}

// addRows is storeRows on top of what another query head of the group stored.
func (t *tile[T]) addRows(s source, src []T, pitch, rows int, factors []T, step int) {
	size := elementSize[T]()
	t.strip.factors[1] = 1
	t.strip.call = stripCall{
		dst: s.p, vectors: addressOf(&factors[0]), rows: addressOf(&src[0]), factors: addressOf(&t.strip.factors[1]),
		items: rows, count: 1, blocks: s.channels / 8, dstStep: s.step, vectorStep: step * size, advance: pitch * size, add: 1,
	}
	t.sums()
}
