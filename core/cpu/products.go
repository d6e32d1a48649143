// SPDX-License-Identifier: MIT

package cpu

import (
	"math"
	"unsafe"
)

// score takes the inner products of all items with the lanes of turned that they
// meet.
func (t *tile[T]) score(dst, vectors, turned []T, channels int) {
	if t.simd != nil {
		t.scoreGroups(dst, vectors, turned, channels)
		return
	}
	b, depth := t.current, padded(channels)
	for r := range t.items {
		c := &t.clips[r]
		if c.from == c.to {
			continue
		}
		for _, s := range t.segments {
			to := r*t.rowPitch + s.slot*c.width + c.from - c.base
			from := s.slot*b.width + c.from
			scoreRows[T](unsafe.Pointer(&dst[to]), unsafe.Pointer(&vectors[r*depth]), unsafe.Pointer(&turned[from]),
				channels, b.slots*b.width, s.count, c.width, b.width, c.to-c.from)
		}
	}
}

const float32Bytes = 4

func (t *tile[T]) scoreGroups(dst, vectors, turned []T, channels int) {
	for i := range t.groups {
		for _, s := range t.segments {
			t.scoreGroup(dst, vectors, turned, channels, &t.groups[i], s)
		}
	}
}

func (t *tile[T]) scoreGroup(dst, vectors, turned []T, channels int, g *group, s segment) {
	b := t.current
	pitch, item, vector := b.slots*b.width*float32Bytes, t.rowPitch*float32Bytes, padded(channels)*float32Bytes
	to, from := dst[s.slot*g.width:], turned[s.slot*b.width:]
	pairs := t.scorePairs[g.pairs:g.pairsEnd]
	if t.simd.scorePairs != nil && g.width == 8 && s.count == 1 && len(pairs) >= 4 {
		n := len(pairs) &^ 3
		t.simd.scorePairs(unsafe.Pointer(&to[0]), unsafe.Pointer(&vectors[0]), unsafe.Pointer(&from[0]),
			unsafe.Pointer(&pairs[0]), n, channels, pitch, item, vector)
		if pairs = pairs[n:]; len(pairs) == 0 {
			return
		}
	}
	kernel, most, step, dstStep, rows, columns := t.simd.scoreRows, scoreRowsMost, b.width, g.width, s.count, g.width/8
	switch {
	case g.width == 4:
		kernel, most, columns = t.simd.scoreHalves, scoreHalvesMost, 1
	case s.count == 1:
		step, dstStep, rows, columns = 8, 8, columns, 1
	}
	chunk := parted(rows, parted(rows, most))
	for column := range columns {
		for n := 0; n < rows; n += chunk {
			kernel(unsafe.Pointer(&to[n*dstStep+8*column]), unsafe.Pointer(&vectors[0]), unsafe.Pointer(&from[n*step+8*column]),
				unsafe.Pointer(&pairs[0]), len(pairs), channels, pitch, step*float32Bytes, min(chunk, rows-n),
				dstStep*float32Bytes, item, vector)
		}
	}
	if g.width == 4 && s.count%2 == 1 {
		for r := g.item; r < g.item+g.items; r++ {
			rest := dst[r*t.rowPitch+(s.slot+s.count)*4:][:4]
			for lane := range rest {
				rest[lane] = T(math.Inf(-1))
			}
		}
	}
}

// accumulate adds the rows that the items meet, times their weights.
func (t *tile[T]) accumulate(sums, rows []T, channels int) {
	depth := padded(channels)
	if t.simd == nil {
		b := t.current
		for r := range t.items {
			c := &t.clips[r]
			if c.from == c.to {
				continue
			}
			for _, s := range t.segments {
				at := r*t.rowPitch + s.slot*c.width + c.from - c.base
				accumulateRows[T](unsafe.Pointer(&sums[r*depth]), unsafe.Pointer(&t.scores[at]),
					unsafe.Pointer(&rows[(s.slot*b.width+c.from)*depth]), depth, s.count, c.width, b.width, c.to-c.from)
			}
		}
		return
	}
	b := t.current
	for i := range t.groups {
		g := &t.groups[i]
		if g.sums == g.sumsEnd {
			continue
		}
		for _, s := range t.segments {
			t.simd.accumulate(unsafe.Pointer(&sums[0]), unsafe.Pointer(&t.scores[s.slot*g.width]),
				unsafe.Pointer(&rows[s.slot*b.width*depth]), unsafe.Pointer(&t.sumPairs[g.sums]), g.sumsEnd-g.sums,
				depth, s.count, depth*float32Bytes, t.rowPitch*float32Bytes)
		}
	}
}
