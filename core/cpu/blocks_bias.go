// SPDX-License-Identifier: MIT

package cpu

import "github.com/natten-mps/natten-mps/core"

// eachMetRow calls f for every item of the rows from n1 on and every row of columns
// that it meets: the scores of the lanes are at to, as far apart as the rows of a group are
// many, and their bias entries begin with entry and go up or, in the inverse walk, down.
func (t *tile[T]) eachMetRow(n0, n1, rows int, f func(to, entry, lanes, member int)) {
	s, b, axes := &t.blocking, &t.blocked, &t.p.Axes
	size1, size2, sign := int(2*axes[1].Kernel-1), int(2*axes[2].Kernel-1), t.biasSign()
	entry := func(axis, item, column int) int { return sign*(column-item) + int(axes[axis].Kernel) - 1 }
	for i := range rows {
		for r := range t.positions {
			first := t.lo[r] - t.from - b.blocks[r/2].panel/(s.rows*float32Bytes)
			item := (4*(r/2)+2*i+r%2)*t.rowPitch + first*s.rows
			lane := entry(2, t.place[2]+r, t.lo[r])
			for v := range b.groups {
				g := &b.groups[v]
				plane, at := entry(0, n0, g.n0)*size1, g.number*s.step-s.phase
				for x := max(b.lo[i]-at, 0); x < min(b.hi[i]-at, s.rows); x++ {
					to := item + v*s.wide*blockLanes + x
					f(to, (plane+entry(1, n1+i, at+x))*size2+lane, t.hi[r]-t.lo[r], g.member)
				}
			}
		}
	}
}

// biasSign is what bias entries change by along the lanes.
func (t *tile[T]) biasSign() int {
	if t.pass.kind.inverse() {
		return -1
	}
	return 1
}

// loadBias loads the bias of the query heads of the key head.
func (t *tile[T]) loadBias() {
	x, b, size := &t.tensors[core.RPB], &t.blocked, biasSize(t.p)
	b.bias, b.biasOf = grow(b.bias, t.group*size), t.kvHead
	n1, n2 := int(2*t.p.Axes[1].Kernel-1), int(2*t.p.Axes[2].Kernel-1)
	for head := range t.group {
		for i := 0; i < size; i += n2 {
			row := i / n2
			load(b.bias[head*size+i:][:n2], x.row(t.kvHead*t.group+head, row/n1, row%n1, 0, 0), x.strides[3], x.dtype)
		}
	}
}

// addBlockBias adds the bias to the scores of rows of items.
func (t *tile[T]) addBlockBias(n0, n1, rows int) {
	if !t.tensors[core.RPB].given() {
		return
	}
	b, step, sign, size := &t.blocked, t.blocking.rows, t.biasSign(), biasSize(t.p)
	if b.biasOf != t.kvHead {
		t.loadBias()
	}
	t.eachMetRow(n0, n1, rows, func(to, entry, lanes, member int) {
		member += t.member
		bias, scores := b.bias[member*size:(member+1)*size], t.scores[to:to+(lanes-1)*step+1]
		for i := 0; i < len(scores); i += step {
			scores[i] += bias[entry]
			entry += sign
		}
	})
}

// binBlockGradients adds gradients of the scores of rows of items to those of the bias;
// nth is the number of the query head in its group.
func (t *tile[T]) binBlockGradients(n0, n1, rows, nth int) {
	if t.bins == nil {
		return
	}
	bins, step := t.bins[nth*biasSize(t.p):], t.blocking.rows
	t.eachMetRow(n0, n1, rows, func(to, entry, lanes, _ int) {
		sums, scores := bins[entry:entry+lanes], t.gradients[to:]
		for i := range sums {
			sums[i] += scores[i*step]
		}
	})
}
