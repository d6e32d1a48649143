// SPDX-License-Identifier: MIT

package block

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/walk"
	"github.com/natten-mps/natten-mps/core/scratch"
)

// eachMetRow calls f for every item of the rows from n1 on and every row of keys that it
// meets. The scores of the row's lanes begin at index to and are rows (of sizes) elements
// apart. Their bias entries begin at index entry and change by BiasStep.
func (w *worker) eachMetRow(n0, n1, rows int, f func(to, entry, lanes, member int)) {
	l, m, axes := w.plan, &w.met, &w.problem.Axes
	size1, size2 := int(2*axes[1].Kernel-1), int(2*axes[2].Kernel-1)
	for i := range rows {
		for r := range w.at.Positions {
			first := w.at.Lo[r] - w.from - w.quads[r/2].Panel/(l.rows*kern.Float32Bytes)
			item := (4*(r/2)+2*i+r%2)*w.weightItem + first*l.rows
			lane := w.at.Bias(2, w.at.Index[2]+r, w.at.Lo[r])
			for v := range m.groups {
				g := &m.groups[v]
				plane, at := w.at.Bias(0, n0, g.n0)*size1, g.index*l.step-l.phase
				for x := max(m.lo[i]-at, 0); x < min(m.hi[i]-at, l.rows); x++ {
					to := item + v*l.wide*l.lanes + x
					f(to, (plane+w.at.Bias(1, n1+i, at+x))*size2+lane, w.at.Hi[r]-w.at.Lo[r], g.member)
				}
			}
		}
	}
}

// addBias adds the bias to the scores of the rows of items from n1 on.
func (w *worker) addBias(n0, n1, rows int) {
	if !w.at.Run.Given(core.RPB) {
		return
	}
	step, sign, size := w.plan.rows, w.at.BiasStep(2), walk.BiasSize(w.problem)
	if w.bias.kvHead != w.at.KVHead {
		w.loadBias()
	}
	w.eachMetRow(n0, n1, rows, func(to, entry, lanes, member int) {
		member += w.at.Member
		bias, scores := w.bias.entries[member*size:(member+1)*size], w.weights[to:to+(lanes-1)*step+1]
		for i := 0; i < len(scores); i += step {
			scores[i] += bias[entry]
			entry += sign
		}
	})
}

// loadBias loads the bias of all query heads of the current key head.
func (w *worker) loadBias() {
	size, group := walk.BiasSize(w.problem), w.plan.walk.Group
	scratch.Grow(w.Memory, &w.bias.entries, group*size)
	w.bias.kvHead = w.at.KVHead
	for head := range group {
		walk.LoadBias(w.at.Run, w.bias.entries[head*size:(head+1)*size], w.at.KVHead*group+head)
	}
}

// binGradients adds the gradients of scores, of the rows of items from n1 on, to the gradients
// of the bias. nth is the index of the query head, counted from the cursor's Member.
func (w *worker) binGradients(n0, n1, rows, nth int) {
	if w.bins == nil {
		return
	}
	bins, step := w.bins[nth*walk.BiasSize(w.problem):], w.plan.rows
	w.eachMetRow(n0, n1, rows, func(to, entry, lanes, _ int) {
		sums, scores := bins[entry:entry+lanes], w.gradients[to:]
		for i := range sums {
			sums[i] += scores[i*step]
		}
	})
}
