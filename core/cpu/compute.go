// SPDX-License-Identifier: MIT

package cpu

import (
	"math"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// compute takes the packed columns into the sums of all items.
func (t *tile[T]) compute() {
	if len(t.columns) == 0 {
		return
	}
	t.findSegments()
	b := t.current
	size := t.items * b.slots * b.width
	t.scores = grow(t.scores, size)
	d, dv := int(t.p.HeadDim), int(t.p.ValueDim)
	if t.parts.scoreFirst {
		t.score(t.scores, t.first, b.turnedFirst, d)
		t.addBias()
	}
	switch t.pass.kind {
	case attnOut:
		t.softmax()
	case qkAttn:
		t.writeSlots(core.Attn, t.scores)
	case avOut, avValue:
		t.readSlots(core.Attn)
	case qkQuery, qkKey:
		t.readSlots(core.DAttn)
	case attnQuery, attnKey:
		t.probabilities()
	}
	if t.parts.sumSecond {
		t.accumulate(t.sumSecond, b.second, dv)
	}
	if t.parts.scoreSecond {
		t.gradients = grow(t.gradients, size)
		t.score(t.gradients, t.second, b.turnedSecond, dv)
		if t.pass.kind == avAttn {
			t.writeSlots(core.DAttn, t.gradients)
		} else {
			t.logitGradients()
		}
	}
	if t.parts.sumFirst {
		t.accumulate(t.sumFirst, b.first, d)
	}
	if t.bins != nil && !t.tokens {
		t.binGradients()
	}
}

func (t *tile[T]) findSegments() {
	t.segments = t.segments[:0]
	for i := range t.columns {
		slot, last := t.columns[i].slot, len(t.segments)-1
		if last >= 0 && t.segments[last].slot+t.segments[last].count == slot {
			t.segments[last].count++
			continue
		}
		t.segments = append(t.segments, segment{slot, 1})
	}
}

func (t *tile[T]) score(dst, vectors, turned []T, depth int) {
	b := t.current
	pitch := b.slots * b.width
	for r := range t.items {
		from, to := t.clipped(r)
		if from >= to {
			continue
		}
		vector := unsafe.Pointer(&vectors[r*depth])
		for _, s := range t.segments {
			at := s.slot*b.width + from
			scoreRows[T](unsafe.Pointer(&dst[r*pitch+at]), vector, unsafe.Pointer(&turned[at]), depth, pitch, s.count, b.width, to-from)
		}
	}
}

func (t *tile[T]) accumulate(sums, rows []T, depth int) {
	b := t.current
	for r := range t.items {
		from, to := t.clipped(r)
		if from >= to {
			continue
		}
		sum := unsafe.Pointer(&sums[r*depth])
		for _, s := range t.segments {
			at := s.slot*b.width + from
			accumulateRows[T](sum, unsafe.Pointer(&t.scores[r*b.slots*b.width+at]), unsafe.Pointer(&rows[at*depth]), depth, s.count, b.width, to-from)
		}
	}
}

// lanes returns the lanes that item r meets of a column, in one of the
// [item][slot][lane] arrays.
func (t *tile[T]) lanes(of []T, r int, c *column) []T {
	from, to := t.clipped(r)
	at := (r*t.current.slots + c.slot) * t.current.width
	return of[at+from : at+to]
}

// softmax turns logits into weights relative to the running maximum.
func (t *tile[T]) softmax() {
	depth := int(t.p.ValueDim)
	for r := range t.items {
		top := t.maximum[r]
		for i := range t.columns {
			for _, v := range t.lanes(t.scores, r, &t.columns[i]) {
				if !(v <= top) {
					top = v
				}
			}
		}
		if from, to := t.clipped(r); from >= to {
			continue
		}
		if t.total[r] != 0 && top != t.maximum[r] {
			factor := T(math.Exp(float64(t.maximum[r] - top)))
			t.total[r] *= factor
			for i := range t.sumSecond[r*depth : (r+1)*depth] {
				t.sumSecond[r*depth+i] *= factor
			}
		}
		t.maximum[r] = top
		if math.IsInf(float64(top), -1) {
			top = 0
		}
		for i := range t.columns {
			t.total[r] += exponential(t.lanes(t.scores, r, &t.columns[i]), top)
		}
	}
}

// probabilities turns logits into softmax weights by the known lse.
func (t *tile[T]) probabilities() {
	for r := range t.items {
		from, _ := t.clipped(r)
		for i := range t.columns {
			c := &t.columns[i]
			row := t.lanes(t.scores, r, c)
			if !t.pass.kind.inverse() {
				exponential(row, t.lse[r])
				continue
			}
			lse := t.current.lse[c.slot*t.current.width+from:]
			for lane := range row {
				row[lane] -= lse[lane]
			}
			exponential(row, 0)
		}
	}
}

// logitGradients turns weights and their gradients into gradients of logits.
func (t *tile[T]) logitGradients() {
	for r := range t.items {
		from, _ := t.clipped(r)
		for i := range t.columns {
			c := &t.columns[i]
			row, gradient := t.lanes(t.scores, r, c), t.lanes(t.gradients, r, c)
			if !t.pass.kind.inverse() {
				for lane := range row {
					row[lane] *= gradient[lane] - t.delta[r]
				}
				continue
			}
			delta := t.current.delta[c.slot*t.current.width+from:]
			for lane := range row {
				row[lane] *= gradient[lane] - delta[lane]
			}
		}
	}
}

// biasAt returns the number of the bias entry of item r and the first column
// that it meets on each axis, and what the last one changes by along the lanes.
func (t *tile[T]) biasAt(r int, c *column) (entry [3]int, step int) {
	from, _ := t.clipped(r)
	items, columns := t.place, [3]int{c.n0, c.n1, t.from + from}
	items[2] += r % t.positions
	for a := range entry {
		l, kernel := &t.lines[a], int(t.p.Axes[a].Kernel)
		if t.pass.kind.inverse() {
			entry[a] = items[a] - l.position.at(columns[a]) + kernel - 1
			step = -l.position.step
		} else {
			entry[a] = columns[a] - l.position.at(items[a]) + kernel - 1
			step = 1
		}
	}
	return entry, step
}

func (t *tile[T]) addBias() {
	x := &t.tensors[core.RPB]
	if !x.given() || t.tokens || t.pass.tokens {
		return
	}
	for r := range t.items {
		for i := range t.columns {
			c := &t.columns[i]
			row := t.lanes(t.scores, r, c)
			if len(row) == 0 {
				continue
			}
			head := t.itemHead(r)
			if t.pass.kind.inverse() {
				head = t.columnHead(c)
			}
			entry, step := t.biasAt(r, c)
			p := unsafe.Add(x.base, head*x.strides[0]+entry[0]*x.strides[1]+entry[1]*x.strides[2]+entry[2]*x.strides[3])
			t.bias = grow(t.bias, len(row))
			load(t.bias, p, step*x.strides[3], x.dtype)
			for lane, v := range t.bias {
				row[lane] += v
			}
		}
	}
}

// binGradients adds gradients of logits to those of the bias.
func (t *tile[T]) binGradients() {
	a := &t.p.Axes
	n1, n2 := int(2*a[1].Kernel-1), int(2*a[2].Kernel-1)
	head := biasSize(t.p)
	for r := range t.items {
		for i := range t.columns {
			row := t.lanes(t.scores, r, &t.columns[i])
			entry, _ := t.biasAt(r, &t.columns[i])
			bins := t.bins[r/t.positions*head+(entry[0]*n1+entry[1])*n2+entry[2]:]
			for lane, v := range row {
				bins[lane] += v
			}
		}
	}
}
