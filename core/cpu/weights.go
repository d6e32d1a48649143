// SPDX-License-Identifier: MIT

package cpu

import (
	"math"
	"unsafe"
)

// softmax turns logits into weights relative to the running maximum.
func (t *tile[T]) softmax() {
	if t.simd != nil && t.fresh && len(t.segments) == 1 && len(t.groups) > 0 && t.groups[0].item == 0 {
		t.fresh = false
		s := t.segments[0]
		for i := range t.groups {
			g := &t.groups[i]
			slots, columns := t.clips[g.item].vectors(s)
			t.simd.softmax(unsafe.Pointer(&t.scores[g.item*t.rowPitch+s.slot*g.width]), unsafe.Pointer(&t.masks[g.item*t.current.width]),
				unsafe.Pointer(&t.maximum[g.item]), unsafe.Pointer(&t.total[g.item]), g.items, slots, columns,
				t.rowPitch*float32Bytes, t.current.width*float32Bytes)
		}
		return
	}
	t.fresh = false
	depth := padded(int(t.p.ValueDim))
	for r := range t.items {
		c := &t.clips[r]
		if c.from == c.to {
			continue
		}
		top := t.top(r)
		if t.total[r] != 0 && top != t.maximum[r] {
			factor := T(math.Exp(float64(t.maximum[r] - top)))
			t.total[r] *= factor
			sums := t.sumSecond[r*depth : (r+1)*depth]
			for i := range sums {
				sums[i] *= factor
			}
		}
		t.maximum[r] = top
		if math.IsInf(float64(top), -1) {
			top = 0
		}
		t.total[r] += t.exponentials(r, top)
	}
}

// top is the running maximum of item r.
func (t *tile[T]) top(r int) T {
	top, c := t.maximum[r], &t.clips[r]
	if t.simd != nil {
		for _, s := range t.segments {
			slots, columns := c.vectors(s)
			v := T(t.simd.maxRow(unsafe.Pointer(&t.scores[r*t.rowPitch+s.slot*c.width]),
				unsafe.Pointer(&t.masks[r*t.current.width]), slots, columns))
			if !(v <= top) {
				top = v
			}
		}
		return top
	}
	for i := range t.columns {
		for _, v := range t.lanes(t.scores, r, &t.columns[i]) {
			if !(v <= top) {
				top = v
			}
		}
	}
	return top
}

// exponentials replaces the logits of item r by e**(logit-offset) and returns the
// sum.
func (t *tile[T]) exponentials(r int, offset T) (sum T) {
	c := &t.clips[r]
	if t.simd == nil {
		for i := range t.columns {
			sum += exponential(t.lanes(t.scores, r, &t.columns[i]), offset)
		}
		return sum
	}
	for _, s := range t.segments {
		slots, columns := c.vectors(s)
		sum += T(t.simd.expRow(unsafe.Pointer(&t.scores[r*t.rowPitch+s.slot*c.width]),
			unsafe.Pointer(&t.masks[r*t.current.width]), slots, columns, float32(offset)))
	}
	return sum
}

// probabilities turns logits into softmax weights by the known lse.
func (t *tile[T]) probabilities() {
	for r := range t.items {
		c := &t.clips[r]
		switch {
		case c.from == c.to:
		case !t.pass.kind.inverse():
			t.exponentials(r, t.lse[r])
		case t.simd != nil:
			for _, s := range t.segments {
				t.simd.expLanes(unsafe.Pointer(&t.scores[r*t.rowPitch+s.slot*c.width]), unsafe.Pointer(&t.masks[r*t.current.width]),
					unsafe.Pointer(&t.current.lse[s.slot*t.current.width+c.base]), s.count, c.width/8, (t.current.width-c.width)*float32Bytes)
			}
		default:
			for i := range t.columns {
				row := t.lanes(t.scores, r, &t.columns[i])
				lse := t.current.lse[t.columns[i].slot*t.current.width+c.from:]
				for lane := range row {
					row[lane] -= lse[lane]
				}
				exponential(row, 0)
			}
		}
	}
}

// logitGradients turns weights and their gradients into gradients of logits.
func (t *tile[T]) logitGradients() {
	for r := range t.items {
		c := &t.clips[r]
		switch {
		case c.from == c.to:
		case t.simd != nil:
			t.vectorGradients(r)
		case !t.pass.kind.inverse():
			for i := range t.columns {
				row, gradient := t.lanes(t.scores, r, &t.columns[i]), t.lanes(t.gradients, r, &t.columns[i])
				for lane := range row {
					row[lane] *= gradient[lane] - t.delta[r]
				}
			}
		default:
			for i := range t.columns {
				row, gradient := t.lanes(t.scores, r, &t.columns[i]), t.lanes(t.gradients, r, &t.columns[i])
				delta := t.current.delta[t.columns[i].slot*t.current.width+c.from:]
				for lane := range row {
					row[lane] *= gradient[lane] - delta[lane]
				}
			}
		}
	}
}

func (t *tile[T]) vectorGradients(r int) {
	c := &t.clips[r]
	for _, s := range t.segments {
		at := r*t.rowPitch + s.slot*c.width
		row, gradient := unsafe.Pointer(&t.scores[at]), unsafe.Pointer(&t.gradients[at])
		if !t.pass.kind.inverse() {
			slots, columns := c.vectors(s)
			t.simd.gradientRow(row, gradient, slots*columns, float32(t.delta[r]))
			continue
		}
		t.simd.gradientLanes(row, gradient, unsafe.Pointer(&t.current.delta[s.slot*t.current.width+c.base]),
			s.count, c.width/8, (t.current.width-c.width)*float32Bytes)
	}
}
