// SPDX-License-Identifier: MIT

package block

import (
	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern"
	"github.com/natten-mps/natten-mps/core/cpu/internal/kern/abi"
)

// share returns share number part of the streams, divided into parts equal shares.
func share(s []abi.Stream, part, parts int) []abi.Stream {
	return s[part*len(s)/parts : (part+1)*len(s)/parts]
}

// prefetch lists the memory that kernels should prefetch for the rows of items from n1 on and,
// if keys is true, for the keys that enter their windows.
func (w *worker) prefetch(n0, n1, rows int, keys bool) {
	w.ahead = w.ahead[:0]
	index := w.at.Index
	d, dv := int(w.problem.HeadDim), int(w.problem.ValueDim)
	qk, vo := w.at.ItemRoles()
	for i := range rows {
		w.at.Index[0], w.at.Index[1] = n0, n1+i
		if w.products.QK {
			w.stream(w.at.Items(qk, 0, d))
		}
		if w.products.DOutV {
			w.stream(w.at.Items(vo, 0, dv))
		}
		for _, role := range w.plan.walk.Pass.Outputs {
			if role != core.DRPB && w.at.Run.Given(role) && (!w.products.Scatter || role == core.DQuery) {
				w.stream(w.at.Items(role, 0, dv))
			}
		}
		if w.queries() {
			w.stream(w.at.Items(core.Out, 0, dv))
		}
	}
	w.at.Index = index
	if keys {
		w.prefetchKeys(n1, rows)
	}
}

// prefetchKeys lists the rows of keys that the rows of items from n1 on meet and the row before
// them does not. In the pass of all gradients it adds the gradients that those rows evict.
func (w *worker) prefetchKeys(n1, rows int) {
	r, d, dv := &w.reach, int(w.problem.HeadDim), int(w.problem.ValueDim)
	_, before, _ := w.at.Span(1, max(n1-1, 0))
	_, hi, _ := w.at.Span(1, n1+rows-1)
	qk, vo := w.at.MetRoles()
	for n := r.plane; n < r.planes; n++ {
		for member := r.member; member < r.members; member++ {
			for row := before; row < hi; row++ {
				w.stream(w.keys(qk, n, row, member, d))
				w.stream(w.keys(vo, n, row, member, dv))
				if w.kind.Inverse() {
					w.stream(w.keys(core.Out, n, row, member, dv))
				}
				if leaves := row - w.plan.ring; w.products.Scatter && leaves >= 0 {
					w.stream(w.keys(core.DKey, n, leaves, member, d))
					w.stream(w.keys(core.DValue, n, leaves, member, dv))
				}
			}
		}
	}
}

func (w *worker) stream(s kern.Source) {
	w.ahead = append(w.ahead, abi.Stream{Row: s.P, Step: s.Step, Lines: s.Lines()})
}
