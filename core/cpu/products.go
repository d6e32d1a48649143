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
		t.scorePairs(dst, vectors, turned, channels)
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

func (t *tile[T]) scorePairs(dst, vectors, turned []T, channels int) {
	depth := padded(channels)
	for r := 0; r < t.items; r += 2 {
		if t.fourPairs(r) {
			s := t.segments[0].slot * t.current.width
			t.simd.scorePairs(unsafe.Pointer(&dst[r*t.rowPitch]), unsafe.Pointer(&vectors[r*depth]), unsafe.Pointer(&turned[s]),
				unsafe.Pointer(&t.offsets), channels, t.current.slots*t.current.width*float32Bytes, t.rowPitch*float32Bytes, depth*float32Bytes)
			r += 6
			continue
		}
		for _, s := range t.segments {
			t.scoreSegment(dst, vectors, turned, channels, r, s)
		}
	}
}

// fourPairs reports whether the pairs from item r on are four that meet one vector
// of lanes each, and sets offsets.
func (t *tile[T]) fourPairs(r int) bool {
	if len(t.columns) != 1 || t.segments[0].slot != 0 || r+8 > t.items {
		return false
	}
	for i := range t.offsets {
		c := &t.clips[r+2*i]
		if c.width != 8 {
			return false
		}
		t.offsets[i] = c.base * float32Bytes
	}
	return true
}

// scoreSegment takes the products of the pair of items that begins with r.
func (t *tile[T]) scoreSegment(dst, vectors, turned []T, channels, r int, s segment) {
	c, b, depth := &t.clips[r], t.current, padded(channels)
	if c.width == 0 {
		return
	}
	item, vector := t.rowPitch*float32Bytes, depth*float32Bytes
	if r+1 == t.items {
		item, vector = 0, 0
	}
	kernel, most, step, dstStep, count, columns := t.simd.scoreRows, scoreRowsMost, b.width, c.width, s.count, c.width/8
	switch {
	case c.width == 4:
		kernel, most, columns = t.simd.scoreHalves, scoreHalvesMost, 1
	case s.count == 1:
		step, dstStep, count, columns = 8, 8, columns, 1
	}
	to, from := r*t.rowPitch+s.slot*c.width, s.slot*b.width+c.base
	chunk := parted(count, parted(count, most))
	for column := range columns {
		for n := 0; n < count; n += chunk {
			kernel(unsafe.Pointer(&dst[to+n*dstStep+8*column]), unsafe.Pointer(&vectors[r*depth]),
				unsafe.Pointer(&turned[from+n*step+8*column]), channels, b.slots*b.width*float32Bytes,
				step*float32Bytes, min(chunk, count-n), dstStep*float32Bytes, item, vector)
		}
	}
	if c.width == 4 && s.count%2 == 1 {
		for i := r; i < min(r+2, t.items); i++ {
			rest := dst[i*t.rowPitch+(s.slot+s.count)*4:][:4]
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
	t.spare = grow(t.spare, depth)
	for r := 0; r < t.items; r += 2 {
		for _, s := range t.segments {
			t.accumulatePair(sums, rows, depth, r, s)
		}
	}
}

func (t *tile[T]) accumulatePair(sums, rows []T, depth, r int, s segment) {
	a := t.clips[r]
	b := clip{from: a.to, to: a.to}
	second := t.spare
	if r+1 < t.items {
		b, second = t.clips[r+1], sums[(r+1)*depth:]
	}
	switch {
	case b.from == b.to:
		t.accumulateRun(sums[r*depth:], t.spare, rows, depth, r, s, a.from, a.to-a.from, 0, 0)
	case a.from == a.to || b.from >= a.to:
		if a.from < a.to {
			t.accumulateRun(sums[r*depth:], t.spare, rows, depth, r, s, a.from, a.to-a.from, 0, 0)
		}
		t.accumulateRun(second, t.spare, rows, depth, r+1, s, b.from, b.to-b.from, 0, 0)
	default:
		t.accumulateRun(sums[r*depth:], second, rows, depth, r, s, a.from, b.from-a.from, a.to-b.from, b.to-a.to)
	}
}

// accumulateRun adds lanes from first on: only0 lanes to sum0, then both lanes to
// both, then only1 lanes to sum1.
func (t *tile[T]) accumulateRun(sum0, sum1, rows []T, depth, r int, s segment, first, only0, both, only1 int) {
	c, b := &t.clips[r], t.current
	lanes := only0 + both + only1
	if lanes == 0 {
		return
	}
	at := r*t.rowPitch + s.slot*c.width + first - c.base
	t.simd.accumulate(unsafe.Pointer(&sum0[0]), unsafe.Pointer(&sum1[0]), unsafe.Pointer(&t.scores[at]),
		unsafe.Pointer(&rows[(s.slot*b.width+first)*depth]), depth, s.count, t.rowPitch*float32Bytes,
		(c.width-lanes)*float32Bytes, (b.width-lanes)*depth*float32Bytes, only0, both, only1)
}
