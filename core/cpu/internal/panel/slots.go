// SPDX-License-Identifier: MIT

package panel

import (
	"math"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// clearSlots fills the items' window slots with the value of masked slots, if there can be any.
func (w *worker[T]) clearSlots(role core.Role) {
	a := &w.problem.Axes
	if !a[0].Causal && !a[1].Causal && !a[2].Causal {
		return
	}
	masked := 0.0
	if w.kind == walk.QKAttn {
		masked = math.Inf(-1)
	}
	for r := range w.s.items {
		kern.Fill(w.item(role, r), int(w.problem.DType.Size()), int(w.problem.WindowSize()), w.problem.DType, masked)
	}
}

// slotOf is the index in attn for item r, a query, and the first key of a row that it meets. The
// indices of the row's next keys follow.
func (w *worker[T]) slotOf(r int, row *keyRow) int {
	if w.at.Tokens {
		return int(w.problem.WindowSize()) + w.from
	}
	a, from := &w.problem.Axes, w.s.clips[r].from
	n := (row.n0-w.start[0])*int(a[1].Kernel) + row.n1 - w.start[1]
	return n*int(a[2].Kernel) + w.from + from - w.at.Start[w.s.position(r)]
}

// writeSlots stores the values of the lanes that items meet in the slots of a role's tensor.
func (w *worker[T]) writeSlots(role core.Role, values []T) {
	size := int(w.problem.DType.Size())
	for r := range w.s.items {
		p := w.item(role, r)
		for i := range w.s.rows {
			row := &w.s.rows[i]
			if lanes := w.s.lanes(values, r, row); len(lanes) > 0 {
				kern.Store(p.Add(w.slotOf(r, row)*size), size, w.problem.DType, lanes, 1)
			}
		}
	}
}

// readSlots loads the weights of the lanes that items meet from the slots of a role's tensor.
func (w *worker[T]) readSlots(role core.Role) {
	if w.inverse {
		w.gatherSlots(role)
		return
	}
	size := int(w.problem.DType.Size())
	for r := range w.s.items {
		p := w.item(role, r)
		for i := range w.s.rows {
			row := &w.s.rows[i]
			if lanes := w.s.lanes(w.s.weights, r, row); len(lanes) > 0 {
				kern.Load(lanes, p.Add(w.slotOf(r, row)*size), size, w.problem.DType)
			}
		}
	}
}

// gatherSlots is readSlots for an inverse walk. The items are keys, and it loads their slots
// from the windows of the queries that they meet.
func (w *worker[T]) gatherSlots(role core.Role) {
	a, size := &w.problem.Axes, int(w.problem.DType.Size())
	for i := range w.s.rows {
		row := &w.s.rows[i]
		head := w.at.MetHead(row.member)
		_, _, start0 := w.at.Lines[0].KeysOf(row.n0)
		_, _, start1 := w.at.Lines[1].KeysOf(row.n1)
		line := ((w.at.Index[0]-start0)*int(a[1].Kernel) + w.at.Index[1] - start1) * int(a[2].Kernel)
		for lane := range w.to - w.from {
			n2 := w.from + lane
			p := w.at.Address(role, row.n0, row.n1, n2, head)
			_, _, start2 := w.at.Lines[2].KeysOf(n2)
			for r := range w.s.items {
				key := w.at.Index[2] + r
				slot := line + key - start2
				if w.plan.walk.Pass.Tokens {
					slot = int(w.problem.WindowSize()) + key
				}
				if k := &w.s.clips[r]; k.from <= lane && lane < k.to {
					at := r*w.s.pitch + row.slot*k.width + lane - k.base
					kern.Load(w.s.weights[at:at+1], p.Add(slot*size), 0, w.problem.DType)
				}
			}
		}
	}
}

// biasAt returns the index on each axis of the bias entry of item r and the first key of a row
// that it meets.
func (w *worker[T]) biasAt(r int, row *keyRow) (entry [3]int) {
	items, met := w.at.Index, [3]int{row.n0, row.n1, w.from + w.s.clips[r].from}
	items[2] += w.s.position(r)
	for a := range entry {
		entry[a] = w.at.Bias(a, items[a], met[a])
	}
	return entry
}

func (w *worker[T]) addBias() {
	x := &w.at.Run.Tensors[core.RPB]
	if !x.Given() || w.at.Tokens || w.plan.walk.Pass.Tokens {
		return
	}
	step := w.at.BiasStep(2) * x.Strides[3]
	for r := range w.s.items {
		for i := range w.s.rows {
			row := &w.s.rows[i]
			lanes := w.s.lanes(w.s.weights, r, row)
			if len(lanes) == 0 {
				continue
			}
			head := w.at.QueryHead(r % w.s.heads)
			if w.inverse {
				head = w.at.QueryHead(row.member)
			}
			e := w.biasAt(r, row)
			scratch.Grow(w.Memory, &w.bias, len(lanes))
			kern.Load(w.bias, x.Row(head, e[0], e[1], 0, 0).Add(e[2]*x.Strides[3]), step, x.DType)
			for lane, v := range w.bias {
				lanes[lane] += v
			}
		}
	}
}

// binGradients adds the gradients of logits to the gradients of the bias.
func (w *worker[T]) binGradients() {
	a := &w.problem.Axes
	n1, n2 := int(2*a[1].Kernel-1), int(2*a[2].Kernel-1)
	head := walk.BiasSize(w.problem)
	for r := range w.s.items {
		for i := range w.s.rows {
			row := &w.s.rows[i]
			lanes := w.s.lanes(w.s.weights, r, row)
			if len(lanes) == 0 {
				continue
			}
			e := w.biasAt(r, row)
			bins := w.bins[r%w.s.heads*head+(e[0]*n1+e[1])*n2+e[2]:]
			for lane, v := range lanes {
				bins[lane] += v
			}
		}
	}
}
