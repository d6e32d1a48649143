// SPDX-License-Identifier: MIT

package cpu

import (
	"github.com/natten-mps/natten-mps/core"
)

// compute takes the packed columns into the sums of all items.
func (t *tile[T]) compute() {
	if len(t.columns) == 0 {
		return
	}
	t.findSegments()
	b := t.current
	t.findClips()
	size := (t.items+1)*t.rowPitch + slack
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

// biasAt returns the number of the bias entry of item r and the first column
// that it meets on each axis, and what the last one changes by along the lanes.
func (t *tile[T]) biasAt(r int, c *column) (entry [3]int, step int) {
	items, columns := t.place, [3]int{c.n0, c.n1, t.from + t.clips[r].from}
	items[2] += t.position(r)
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
			p := x.base.Add(head*x.strides[0] + entry[0]*x.strides[1] + entry[1]*x.strides[2] + entry[2]*x.strides[3])
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
			if len(row) == 0 {
				continue
			}
			entry, _ := t.biasAt(r, &t.columns[i])
			bins := t.bins[r%t.heads()*head+(entry[0]*n1+entry[1])*n2+entry[2]:]
			for lane, v := range row {
				bins[lane] += v
			}
		}
	}
}
